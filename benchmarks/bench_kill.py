"""SIGKILL at random moments: does a resumed run end with the very same files as one that was left alone?

    python benchmarks/bench_kill.py                     python benchmarks/bench_kill.py --k 20 --data ../data/R1

One run is left alone. Then k times: the same command, killed at a random moment (the i-th in the i-th part of the run, so that
every phase has its turn), resumed with --resume until it ends, and its maps and particles.star compared with the first
run's byte by byte. With --kills 3 a run is killed three times before it may end. A job killed before it has a job.toml is
started anew, as a user would. Exit code 1 when any file differs.
"""

import argparse
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import commands
import machine
from tables import table, write_json

from cryodrake.data.simulation import simulate
from cryodrake.data.simulation_config import SimulateConfig
from cryodrake.io.job import JobFolder

OUT = Path(__file__).parent / "out"


def small_set(folder: Path) -> Path:
    """One that takes seconds, simulated if it is not there yet."""
    if not (folder / "particles.star").exists():
        simulate(SimulateConfig(out=folder, n=1000, box=48))
    return folder


def results(job: Path) -> dict[str, bytes]:
    """The files that must be the same."""
    paths = [*sorted((job / "maps").glob("*")), job / "particles.star", job / "checkpoints" / "field.safetensors"]
    return {str(path.relative_to(job)): path.read_bytes() for path in paths if path.exists()}


def start(data: Path, job: Path, options: argparse.Namespace) -> commands.Command:
    """The job from its beginning, or from where it stands."""
    log = job.with_suffix(".log")
    if (job / "job.toml").exists():
        return commands.Command(["abinit", "-o", str(job), "--resume"], options.threads, log)
    particles = str(data / "particles.star")
    return commands.Command(
        ["abinit", particles, "-o", str(job), "--seed", str(options.seed), *options.abinit], options.threads, log
    )


def wait_at_most(command: commands.Command, seconds: float) -> bool:
    """Whether the command is still running after that time."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        if not command.is_running():
            return False
        time.sleep(0.005)
    return command.is_running()


def standing(job: Path) -> tuple[str, str]:
    """The phase that a killed job was in, and the checkpoint that it will go on from."""
    try:
        phase = str(JobFolder(job).status["phase"])
    except ValueError:
        phase = "status.json is broken"
    saved = sorted(path.name for path in (job / "checkpoints").glob("[0-9]*_*"))
    return (phase if (job / "status.json").exists() else "before the job"), (saved[-1] if saved else "-")


def is_finished(job: Path) -> bool:
    """Whether it says so."""
    return (job / "status.json").exists() and JobFolder(job).status["state"] == "finished"


def killed_run(data: Path, job: Path, moments: list[float], options: argparse.Namespace) -> dict[str, Any]:
    """One job, killed at these seconds after each (re)start, then run to its end."""
    shutil.rmtree(job, ignore_errors=True)
    kills: list[dict[str, Any]] = []
    ended = None
    for moment in moments:
        command = start(data, job, options)
        if not wait_at_most(command, moment):
            ended = command.wait()  # before its time came: not a kill
            break
        command.kill()
        command.wait()
        phase, checkpoint = standing(job)
        kills.append({"after_s": moment, "phase": phase, "checkpoint": checkpoint})
        if is_finished(job):  # and killed on its way out: there is nothing to resume
            return {"kills": kills, "return_code": 0}
    if ended is None:
        ended = start(data, job, options).wait()
    return {"kills": kills, "return_code": ended.return_code}


def trial(i: int, data: Path, first: dict[str, bytes], wall_s: float, options: argparse.Namespace) -> dict[str, Any]:
    """The i-th killed job, compared; its folder stays when it differs."""
    job = options.work / f"killed_{i}"
    chance = random.Random(1000 * options.seed + i)
    for _ in range(5):  # a run that is faster than the first one may end before it is killed
        moments = [wall_s * (i + chance.random()) / options.k]
        moments += [wall_s * chance.random() for _ in range(options.kills - 1)]
        found = killed_run(data, job, moments, options)
        if found["kills"]:
            break
    ours = results(job)
    found["differ"] = sorted(name for name in first.keys() | ours.keys() if first.get(name) != ours.get(name))
    found["identical"] = found["return_code"] == 0 and not found["differ"]
    if found["identical"]:
        shutil.rmtree(job)
        job.with_suffix(".log").unlink()
    else:
        print(f"kill {i + 1}: exit code {found['return_code']}\n{commands.end_of(job.with_suffix('.log'))}")
    return found


def row(i: int, found: dict[str, Any]) -> list[Any]:
    """Of the table."""
    join = [", ".join(str(kill[key]) for kill in found["kills"]) for key in ("phase", "checkpoint")]
    seconds = ", ".join(f"{kill['after_s']:.1f}" for kill in found["kills"])
    return [i + 1, seconds, *join, found["return_code"], found["identical"], ", ".join(found["differ"])]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="simulated set (1000 images of the built-in complex at 48 px, made)")
    parser.add_argument("--k", type=int, default=20, help="killed jobs")
    parser.add_argument("--kills", type=int, default=1, help="kills of each")
    parser.add_argument("--seed", type=int, default=0, help="of the runs and of the moments")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="the same for all: sums depend on it")
    parser.add_argument("--abinit", default="", help='more options of the command, in one string: "--box 48"')
    parser.add_argument("--work", type=Path, default=OUT / "kill", help="folder of the jobs")
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    options.abinit = ["--device", "cpu", *options.abinit.split()]
    return options


def main() -> None:
    options = arguments()
    data = options.data or small_set(options.work / "data")
    found = machine.describe() | {"threads": options.threads}
    print(machine.words(found))
    whole = options.work / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    cost = start(data, whole, options).wait()
    if cost.return_code != 0:
        sys.exit(f"the run that was left alone failed:\n{commands.end_of(whole.with_suffix('.log'))}")
    first = results(whole)
    print(f"left alone: {cost.wall_s:.1f} s, {len(first)} files", flush=True)
    trials = []
    for i in range(options.k):
        trials.append(trial(i, data, first, cost.wall_s, options))
        print(f"kill {i + 1} of {options.k}: {'identical' if trials[-1]['identical'] else 'DIFFERENT'}", flush=True)
    header = ("kill", "after s", "in phase", "went on from", "exit code", "identical", "files that differ")
    same, killed = sum(t["identical"] for t in trials), sum(bool(t["kills"]) for t in trials)
    print(f"\n{table(header, [row(i, t) for i, t in enumerate(trials)])}")
    print(f"\nidentical: {same} of {len(trials)}; killed before the end: {killed}")
    write_json(
        options.out, {"machine": found, "options": vars(options), "whole_s": cost.wall_s, "files": list(first), "trials": trials}
    )
    sys.exit(same != len(trials))


if __name__ == "__main__":
    main()
