"""Run one command and say when each of its lines came out, in wall seconds and in CPU seconds.

The peers print where they are (an epoch, an iteration) but not what it cost. Reading their output as it comes, with the
kernel's account of the process beside it, times their phases without touching them. CPU seconds are kept because wall
seconds mean nothing on a machine that is busy with something else.
"""

import os
import re
import select
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

LINE_END = re.compile(rb"[\r\n]+")  # RELION redraws its progress bar with carriage returns
CLOCKS = ("wall_s", "cpu_s")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Line:
    """One line of output; seconds of wall and of CPU (user + system, all threads) from the start until it came."""

    text: str
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Run:
    """A command that ended, or was ended at its time limit."""

    command: list[str]
    lines: list[Line]
    wall_s: float
    cpu_s: float
    return_code: int
    timed_out: bool
    threads: int

    @property
    def share(self) -> float:
        """CPU seconds over (wall seconds × threads): 1 when a well-threaded program has the machine to itself."""
        return self.cpu_s / max(self.wall_s * self.threads, 1e-9)

    @property
    def cut_off(self) -> bool:
        """Ended by the time limit, or by a signal from someone who wanted the machine: its last phase is not whole."""
        return self.timed_out or self.return_code < 0

    def checked(self, log: Path) -> "Run":
        """Self, or RuntimeError with the end of the log when the command failed by itself."""
        if self.return_code != 0 and not self.timed_out:
            end = "\n".join(line.text for line in self.lines[-15:])
            raise RuntimeError(f"{' '.join(self.command)}\nended with code {self.return_code}; see {log}\n{end}")
        return self

    def spans(self, begin: str, end: str, clock: str) -> list[float]:
        """Seconds from each line that matches `begin` to the next that matches `end`, on one of CLOCKS."""
        started, spans = None, []
        for line in self.lines:
            if re.search(begin, line.text):
                started = getattr(line, clock)
            elif started is not None and re.search(end, line.text):
                spans.append(getattr(line, clock) - started)
                started = None
        return spans


def run_stamped(command: list[str], cwd: Path, threads: int, log: Path, limit_s: float | None = None) -> Run:
    """Run `command` in `cwd`, its output copied to `log`; terminated after `limit_s` wall seconds."""
    environment = os.environ | {name: str(threads) for name in THREAD_VARIABLES}
    environment |= {"PYTHONUNBUFFERED": "1", "CUDA_VISIBLE_DEVICES": ""}
    start, lines, rest, cpu_s, timed_out = time.perf_counter(), [], b"", 0.0, False
    with log.open("wb") as copy:
        process = subprocess.Popen(command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        while True:
            ready, _, _ = select.select([pipe], [], [], 0.5)
            wall_s, cpu_s = time.perf_counter() - start, max(cpu_s, _cpu_seconds(process.pid))
            if ready:
                chunk = os.read(pipe, 1 << 16)
                if not chunk:
                    break
                copy.write(chunk)
                copy.flush()
                *whole, rest = LINE_END.split(rest + chunk)
                lines += [Line(text.decode(errors="replace"), wall_s, cpu_s) for text in whole if text.strip()]
            if limit_s is not None and wall_s > limit_s and not timed_out:
                timed_out = True
                process.terminate()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    wall_s, cpu_s = time.perf_counter() - start, usage.ru_utime + usage.ru_stime
    return Run(command, lines, wall_s, cpu_s, process.returncode, timed_out, threads)


def _cpu_seconds(pid: int) -> float:
    """User and system seconds of a process and its reaped children: fields 14 to 17 of /proc/PID/stat, proc(5)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:  # it is gone
        return 0.0
    return sum(int(ticks) for ticks in fields[11:15]) / os.sysconf("SC_CLK_TCK")
