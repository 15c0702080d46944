"""Whole runs on structures that move or differ: `cryodrake abinit` with states or classes, as a command, against the truth.

    python benchmarks/bench_states.py H1 H2 H5 --seeds 3          python benchmarks/bench_states.py H1 --abinit "--zdim 8"
    python benchmarks/bench_states.py H1 H3 --true-poses

Sets by the names of `benchmarks/datasets.py`, made where they are missing; H4 is the rigid one. Each is run with the options of
OPTIONS, which `--abinit` replaces. Every result is a line of the --out file as soon as it is there, with all that `cryodrake
evaluate` says of it, curves left out, and the seconds of its phases. With `--true-poses` it is `cryodrake train` on the
poses of the truth instead: what the same method reaches where poses are no question.
"""

import argparse
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import commands
import datasets
import machine
from phases import seconds_by_phase
from tables import table

from cryodrake.analysis.evaluate import EvaluateConfig, evaluate
from cryodrake.io.job import JobFolder

OUT = Path(__file__).parent / "out"
OPTIONS = {"H5": "--classes 3"}
USUAL = "--zdim 4"
HEADER = ("set", "seed", "wall s", "GiB", "said", "states", "error °", "R²", "AUC", "static", "moving", "static", "ARI", "class")
CURVES = {"fsc", "fsc_masked", "state_fsc"}  # which a line leaves out


def run_once(name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run and all that the truth says of it."""
    data = datasets.make(name, options.data, options.shared)
    job = options.work / f"{name}_{seed}"
    shutil.rmtree(job, ignore_errors=True)
    log = job.with_suffix(".log")
    given = (options.abinit or (USUAL if options.true_poses else OPTIONS.get(name, USUAL))).split()
    if options.true_poses:
        line = ["train", str(data / "truth" / "particles.star"), "--datadir", str(data)]
    else:
        line = ["abinit", str(data / "particles.star")]
    line += ["-o", str(job), "--seed", str(seed), *given]
    cost = commands.run(line, options.threads, log)
    record = {"set": name, "seed": seed, "options": [line[0], *given], "commit": machine.commit()}
    record |= {**asdict(cost), "share": cost.share}
    if cost.return_code:
        return record | {"failed": commands.end_of(log)}
    status = JobFolder(job).status
    record |= {"said_converged": status["converged"], "verdict": status["verdict"], "found": judged(job, data)}
    record["phases_s"] = {kind: round(seconds, 2) for kind, seconds in seconds_by_phase(JobFolder(job)).items()}
    if not options.keep:
        shutil.rmtree(job)
    return record


def judged(job: Path, data: Path) -> dict[str, Any]:
    """`evaluate` without its curves, the entries on states among the others."""

    def flat(found: dict[str, Any]) -> dict[str, Any]:
        states, classes = found.pop("states") or {}, found.pop("classes")
        kept = {name: value for name, value in (found | states).items() if name not in CURVES}
        return kept | {"classes": [flat(of_class) for of_class in classes]}

    return flat(asdict(evaluate(EvaluateConfig(job=job, truth=data))))


def row(record: dict[str, Any]) -> list[Any]:
    """Of the table; with classes the pose error is that of the worst."""
    whole = record.get("found", {})
    errors = [part["rotation_error_median_deg"] for part in whole.get("classes") or [whole] if part]
    return [
        record["set"],
        record["seed"],
        record["wall_s"],
        record["peak_mib"] / 1024,
        record.get("said_converged"),
        "found" if "states explain" in record.get("verdict", "") else "none",
        max(errors, default=None),
        whole.get("coordinate_r2"),
        whole.get("image_auc_mean"),
        whole.get("static_auc_mean"),
        whole.get("image_auc_moving_mean"),
        whole.get("static_auc_moving_mean"),
        whole.get("gmm_ari"),
        whole.get("share_in_right_class"),
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", default=["H3"], help="names of datasets.py; without any H3, which needs no file")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--abinit", default="", help='options of the command, in one string: "--zdim 8"')
    parser.add_argument("--true-poses", action="store_true", help="`train` on the true poses in place of `abinit`")
    parser.add_argument("--data", type=Path, default=OUT / "data", help="cache of datasets.py")
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="folder that holds data/maps and data/models")
    parser.add_argument("--out", type=Path, default=OUT / "states.jsonl")
    parser.add_argument("--work", type=Path, default=OUT / "states_jobs")
    parser.add_argument("--keep", action="store_true", help="leave the jobs in --work")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    found = machine.describe() | {"threads": options.threads}
    print(machine.words(found))
    options.work.mkdir(parents=True, exist_ok=True)
    records = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        for name in options.sets:
            records.append(run_once(name, seed, options))
            with options.out.open("a") as file:
                file.write(json.dumps(records[-1] | {"machine": found}, default=str) + "\n")
            print(f"{name}, seed {seed}: {records[-1].get('failed') or records[-1]['verdict']}", flush=True)
    print("\n" + table(HEADER, [row(record) for record in records]))


if __name__ == "__main__":
    main()
