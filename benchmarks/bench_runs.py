"""Whole runs: `cryodrake abinit` as a command, on simulated sets, seed after seed, against what the truth says is possible.

    python benchmarks/bench_runs.py ../data/R1 ../data/R2 --seeds 20          python benchmarks/bench_runs.py

Sets are folders of `benchmarks/datasets.py` or of `cryodrake simulate`; without any, those of benchmarks/out/data, or the one
of the built-in complex, made there. A run is the whole command, wall seconds from start to exit; then

    rotation error    median, after the best global rotation and hand, against the same images' ceiling: the same search against
                      the true map, up to the radius at which the run ended
    map               FSC-AUC against the true map, over that of `cryodrake backproject` with the true poses

Every result is a line of the --out file as soon as it is there, and what is there is not done again: a benchmark that was
killed goes on where it was. Begin another file for another version of the program.
"""

import argparse
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import commands
import datasets
import machine
import runs_tables
import torch

OUT = Path(__file__).parent / "out"
Record = dict[str, Any]


def run_once(data: Path, seed: int, options: argparse.Namespace) -> Record:
    """One run of the command and its evaluation; the job is removed unless it is worth a look."""
    job = options.work / f"{data.name}_{seed}"
    shutil.rmtree(job, ignore_errors=True)  # of a benchmark that was killed
    log = job.with_suffix(".log")
    particles = str(data / "particles.star")
    line = ["abinit", particles, "-o", str(job), "--seed", str(seed), "--device", options.device, *options.abinit]
    cost = commands.run(line, options.threads, log)
    record = {"kind": "run", "set": data.name, "seed": seed, **asdict(cost), "share": cost.share, "jobs": options.jobs}
    record |= {"commit": machine.commit(), "load": os.getloadavg()[0], "options": options.abinit, "device": options.device}
    if cost.return_code != 0:
        return record | {"failed": commands.end_of(log)}
    record |= _said(job) | _judged(job, data, options.symmetry.get(data.name, "C1"))
    if options.keep == "none" or (options.keep == "failed" and record["right"]):
        shutil.rmtree(job)
        log.unlink()
    return record


def _said(job: Path) -> Record:
    """What the run itself says: from status.json, events.jsonl and its last checkpoint."""
    from cryodrake.io.job import JobFolder

    folder = JobFolder(job)
    saved = folder.load_latest()
    meta = saved[2] if saved else {}
    history = meta.get("history", [])
    return {
        "said_converged": folder.status["converged"],
        "verdict": folder.status["verdict"],
        "resolution_A": folder.status["resolution_A"],
        "confident_share": folder.status["confident_share"],
        "starts": len(meta.get("starts", [])),
        "iterations": len(history),
        "final_radius": history[-1].get("joint_radius") if history else None,
    }


def _judged(job: Path, data: Path, symmetry: str) -> Record:
    """What the truth says of a job's poses and maps."""
    from cryodrake.analysis.evaluate import EvaluateConfig, evaluate

    found = evaluate(EvaluateConfig(job=job, truth=data, symmetry=(symmetry,)))
    assert found.rotation_error_median_deg is not None  # the job has poses
    record = {
        "error_deg": found.rotation_error_median_deg,
        "within_10_deg": found.share_within_10_deg,
        "shift_error_px": found.shift_error_median_px,
        "auc": found.fsc_auc,
        "auc_masked": found.fsc_auc_masked,
        "fsc05_A": found.fsc05_A,
        "right": found.rotation_error_median_deg <= runs_tables.RIGHT_DEG,
    }
    field = job / "maps" / "field.mrc"
    if field.exists():  # in a folder without particles only the map is compared
        by_field = evaluate(EvaluateConfig(job=job / "maps", truth=data, map=field))
        record |= {"field_auc": by_field.fsc_auc, "field_auc_masked": by_field.fsc_auc_masked}
    return record


def true_poses(data: Path, options: argparse.Namespace) -> Record:
    """The map that back-projection makes with the true poses."""
    job = options.work / f"{data.name}_true"
    shutil.rmtree(job, ignore_errors=True)
    log = job.with_suffix(".log")
    particles = str(data / "truth" / "particles.star")
    cost = commands.run(
        ["backproject", particles, "-o", str(job), "--datadir", str(data), "--device", options.device], options.threads, log
    )
    if cost.return_code != 0:
        raise RuntimeError(f"backproject of {data} failed:\n{commands.end_of(log)}")
    judged = _judged(job, data, options.symmetry.get(data.name, "C1"))
    shutil.rmtree(job)
    log.unlink()
    kept = {name: value for name, value in judged.items() if "auc" in name or name == "fsc05_A"}
    return {"kind": "true poses", "set": data.name, **asdict(cost), **kept}


