"""`cryodrake train`: the states of particles whose poses are known."""

from cryodrake.app.runner import run_job, words_to_open
from cryodrake.training import given
from cryodrake.training.config import TrainConfig


def main(config: TrainConfig) -> None:
    """Runs the job and says which files to open."""
    print(words_to_open(run_job(config, "train", given.run)))
