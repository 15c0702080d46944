"""`cryodrake abinit`: poses and a map from particle images alone."""

from importlib import import_module

from cryodrake.app.runner import run_job, words_to_open
from cryodrake.training.config import AbinitConfig

PRESETS = {"default": "cryodrake.training.abinit", "cryodrgn2": "cryodrake.training.cryodrgn2.run"}


def main(config: AbinitConfig) -> None:
    """Runs the job, by the module of its preset alone, and says which files to open."""
    run = import_module(PRESETS[config.preset]).run
    print(words_to_open(run_job(config, "abinit", run)))
