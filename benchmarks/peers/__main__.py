"""Side by side on one machine, in one run: `cryodrake abinit` as a whole command, cryoDRGN 4.3 and RELION 3.1.

    python benchmarks/peers --data DIR --cryodrgn-python ENV/bin/python [--relion-prefix /usr/bin/] [--out peers.json]

DIR is a simulated set (particles.star, particles.mrcs). The peers take hours to days on a CPU, so they are measured in
part and their default schedules extrapolated; every row of the table says which it is. cryoDRGN lives in an environment
of its own (`pip install cryodrgn==4.3`); RELION is Debian's package. A program that is not given is left out. All get
the same number of threads, and no GPU.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import interop
import mrcfile
import tyro
from cryodrgn_cost import Cryodrgn
from process import run_stamped
from relion_cost import Relion
from table import table


@dataclass(frozen=True)
class Options:
    """What is compared, and how much of it is measured."""

    data: Path
    """Simulated set: a folder with particles.star and particles.mrcs."""
    out: Path = Path("peers.json")
    """Where the numbers go."""
    work: Path | None = None
    """Scratch folder for the programs' outputs and logs; DATA/peers when not given."""
    n: int | None = None
    """Images of the run that is extrapolated to; those of the set when not given."""
    threads: int = os.cpu_count() or 1
    """Threads for every program."""
    cryodrgn_python: Path | None = None
    """Python of the environment that holds cryoDRGN 4.3."""
    search_images: int = 64
    """Images on which cryoDRGN's pose search is measured, some 6 to 10 s each; a multiple of its batch, 16."""
    gradient_images: int = 256
    """Images on which cryoDRGN's gradient epochs are measured; a multiple of its batch, 128."""
    old_images: int = 16
    """Images on which `abinit_homo_old` is measured, six searches each; 0 leaves it out."""
    relion: bool = True
    """Measure RELION's initial model, and have it rebuild our map."""
    relion_prefix: str = ""
    """Put before relion_refine and relion_reconstruct, e.g. /usr/bin/."""
    relion_iterations: tuple[int, int, int] = (50, 20, 5)
    """Initial, in-between and final iterations that are run, of the GUI's 50 200 50."""
    relion_minutes: float = 90.0
    """RELION is stopped after this; what it has not reached is charged at its last measured rate."""
    particle_diameter_A: float | None = None
    """Mask diameter for RELION; 0.9 of the box when not given."""
    cryodrake: Path = field(default_factory=lambda: Path(sys.executable).with_name("cryodrake"))
    """The command under test; left out when it is not there."""
    job: Path | None = None
    """A finished job of ours for RELION to rebuild, in place of a new one (our time is not measured then)."""


def measure_ours(options: Options, work: Path) -> dict:
    """`cryodrake abinit` as a user types it, by the clock on the wall."""
    job, log = work / f"job_{int(time.time())}", work / "cryodrake.log"
    command = [str(options.cryodrake.absolute()), "abinit", "particles.star", "-o", str(job)]
    run = run_stamped(command, options.data, options.threads, log).checked(log)
    clocks = {"wall_s": run.wall_s, "cpu_s": run.cpu_s, "machine_share": run.share}
    return {"program": "cryodrake abinit", "command": " ".join(command), "job": str(job), **clocks}


def measure(options: Options, result: dict) -> None:
    """Put everything that can be measured with what is there into `result`; keys are absent where a program is."""
    data, work = options.data.absolute(), (options.work or options.data / "peers").absolute()
    work.mkdir(parents=True, exist_ok=True)
    with mrcfile.open(data / "particles.mrcs", header_only=True, permissive=True) as stack:
        n_here, box, pixel_size_A = int(stack.header.nz), int(stack.header.nx), float(stack.voxel_size.x)
    n_images, diameter_A = options.n or n_here, options.particle_diameter_A or 0.9 * box * pixel_size_A
    result |= {"data": str(data), "images_in_set": n_here, "n_images": n_images, "box": box}
    result |= {"threads": options.threads, "load_before": os.getloadavg()[0]}
    job, prefix, threads = options.job, options.relion_prefix, options.threads
    if job is None and options.cryodrake.exists():
        result["cryodrake"] = measure_ours(options, work)
        job = Path(result["cryodrake"]["job"])
    if options.relion and job is not None:
        result["interop"] = interop.report(job.absolute(), data, prefix, diameter_A, work)
    if options.cryodrgn_python is not None:
        counts = (options.search_images, options.gradient_images, options.old_images)
        peer = Cryodrgn(options.cryodrgn_python.absolute(), work, data, threads, *counts)
        peer.parse_ctf(box, pixel_size_A)
        commands = ["abinit", "abinit_homo_old"] if options.old_images else ["abinit"]
        result["cryodrgn"] = [peer.report(command, n_images) for command in commands]
    if options.relion:
        limit_s = 60 * options.relion_minutes
        relion = Relion(prefix, work, data, threads, diameter_A, options.relion_iterations, limit_s)
        result["relion"] = relion.report(n_images)


def main() -> None:
    """Measure, write, print."""
    options = tyro.cli(Options, description=__doc__)
    result: dict = {"options": {key: str(value) for key, value in asdict(options).items()}}
    try:
        measure(options, result)
    finally:  # what took an hour to measure is kept when the next program fails
        options.out.write_text(json.dumps(result, indent=1))
    print(table(result))


if __name__ == "__main__":
    main()
