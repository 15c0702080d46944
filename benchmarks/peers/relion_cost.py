"""What RELION 3.1's denovo initial model (stochastic gradient descent) costs here: a shortened schedule, stretched.

The command is the one that the GUI's InitialModel job of 3.1.3 runs with its defaults (`relion_pipeliner --addJob
InitialModel` writes it to note.txt), but for the mask's diameter, the threads, and the three numbers of iterations.
RELION interpolates resolution (35 to 15 Å) and mini-batch (100 to 500 images) over the iterations in between, so a
shortened run passes through the same settings in fewer steps.

The cost of an image is anything but constant: the fine half of the search visits only what the coarse half found
significant, so it falls as the map gets better and jumps where the sampling is refined. A run too short in its initial
phase carries a poor map into the fine sampling and costs many times what the whole run would: keep the 50 initial
iterations. Besides the stretched number there is a low one, which charges every image of the whole schedule at the rate of
the cheapest measured iteration. `--relion-iterations 50 200 50` measures the whole run.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from process import CLOCKS, Run, run_stamped

GUI_ITERATIONS = (50, 200, 50)  # initial, in between, final
GUI_SUBSETS = (100, 500)
SCHEDULE = "--sgd_ini_iter {} --sgd_inbetween_iter {} --sgd_fin_iter {} --sgd_write_iter 10 --sgd_ini_resol 35"
LIMITS = "--sgd_fin_resol 15 --sgd_ini_subset 100 --sgd_fin_subset 500 --sgd --denovo_3dref --ctf --K 1 --sym C1"
MODEL = "--flatten_solvent --zero_mask --dont_combine_weights_via_disc --pool 3 --pad 2 --skip_gridding"
SEARCH = "--oversampling 1 --healpix_order 1 --offset_range 6 --offset_step 4"
ITERATION = re.compile(r"Stochastic Gradient Descent iteration\s+(\d+)\s+of")


def subset_sizes(iterations: tuple[int, int, int], n_images: int) -> np.ndarray:
    """(iterations,) images in each mini-batch: 100, then linear, then 500; never more than there are."""
    initial, between, final = iterations
    first, last = GUI_SUBSETS
    ramp = np.rint(first + (last - first) * np.arange(1, between + 1) / max(between, 1)).astype(int)
    return np.minimum(np.concatenate([np.full(initial, first), ramp, np.full(final, last)]), n_images)


def stage(iterations: tuple[int, int, int]) -> np.ndarray:
    """(iterations,) where each one stands: 0 to 1 in the initial phase, 1 to 2 in between, 2 to 3 in the final one."""
    return np.concatenate([phase + np.arange(1, count + 1) / max(count, 1) for phase, count in enumerate(iterations)])


@dataclass(frozen=True)
class Relion:
    """Where the program is and how much of its schedule is measured; `limit_s` ends the measurement early."""

    prefix: str  # put before the names of RELION's programs; empty for PATH
    work: Path
    data: Path
    threads: int
    particle_diameter_A: float
    iterations: tuple[int, int, int]
    limit_s: float

    def report(self, n_images: int) -> dict:
        """Measure the shortened schedule; the GUI's whole schedule follows by interpolation over its stages."""
        run = self._run()
        cost = {clock: self._stretch(run, clock, n_images) for clock in CLOCKS}
        done = len(cost["wall_s"]["per_image"])
        hours = {"wall_h": cost["wall_s"]["whole_s"], "cpu_h": cost["cpu_s"]["whole_s"]}
        hours |= {"floor_wall_h": cost["wall_s"]["floor_s"], "floor_cpu_h": cost["cpu_s"]["floor_s"]}
        return {
            "program": "RELION 3.1 denovo initial model",
            "n_images": n_images,
            "threads": self.threads,
            "measured": {
                "iterations": self.iterations,
                "iterations_done": done,
                "per_image": {clock: cost[clock]["per_image"] for clock in CLOCKS},
                "wall_s": run.wall_s,
                "cpu_s": run.cpu_s,
                "machine_share": run.share,
                "commands": [" ".join(run.command)],
            },
            "extrapolated": {
                "iterations": GUI_ITERATIONS,
                "image_visits": int(subset_sizes(GUI_ITERATIONS, n_images).sum()),
                **{name: seconds / 3600 for name, seconds in hours.items()},
                "is_whole_run": tuple(self.iterations) == GUI_ITERATIONS and done == sum(GUI_ITERATIONS),
            },
        }

    def _run(self) -> Run:
        (self.work / "relion").mkdir(exist_ok=True)
        command = [f"{self.prefix}relion_refine", "--i", "particles.star", "--o", str(self.work / "relion" / "run")]
        command += f"{SCHEDULE.format(*self.iterations)} {LIMITS} {MODEL} {SEARCH}".split()
        command += ["--particle_diameter", f"{self.particle_diameter_A:g}", "--j", str(self.threads)]
        log = self.work / "relion_refine.log"
        run = run_stamped(command, self.data, self.threads, log, self.limit_s)
        return run if run.cut_off else run.checked(log)  # the iterations that it did finish count

    def _stretch(self, run: Run, clock: str, n_images: int) -> dict:
        """Seconds an image in the measured iterations (one cut off is left out), and of the whole schedule."""
        marks = [getattr(line, clock) for line in run.lines if ITERATION.search(line.text)]
        spans = np.diff(marks if run.cut_off else [*marks, getattr(run, clock)])
        if len(spans) < 1:
            raise RuntimeError(f"RELION did not end one iteration in {run.wall_s:.0f} s: give it more --relion-minutes")
        per_image = spans / subset_sizes(self.iterations, n_images)[: len(spans)]
        visits = subset_sizes(GUI_ITERATIONS, n_images)
        whole = np.interp(stage(GUI_ITERATIONS), stage(self.iterations)[: len(spans)], per_image)
        floor_s = float(visits.sum() * per_image.min())
        return {"per_image": per_image.tolist(), "whole_s": float(visits @ whole), "floor_s": floor_s}
