"""`cryodrake backproject`: a map, half maps and their FSC from particles whose poses are known."""

from cryodrake.app.runner import run_job, words_to_open
from cryodrake.training import backproject
from cryodrake.training.config import BackprojectConfig


def main(config: BackprojectConfig) -> None:
    """Runs the job and says which files to open."""
    print(words_to_open(run_job(config, "backproject", backproject.run)))