def ceiling(data: Path, radius: int, options: argparse.Namespace) -> Record:
    """Of the poses, at one radius."""
    from truth import pose_ceiling_deg

    device = "cuda" if options.device != "cpu" and torch.cuda.is_available() else "cpu"
    symmetry = options.symmetry.get(data.name, "C1")
    return {"kind": "ceiling", "set": data.name, "radius": radius, "error_deg": pose_ceiling_deg(data, radius, device, symmetry)}


class Records:
    """The lines of the --out file, in memory and on disk."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""  # a kill may have cut the last line
        path.write_bytes(whole + b"\n" * bool(whole))
        self.lines: list[Record] = [json.loads(line) for line in whole.splitlines() if line]

    def has(self, **wanted: Any) -> bool:
        return bool(self.of(**wanted))

    def of(self, **wanted: Any) -> list[Record]:
        return [line for line in self.lines if all(line.get(key) == value for key, value in wanted.items())]

    def add(self, record: Record) -> None:
        self.lines.append(record)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def in_parallel(call: Callable[..., Record], tasks: list[tuple], options: argparse.Namespace) -> Iterator[Record]:
    """Results of call(*task, options) as they come, each from a process that has torch to itself."""
    if not tasks:
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.jobs, context, torch.set_num_threads, (options.threads,)) as pool:
        for future in as_completed([pool.submit(call, *task, options) for task in tasks]):
            try:
                yield future.result()
            except Exception as error:  # the others go on; this one is done again next time
                print(f"{call.__name__} failed: {error!r}", flush=True)


def measure(sets: list[Path], options: argparse.Namespace, records: Records) -> None:
    """Whatever is not in the records yet: bounds by back-projection, runs, bounds on the poses at the radii they ended at."""
    missing = [(data,) for data in sets if not records.has(kind="true poses", set=data.name)]
    for record in in_parallel(true_poses, missing, options):
        records.add(record)
        print(f"{record['set']}: with the true poses FSC-AUC {record['auc']:.4f}", flush=True)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    tasks = [(data, seed) for seed in seeds for data in sets if not records.has(kind="run", set=data.name, seed=seed)]
    for record in in_parallel(run_once, tasks, options):
        records.add(record)
        print(runs_tables.sentence(record), flush=True)
    wanted = set()
    for data in sets:
        radii = {round(run["final_radius"]) for run in records.of(kind="run", set=data.name) if run.get("final_radius")}
        wanted |= {(data, radius) for radius in radii if not records.has(kind="ceiling", set=data.name, radius=radius)}
    for record in in_parallel(ceiling, sorted(wanted), options):
        records.add(record)


def default_sets() -> list[Path]:
    """The cache of datasets.py, or the one set of it that needs no file."""
    found = sorted(folder for folder in (OUT / "data").glob("*") if folder.name in datasets.SETS)
    return found or [datasets.make("procedural", OUT / "data", Path())]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path, nargs="*", help="simulated folders")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each set")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time; more than one spoils their wall seconds")
    parser.add_argument("--threads", type=int, help="of each run (cores / jobs)")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--symmetry", nargs="*", default=[], metavar="SET=GROUP", help="where datasets.py does not say")
    parser.add_argument("--abinit", default="", help='more options of the command, in one string: "--box 48"')
    parser.add_argument("--out", type=Path, default=OUT / "runs.jsonl", help="JSON lines, continued; a summary goes beside it")
    parser.add_argument("--work", type=Path, help="folder of the jobs while they run (beside --out)")
    parser.add_argument("--keep", choices=("none", "failed", "all"), default="failed", help="jobs that stay there")
    options = parser.parse_args()
    options.abinit = options.abinit.split()
    options.threads = options.threads or max(1, (os.cpu_count() or 1) // options.jobs)
    options.work = options.work or options.out.with_name(f"{options.out.stem}_jobs")
    given = dict(entry.split("=") for entry in options.symmetry)
    options.symmetry = {name: group for name, (_, group, _) in datasets.SETS.items()} | given
    return options


def main() -> None:
    options = arguments()
    sets = [Path(os.path.abspath(data)) for data in options.sets] or default_sets()
    found = machine.describe() | {"threads": options.threads}
    print(machine.words(found))
    records = Records(options.out)
    others = {line["commit"] for line in records.of(kind="run")} - {found["commit"]}
    if others:
        print(f"{options.out} holds runs of other versions ({', '.join(sorted(others))}); they are not done again")
    measure(sets, options, records)
    names = [data.name for data in sets]
    print("\n" + runs_tables.per_seed(records.lines, names))
    print("\n" + runs_tables.per_set(records.lines, names))
    summary = {"machine": found, "sets": {name: runs_tables.summary(records.lines, name) for name in names}}
    options.out.with_suffix(".summary.json").write_text(json.dumps(summary, indent=1) + "\n")
    print(f"\nwritten: {options.out}, {options.out.with_suffix('.summary.json')}")


if __name__ == "__main__":
    main()
