"""Wall time, CPU time and peak memory of a whole process, as a user sees them."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.errors import UnavailableError

__all__ = ["ProcessRun", "own_peak_rss_mb", "run_process"]

# The peak of a process starts at the memory of its parent at the fork: a small process must fork it.
_LAUNCHER: Final = """
import json, os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[2:])
_, status, usage = os.wait4(process.pid, 0)
process.returncode = os.waitstatus_to_exitcode(status)
report = [time.perf_counter() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss, process.returncode]
os.write(int(sys.argv[1]), json.dumps(report).encode())
"""


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """One run of a command.

    Attributes:
        wall_s: From start to exit, in seconds.
        cpu_s: CPU time of all its threads, and of the processes that it waited for, in seconds.
        peak_rss_mb: Peak resident memory of the process itself, in 1e6 bytes.
        returncode: Its exit code.
        stdout: Its standard output.
    """

    wall_s: float
    cpu_s: float
    peak_rss_mb: float
    returncode: int
    stdout: str


def run_process(
    command: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> ProcessRun:
    """Run a command to its end; its standard error is discarded. An interrupt ends the command as well.

    Args:
        command: Program and arguments.
        environment: Variables that are added to those of this process.
        folder: Its working folder; None for that of this process.

    Raises:
        UnavailableError: On Windows, which has no `wait4`.
    """
    if sys.platform == "win32":
        raise UnavailableError("peak memory of a process is measured with wait4, which Windows lacks", "use Linux")
    report_read, report_write = os.pipe()
    with os.fdopen(report_read) as report:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", _LAUNCHER, str(report_write), *command],
                env=os.environ | (environment or {}),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(report_write,),
                # A group of its own: the launcher and the command can be ended together.
                process_group=0,
                text=True,
            )
        finally:
            os.close(report_write)
        try:
            stdout, _ = process.communicate()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise
        wall_s, cpu_s, peak_rss, returncode = json.load(report)
    # Linux counts in KiB, macOS in bytes.
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return ProcessRun(wall_s, cpu_s, peak_rss * unit_bytes / 1e6, returncode, stdout)


def own_peak_rss_mb() -> float | None:
    """Peak resident memory of this process since its program began, in 1e6 bytes; None if it is not known.

    Linux counts VmHWM anew for every program; `getrusage` would start at the memory of the parent.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = (line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return next((int(line.split()[1]) * 1024 / 1e6 for line in lines), None)
    if sys.platform == "win32":
        return _windows_peak_mb()
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def _windows_peak_mb() -> float | None:
    try:
        import psutil
    except ImportError:
        return None
    return float(psutil.Process().memory_info().peak_wset) / 1e6
