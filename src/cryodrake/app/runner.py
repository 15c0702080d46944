"""What all commands with a job folder share: open it, listen to signals, run, draw the figures, and close it."""

import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from cryodrake.app.options import write_options
from cryodrake.app.progress import open_screen
from cryodrake.errors import InputError, JobStopped
from cryodrake.io.job import JobFolder
from cryodrake.training.config import InputOptions
from cryodrake.training.events import AbstractReporter, JobReporter, StopRequest

Options = TypeVar("Options", bound=InputOptions)

TO_OPEN = {
    "maps/consensus.mrc": "the map",
    "maps/half1_unfil.mrc": "its first half map, half2_unfil.mrc beside it",
    "maps/view.cxc": "opens the maps in ChimeraX",
    "maps/states/view.cxc": "opens the maps of states, or of classes, in ChimeraX",
    "particles.star": "the particles with their poses",
    "latents.npy": "their states, which `cryodrake analyze` looks into",
    "classes": "each class's own job, class_01 the largest",
    "figures/progress.png": "the map over the run",
    "figures/fsc.png": "the half maps' agreement",
    "figures/views.png": "where the particles were seen from",
}


def run_job(config: Options, command: str, run: Callable[[Options, JobFolder, AbstractReporter], None]) -> JobFolder:
    """Runs `run` in the job folder `config.out`, a new one or, with `config.resume`, the one that is there.

    Raises:
        InputError: the folder or the input cannot be used.
        JobStopped: by a signal or the time limit; resumable.
    """
    job = open_job(config, command)
    stop = StopRequest(config.max_minutes)
    try:
        with _warnings_to(job), stop.listening(), open_screen() as screen:
            reporter = JobReporter(job, stop, screen)
            run(config, job, reporter)
            draw(job, reporter)
        job.write_status(state="finished")
        return job
    except (JobStopped, KeyboardInterrupt) as error:
        reason = stop.reason or str(error) or "stopped"
        job.log(reason)
        job.write_status(state="stopped", eta_s=None)
        raise JobStopped(reason) from None
    except BaseException as error:
        with suppress(InputError, OSError):  # on a full disk
            job.write_status(state="failed", eta_s=None, verdict=str(error) or type(error).__name__)
        raise
    finally:
        job.close()


def words_to_open(job: JobFolder) -> str:
    """The files of a finished job that a user looks at first, a line each."""
    return "\n".join(f"  {job.path / name}  {words}" for name, words in TO_OPEN.items() if (job.path / name).exists())


def open_job(config: InputOptions, command: str) -> JobFolder:
    """A new job, or the unfinished one that is there, with `resume`."""
    if config.resume and (config.out / "job.toml").exists():
        return JobFolder.resume(config.out)
    return JobFolder.create(config.out, write_options(config, command))


def draw(job: JobFolder, reporter: AbstractReporter) -> None:
    """The figures of a job. Whatever goes wrong here is a warning: by now the results are on disk.

    Raises:
        InputError: the disk is so full that not even the warning can be written; --resume goes on from here.
    """
    from cryodrake.analysis.figures import DRAWINGS  # matplotlib, a second to load

    for drawing in DRAWINGS:
        try:
            drawing(job)
        except Exception as fault:
            job.log(traceback.format_exc())
            reporter.warn(f"some figures could not be drawn ({' '.join(str(fault).split())}); see log.txt")


@contextmanager
def _warnings_to(job: JobFolder) -> Iterator[None]:
    """Sends what libraries warn of to the log instead of the user's terminal."""
    before = warnings.showwarning

    def to_log(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: object) -> None:
        job.log(f"{category.__name__} from {filename}:{lineno}: {message}")

    warnings.showwarning = to_log  # type: ignore[assignment]
    try:
        yield
    finally:
        warnings.showwarning = before
