"""`cryodrake abinit`: poses and a map from particle images alone."""

from functools import partial

from cryodrake.app.runner import draw, open_job, run_job, words_to_open
from cryodrake.io.job import JobFolder
from cryodrake.training.config import AbinitConfig
from cryodrake.training.events import AbstractReporter


def main(config: AbinitConfig) -> None:
    """Runs the job, by the modules that it needs alone, and says which files to open."""
    run = _run_published if config.preset == "cryodrgn2" else _run_one if config.classes == 1 else _run_classes
    print(words_to_open(run_job(config, "abinit", run)))


def _run_published(config: AbinitConfig, job: JobFolder, reporter: AbstractReporter) -> None:
    from cryodrake.training.cryodrgn2.run import run

    run(config, job, reporter)


def _run_one(config: AbinitConfig, job: JobFolder, reporter: AbstractReporter) -> None:
    from cryodrake.training.abinit import run

    run(config, job, reporter)


def _run_classes(config: AbinitConfig, job: JobFolder, reporter: AbstractReporter) -> None:
    """As many structures as were asked for, or as the images prove to be of, and the figures of each."""
    from cryodrake.training.classes import run

    run(config, job, reporter, partial(open_job, command="abinit"))
    for folder in sorted((job.path / "classes").glob("class_*/")):
        draw(JobFolder(folder), reporter)
