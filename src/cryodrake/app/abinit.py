"""`cryodrake abinit`: poses and a map from particle images alone."""

from cryodrake.app.runner import run_job, words_to_open
from cryodrake.training.abinit import run
from cryodrake.training.config import AbinitConfig


def main(config: AbinitConfig) -> None:
    """Runs the job and says which files to open."""
    print(words_to_open(run_job(config, "abinit", run)))
