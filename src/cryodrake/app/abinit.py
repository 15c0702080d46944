"""`cryodrake abinit`: poses and a map from particle images alone."""

from cryodrake.app.runner import run_job, words_to_open
from cryodrake.training import abinit
from cryodrake.training.config import AbinitConfig
from cryodrake.training.cryodrgn2 import run as cryodrgn2

PRESETS = {"default": abinit.run, "cryodrgn2": cryodrgn2.run}


def main(config: AbinitConfig) -> None:
    """Runs the job and says which files to open."""
    print(words_to_open(run_job(config, "abinit", PRESETS[config.preset])))
