"""`cryodrake evaluate`: a job's map and poses against a known truth."""

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate


def main(config: EvaluateConfig) -> None:
    """Prints the result, for people or, with --json, for programs."""
    result = evaluate(config)
    print(result.to_json() if config.json else result.summary())
