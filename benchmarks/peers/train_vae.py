"""cryoDRGN 4.3's `train_vae`, given the *true* poses: how good are its maps of each image, by the measure of `cryodrake evaluate`?

    python benchmarks/peers/train_vae.py --data DIR --cryodrgn-python ENV/bin/python [--epochs 20] [--dim 256]

DIR is a simulated set with states. Its default networks (1024 × 3) take hours on a CPU, so `--dim` makes them narrower. Poses and
CTFs come from truth/particles.star by cryoDRGN's own parsers. Afterwards its decoder makes the map of each image that
`evaluate` samples; those maps lie in a folder as a job of ours would, and `cryodrake evaluate` scores them, with the map
that `cryodrake backproject` makes of the same poses as the static one.
"""

import json
import pickle
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import mrcfile
import numpy as np
import tyro
from process import Run, run_stamped

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.analysis.evaluate_images import evenly_spaced


@dataclass(frozen=True)
class Options:
    """What is trained, and for how long."""

    data: Path
    """Simulated set with states: particles.star, particles.mrcs, truth/."""
    cryodrgn_python: Path
    """Python of the environment that holds cryoDRGN 4.3."""
    out: Path = Path("train_vae.json")
    """Where the numbers go."""
    work: Path | None = None
    """Scratch folder; DATA/train_vae when not given."""
    zdim: int = 8
    epochs: int = 20
    """Its default is 20."""
    dim: int = 256
    """Width of its encoder and decoder; its default is 1024."""
    threads: int = 2
    seed: int = 0
    cryodrake: Path = field(default_factory=lambda: Path(sys.executable).with_name("cryodrake"))


def train(options: Options, work: Path, box: int, pixel_size_A: float) -> dict:
    """Poses, CTFs and the networks; seconds of the training."""
    star, size = str((options.data / "truth" / "particles.star").absolute()), ["-D", str(box), "--Apix", str(pixel_size_A)]
    _cryodrgn(options, work, ["parse_pose_star", star, *size, "-o", str(work / "pose.pkl")], "parse_pose")
    _cryodrgn(options, work, ["parse_ctf_star", star, *size, "-o", str(work / "ctf.pkl")], "parse_ctf")
    files = ["--poses", str(work / "pose.pkl"), "--ctf", str(work / "ctf.pkl"), "-o", str(work / "vae")]
    width = ["--enc-dim", str(options.dim), "--dec-dim", str(options.dim)]
    schedule = ["--zdim", str(options.zdim), "-n", str(options.epochs), "--seed", str(options.seed)]
    rest = ["--checkpoint", str(options.epochs), "--no-analysis"]
    run = _cryodrgn(options, work, ["train_vae", "particles.star", *files, *width, *schedule, *rest], "train_vae")
    return {"command": " ".join(run.command), "wall_s": run.wall_s, "cpu_s": run.cpu_s, "machine_share": run.share}


def latents(vae: Path, epochs: int, n: int) -> np.ndarray:
    """Means of the encoder (n z) after the last epoch."""
    last = next(path for epoch in (epochs, epochs - 1) if (path := vae / f"z.{epoch}.pkl").exists())
    with last.open("rb") as file:
        z = np.asarray(pickle.load(file), dtype=np.float64)  # written a moment ago, by this script's own command
    if len(z) != n:
        raise RuntimeError(f"{last} holds {len(z)} rows for {n} images")
    return z


def as_job(options: Options, work: Path, pixel_size_A: float) -> Path:
    """A folder that `evaluate` reads: latents, the maps at those of the images it samples, and the static map."""
    state = np.load(options.data / "truth" / "state.npy")
    vae, job = work / "vae", work / f"job_{int(time.time())}"
    z = latents(vae, options.epochs, len(state))
    command = [str(options.cryodrake.absolute()), "backproject", "truth/particles.star", "-o", str(job), "--datadir", "."]
    run_stamped(command, options.data, options.threads, work / "backproject.log").checked(work / "backproject.log")
    (job / "checkpoints" / "field.safetensors").unlink(missing_ok=True)  # so that the maps are taken
    np.save(job / "latents.npy", z.astype(np.float32))
    states = job / "maps" / "states"
    states.mkdir(parents=True, exist_ok=True)
    chosen = z[evenly_spaced(state)]
    np.savetxt(states / "z_values.txt", chosen)
    weights = next(path for name in (f".{options.epochs}", "") if (path := vae / f"weights{name}.pkl").exists())
    decoded = ["eval_vol", str(weights), "-c", str(vae / "config.yaml"), "--zfile", str(states / "z_values.txt")]
    maps = work / f"{job.name}_maps"
    _cryodrgn(options, work, [*decoded, "-o", str(maps), "--Apix", str(pixel_size_A)], "eval_vol")
    paths = sorted(maps.glob("vol_*.mrc"))
    if len(paths) != len(chosen):
        raise RuntimeError(f"eval_vol made {len(paths)} maps of {len(chosen)}")
    static = _read(job / "maps" / "consensus.mrc")
    sign = np.sign(np.vdot(np.mean([_read(path) for path in paths], axis=0), static))  # it takes particles to be dark
    for number, path in enumerate(paths):
        with mrcfile.new(states / f"state_{number:03d}.mrc", overwrite=True) as file:
            file.set_data((sign * _read(path)).astype(np.float32))
            file.voxel_size = pixel_size_A
    return job


def _read(path: Path) -> np.ndarray:
    with mrcfile.open(path, permissive=True) as file:
        return np.asarray(file.data, dtype=np.float64)


def _cryodrgn(options: Options, work: Path, arguments: list[str], name: str) -> Run:
    command = [str(options.cryodrgn_python.absolute().with_name("cryodrgn")), *arguments]
    return run_stamped(command, options.data, options.threads, work / f"{name}.log").checked(work / f"{name}.log")


def main() -> None:
    """Train, decode, score, print."""
    options = tyro.cli(Options, description=__doc__)
    work = (options.work or options.data / "train_vae").absolute()
    work.mkdir(parents=True, exist_ok=True)
    with mrcfile.open(options.data / "particles.mrcs", header_only=True, permissive=True) as stack:
        box, pixel_size_A = int(stack.header.nx), float(stack.voxel_size.x)
    result: dict = {"options": {key: str(value) for key, value in asdict(options).items()}}
    result["train"] = train(options, work, box, pixel_size_A)
    found = evaluate(EvaluateConfig(job=as_job(options, work, pixel_size_A), truth=options.data))
    assert found.states is not None
    result["states"] = {key: value for key, value in asdict(found.states).items() if key != "state_fsc"}
    result["static_map_auc"] = found.fsc_auc
    options.out.write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
