"""What cryoDRGN 4.3's homogeneous ab initio costs here: measured on a few images, multiplied by its default schedule.

Two commands of 4.3, with their defaults but for the number of images and of epochs:
- `abinit --zdim 0`: one pass over min(N, 10000) images with random poses, 3 epochs of pose search, then 27 epochs that
  train the field and a table of poses;
- `abinit_homo_old`, the algorithm of cryoDRGN2's paper: such a pass, then 30 epochs, of which 1, 6, 11, 16, 21, 26
  search, the last search radius being 12, 16, 20, 24, 28, 32 in turn.
What an image costs in a phase depends neither on the other images nor on how good the field is, so N only multiplies.
The schedules are 4.3's own defaults, as it logs them when it starts.
"""

import pickle
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from process import CLOCKS, Run, run_stamped

PRETRAIN_IMAGES = 10_000  # default of --n-imgs-pretrain and of --pretrain, but never more than one pass over the data
SEARCH_EPOCHS = {"abinit": 3, "abinit_homo_old": 6}
GRADIENT_EPOCHS = {"abinit": 27, "abinit_homo_old": 24}


@dataclass(frozen=True)
class ImageCost:
    """Seconds an image in each kind of epoch, measured."""

    search_s: float
    gradient_s: float
    pretrain_s: float

    def schedule_s(self, command: str, n_images: int) -> float:
        """The default run on n images, in seconds: extrapolated."""
        epochs_s = SEARCH_EPOCHS[command] * self.search_s + GRADIENT_EPOCHS[command] * self.gradient_s
        return n_images * epochs_s + min(n_images, PRETRAIN_IMAGES) * self.pretrain_s


@dataclass(frozen=True)
class Cryodrgn:
    """Where the program is, and on how many images it is measured."""

    python: Path
    work: Path
    data: Path
    threads: int
    search_images: int
    gradient_images: int
    old_images: int

    def report(self, command: str, n_images: int) -> dict:
        """Measure one command; the whole run by multiplication."""
        costs, runs = self._measure_abinit() if command == "abinit" else self._measure_old()
        whole_s = {clock: cost.schedule_s(command, n_images) for clock, cost in costs.items()}
        return {
            "program": f"cryoDRGN 4.3 {command}",
            "n_images": n_images,
            "threads": self.threads,
            "measured": {
                "search_images": self.search_images if command == "abinit" else self.old_images,
                "gradient_images": self.gradient_images if command == "abinit" else self.old_images,
                "per_image": {clock: asdict(cost) for clock, cost in costs.items()},
                "machine_share": min(run.share for run in runs),
                "commands": [" ".join(run.command) for run in runs],
            },
            "extrapolated": {
                "search_epochs": SEARCH_EPOCHS[command],
                "gradient_epochs": GRADIENT_EPOCHS[command],
                "pretrain_images": min(n_images, PRETRAIN_IMAGES),
                "wall_h": whole_s["wall_s"] / 3600,
                "cpu_h": whole_s["cpu_s"] / 3600,
                "search_fraction": SEARCH_EPOCHS[command] * n_images * costs["wall_s"].search_s / whole_s["wall_s"],
            },
        }

    def parse_ctf(self, box: int, pixel_size_A: float) -> None:
        """ctf.pkl by their own command; a missing phase shift is given as 0, for 4.3 writes NaN otherwise."""
        arguments = ["parse_ctf_star", "particles.star", "-o", str(self.work / "ctf.pkl")]
        arguments += ["-D", str(box), "--Apix", str(pixel_size_A)]
        if "_rlnPhaseShift" not in (self.data / "particles.star").read_text():
            arguments += ["--ps", "0"]
        self._run(arguments, "parse_ctf_star")

    def _measure_abinit(self) -> tuple[dict[str, ImageCost], list[Run]]:
        """`abinit`: gradient phases and search in two runs, as they need different numbers of images."""
        n, m = self.gradient_images, self.search_images
        common = ["--zdim", "0", "--no-analysis", "--checkpoint", "1000", "--seed", "0"]
        phases = ["--n-imgs-pretrain", str(n), "--epochs-pose-search", "0", "--epochs-sgd", "2"]
        gradient = self._first_images("abinit", n, [*common, *phases], "gradient")
        phases = ["--n-imgs-pretrain", "0", "--epochs-pose-search", "1", "--num-epochs", "1"]
        search = self._first_images("abinit", m, [*common, *phases], "search")
        costs = {}
        for clock in CLOCKS:
            (pretrain,) = gradient.spans(r"Will pretrain", r"Pretrain Epoch: 0 finished", clock)
            epochs = gradient.spans(r"Will use latent optimization", r"SGD Epoch: \d+ finished", clock)
            (searched,) = search.spans(r"Will use pose search", r"HPS Epoch: 1 finished", clock)
            costs[clock] = ImageCost(searched / m, min(epochs) / n, pretrain / n)
        return costs, [gradient, search]

    def _measure_old(self) -> tuple[dict[str, ImageCost], list[Run]]:
        """`abinit_homo_old`: 11 epochs, every second one a search, ramp through just the radii of the default's six.

        Pre-training is a gradient pass without the CTF: charged as a gradient epoch (the one batch of it here falls
        into the first search).
        """
        ramp = ["--num-epochs", "11", "--ps-freq", "2", "--l-ramp-epochs", "10"]
        rest = ["--checkpoint", "1000", "--pretrain", "1", "--seed", "0"]
        run = self._first_images("abinit_homo_old", self.old_images, [*ramp, *rest], "old")
        costs = {}
        for clock in CLOCKS:
            begin = next(getattr(line, clock) for line in run.lines if "Using random poses" in line.text)
            ends = [getattr(line, clock) for line in run.lines if "=====> Epoch:" in line.text]
            epochs = np.diff([begin, *ends]) / self.old_images
            gradient = float(epochs[1::2].min())
            costs[clock] = ImageCost(float(epochs[0::2].mean()), gradient, gradient)
        return costs, [run]

    def _first_images(self, command: str, n: int, arguments: list[str], name: str) -> Run:
        kept = self.work / f"first_{n}.pkl"
        kept.write_bytes(pickle.dumps(np.arange(n)))
        files = ["--ctf", str(self.work / "ctf.pkl"), "--ind", str(kept), "-o", str(self.work / f"cryodrgn_{name}")]
        return self._run([command, "particles.star", *files, *arguments], name)

    def _run(self, arguments: list[str], name: str) -> Run:
        log = self.work / f"cryodrgn_{name}.log"
        command = [str(self.python.with_name("cryodrgn")), *arguments]
        return run_stamped(command, self.data, self.threads, log).checked(log)
