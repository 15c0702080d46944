"""`cryodrake demo`: simulate a complex that moves, find poses and states from its images alone, and compare with the truth."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from cryodrake.data.seeds import check_seed
from cryodrake.errors import InputError


@dataclass(frozen=True)
class DemoConfig:
    """A whole run on images whose truth is known."""

    out: Annotated[Path, tyro.conf.arg(aliases=("-o",))] = Path("cryodrake-demo")
    """Folder to make; where it is taken, one with a number behind it."""
    n: int = 5000
    """Number of images."""
    zdim: int = 4
    """Dimensions of each particle's state; 0: a complex that keeps still, and one map of it."""
    seed: int = 0
    """Seed of the simulation and of the reconstruction."""

    def __post_init__(self) -> None:
        check_seed(self.seed)


def main(config: DemoConfig) -> None:
    """Runs the three commands one after the other and says in words how good the result is."""
    from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
    from cryodrake.app import simulate
    from cryodrake.app.runner import run_job, words_to_open
    from cryodrake.data.simulation_config import SimulateConfig
    from cryodrake.training import abinit
    from cryodrake.training.config import AbinitConfig

    out = free_folder(config.out)
    data, job = out / "data", out / "job"
    asked = AbinitConfig(particles=data / "particles.star", out=job, zdim=config.zdim, seed=config.seed)
    simulate.run(SimulateConfig(out=data, n=config.n, motion="hinge" if config.zdim else "none", seed=config.seed))
    done = run_job(asked, "abinit", abinit.run)
    result = evaluate(EvaluateConfig(job=job, truth=data))
    print(f"\n{result.summary()}\n\nTo look at:\n{words_to_open(done)}")
    print(f"  {data / 'truth' / 'volumes' / 'state_000.mrc'}  the true map{', in its first state' * (config.zdim > 0)}, to compare")


def free_folder(wanted: Path) -> Path:
    """The folder itself, or the first of wanted-2, wanted-3 … that does not exist or is empty."""
    for number in range(1, 1000):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return folder
    raise InputError("a thousand demos are enough", where=wanted, do="remove some")
