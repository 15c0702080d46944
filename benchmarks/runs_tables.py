"""Tables of whole runs, from the records of bench_runs.py."""

import statistics
from typing import Any

from tables import table

Record = dict[str, Any]

RIGHT_DEG = 3.0  # a run whose median rotation error is at most this has found the structure
BARS = "bars: error / ceiling ≤ 1.1, AUC / true poses' ≥ 0.97, field - map ≥ -0.01, R1 ≤ 60 s, R2 ≤ 180 s, every failure said"


def sentence(run: Record) -> str:
    """One run as it comes."""
    if run["return_code"] != 0:
        return f"{run['set']} seed {run['seed']}: exit code {run['return_code']} after {run['wall_s']:.0f} s\n{run['failed']}"
    said = {True: "said converged", False: "said NOT converged", None: "said nothing"}[run["said_converged"]]
    return (
        f"{run['set']} seed {run['seed']}: {run['wall_s']:.0f} s, error {run['error_deg']:.2f}°, FSC-AUC {run['auc']:.4f}, "
        f"field {run.get('field_auc', float('nan')):.4f}, {run['resolution_A']:.1f} Å, {run['starts']} starts, {said}"
    )


def with_ratios(lines: list[Record], name: str) -> list[Record]:
    """The runs of one set in order of their seeds, each with its bounds and the ratios to them (None where unknown)."""
    mine = [line for line in lines if line["set"] == name]
    bound = next((line for line in mine if line["kind"] == "true poses"), {})
    ceilings = {line["radius"]: line["error_deg"] for line in mine if line["kind"] == "ceiling"}
    runs = []
    for run in sorted((line for line in mine if line["kind"] == "run"), key=lambda line: line["seed"]):
        radius = run.get("final_radius")
        ceiling = ceilings.get(round(radius)) if radius else None
        runs.append(
            run
            | {
                "ceiling_deg": ceiling,
                "error_ratio": _over(run.get("error_deg"), ceiling),
                "auc_ratio": _over(run.get("auc"), bound.get("auc")),
                "auc_masked_ratio": _over(run.get("auc_masked"), bound.get("auc_masked")),
                "field_gain": run["field_auc"] - run["auc"] if "field_auc" in run else None,
            }
        )
    return runs


def _over(value: float | None, bound: float | None) -> float | None:
    return None if value is None or not bound else value / bound


def per_seed(lines: list[Record], names: list[str]) -> str:
    """A row for every run."""
    columns = {
        "seed": "seed", "wall s": "wall_s", "CPU s": "cpu_s", "share": "share", "starts": "starts", "radius": "final_radius",
        "error °": "error_deg", "ceiling °": "ceiling_deg", "ratio": "error_ratio", "AUC": "auc", "of true": "auc_ratio",
        "field - map": "field_gain", "Å": "resolution_A", "right": "right", "said so": "said_converged",
    }  # fmt: skip
    rows = [[name, *[run.get(key) for key in columns.values()]] for name in names for run in with_ratios(lines, name)]
    return table(["set", *columns], rows)


def summary(lines: list[Record], name: str) -> Record:
    """One set: how many runs were right, whether the others said so, and medians and worst values over the right ones."""
    runs = with_ratios(lines, name)
    right = [run for run in runs if run.get("right")]
    wrong = [run for run in runs if not run.get("right")]
    found: Record = {"runs": len(runs), "right": len(right), "wrong": len(wrong)}
    found["wrong_and_said_so"] = sum(run["return_code"] != 0 or run.get("said_converged") is False for run in wrong)
    found["right_but_doubted"] = sum(not run["said_converged"] for run in right)
    found |= _spread("wall_s", runs, max) | _spread("cpu_s", runs, max) | _spread("peak_mib", runs, max)
    found |= _spread("error_deg", right, max) | _spread("error_ratio", right, max)
    found |= _spread("auc_ratio", right, min) | _spread("auc_masked_ratio", right, min) | _spread("field_gain", right, min)
    return found


def _spread(key: str, runs: list[Record], worst: Any) -> Record:
    values = [run[key] for run in runs if run.get(key) is not None]
    return {key: statistics.median(values) if values else None, f"{key}_worst": worst(values) if values else None}


def per_set(lines: list[Record], names: list[str]) -> str:
    """A row for every set, over the right runs but for the times."""
    rows = []
    for name in names:
        s = summary(lines, name)
        rows.append(
            [name, f"{s['right']} of {s['runs']}", f"{s['wrong_and_said_so']} of {s['wrong']}", s["right_but_doubted"]]
            + [s[f"{key}{end}"] for key in ("wall_s", "error_ratio", "auc_ratio", "field_gain") for end in ("", "_worst")]
        )
    worst = [text for name in ("wall s", "error / ceiling", "AUC / true", "field - map") for text in (name, "worst")]
    return f"{table(['set', 'right', 'wrong said so', 'right doubted', *worst], rows)}\n{BARS}"
