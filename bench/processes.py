"""Whole processes as a user sees them: wall time and peak memory of a command."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from braintumor.errors import UnavailableError

__all__ = ["ProcessRun", "run_process"]


@dataclass(frozen=True, slots=True)
class ProcessRun:
    """One run of a command.

    Attributes:
        wall_s: From start to exit, in seconds.
        peak_rss_mb: Peak resident memory of the process itself, in 1e6 bytes.
        returncode: Its exit code.
        stdout: What it printed.
    """

    wall_s: float
    peak_rss_mb: float
    returncode: int
    stdout: str


def run_process(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> ProcessRun:
    """Run a command to its end; its standard error goes nowhere.

    Args:
        command: Program and arguments.
        environment: Added to this process's.

    Raises:
        UnavailableError: On Windows, which does not tell a child's peak memory this way.
    """
    if sys.platform == "win32":
        raise UnavailableError("peak memory of a process is measured with wait4, which Windows lacks; use Linux")
    start = time.perf_counter()
    with subprocess.Popen(
        command,
        env=os.environ | (environment or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - narrows the type: a pipe was asked for
        stdout = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
    # Linux counts in KiB, macOS in bytes.
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return ProcessRun(wall_s, usage.ru_maxrss * unit_bytes / 1e6, process.returncode, stdout)
