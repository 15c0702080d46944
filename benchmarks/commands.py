"""Runs `cryodrake` as a user does, in a process of its own, and says what that cost."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Cost:
    """Seconds on the wall and of CPU (all threads), largest resident memory, exit code (negative: the signal)."""

    wall_s: float
    cpu_s: float
    peak_mib: float
    return_code: int
    threads: int

    @property
    def share(self) -> float:
        """CPU seconds over wall seconds × threads: near 1 when a well-threaded program has the machine to itself."""
        return self.cpu_s / max(self.wall_s * self.threads, 1e-9)


class Command:
    """One running `cryodrake` command; its output goes to `log`, which is written anew."""

    def __init__(self, arguments: list[str], threads: int, log: Path):
        self.threads = threads
        log.parent.mkdir(parents=True, exist_ok=True)
        self._began = time.perf_counter()
        with log.open("wb") as output:
            environment = os.environ | {name: str(threads) for name in THREAD_VARIABLES}
            line = [sys.executable, "-m", "cryodrake", *arguments]
            self.process = subprocess.Popen(line, env=environment, stdout=output, stderr=subprocess.STDOUT)

    def is_running(self) -> bool:
        """Without waiting for it or taking its exit code."""
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def kill(self) -> None:
        """SIGKILL, which no program can answer."""
        self.process.kill()

    def wait(self) -> Cost:
        """Until it ends."""
        _, status, usage = os.wait4(self.process.pid, 0)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - self._began
        return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, self.process.returncode, self.threads)


def run(arguments: list[str], threads: int, log: Path) -> Cost:
    """To its end, whatever the exit code."""
    return Command(arguments, threads, log).wait()


def end_of(log: Path, lines: int = 8) -> str:
    """The last lines of a log, for the message about a failure."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
