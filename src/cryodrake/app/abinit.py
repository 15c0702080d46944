"""`cryodrake abinit`: poses and a map from particle images alone."""

from functools import partial
from importlib import import_module

from cryodrake.app.runner import draw, open_job, run_job, words_to_open
from cryodrake.io.job import JobFolder
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import AbstractReporter

PRESETS = {"default": "cryodrake.training.abinit", "cryodrgn2": "cryodrake.training.cryodrgn2.run"}


def main(config: AbinitConfig) -> None:
    """Runs the job, by the module of its preset alone, and says which files to open."""
    run = _run_classes if config.classes > 1 else import_module(PRESETS[config.preset]).run
    print(words_to_open(run_job(config, "abinit", run)))


def _run_classes(config: AbinitConfig, job: JobFolder, reporter: AbstractReporter) -> None:
    """Several structures, and the figures of each."""
    from cryodrake.training import classes

    classes.run(config, job, reporter, partial(open_job, command="abinit"))
    for folder in sorted((job.path / "classes").glob("class_*/")):
        draw(JobFolder(folder), reporter)
