"""`cryodrake analyze`: what the states of a heterogeneous job look like, and whether they are states."""

from cryodrake.training.config import AnalyzeConfig


def main(config: AnalyzeConfig) -> None:
    """Writes JOB/analysis and says what was found.

    Raises:
        InputError: the job has no latents, or they do not fit its particles.
    """
    from cryodrake.analysis.analyze import analyze

    print("\n".join(analyze(config)))
