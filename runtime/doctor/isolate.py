"""Tasks in a child process, whatever becomes of it: an abort, a hang and a silent end are outcomes, too."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from braintumor.cache import CACHE_VARIABLE

__all__ = ["Outcome", "probe"]

_CHILD: Final = "braintumor.runtime.doctor.worker"
_LOG_CHARACTERS: Final = 4000
_LAST_EXIT_CODE: Final = 0xFF


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one task of the worker.

    Attributes:
        ok: It succeeded.
        reason: Why not; "" when it was.
        error: The class of the exception, "crash" or "hang"; "" when it succeeded.
        remedy: Of the error, when it is a `BraintumorError`.
        missing: The module that was not found, when that was the error.
        facts: The task's result.
        log: The end of standard error.
    """

    ok: bool
    reason: str = ""
    error: str = ""
    remedy: str = ""
    missing: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    log: str = ""


def probe(task: str, *arguments: str, limit_s: float) -> Outcome:
    """Run one task in a child process. Nothing that the task does raises here.

    Args:
        task: One of `worker.TASKS`.
        arguments: The task's.
        limit_s: The child is killed after that many seconds.
    """
    with tempfile.TemporaryDirectory(prefix="braintumor-doctor-", ignore_cleanup_errors=True) as folder:
        out, log = Path(folder) / "answer.json", Path(folder) / "log.txt"
        # Files, not pipes: a grandchild that lives on would keep a pipe open for ever. -P: no folder that happens
        # to lie here is taken for a library.
        with out.open("wb") as out_stream, log.open("wb") as log_stream:
            child = subprocess.Popen(  # noqa: S603 - our own module, without a shell
                [sys.executable, "-P", "-m", _CHILD, task, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out_stream,
                stderr=log_stream,
                # Nothing of a trial may stay in the user's cache.
                env=os.environ | {CACHE_VARIABLE: str(Path(folder) / "cache")},
            )
            try:
                status: int | None = child.wait(limit_s)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                child.kill()
                child.wait()
        tail = log.read_text(encoding="utf-8", errors="replace")[-_LOG_CHARACTERS:]
        return _outcome(out.read_bytes(), status, limit_s, tail)


def _outcome(answer: bytes, status: int | None, limit_s: float, log: str) -> Outcome:
    try:
        result = json.loads(answer)
    except ValueError:
        if status is None:
            return Outcome(ok=False, reason=f"it gave no answer within {limit_s:g} s", error="hang", log=log)
        return Outcome(ok=False, reason=f"its process {_ended(status)} without an answer", error="crash", log=log)
    if result["ok"]:
        return Outcome(ok=True, facts=result["facts"], log=log)
    reason = result["reason"] or result["error"]
    return Outcome(
        ok=False, reason=reason, error=result["error"], remedy=result["remedy"], missing=result["missing"], log=log
    )


def _ended(status: int) -> str:
    if status >= 0:
        # Windows gives the exception as an exit code, such as 0xC0000005.
        return f"ended with exit code {status}" + (f" (0x{status:08X})" if status > _LAST_EXIT_CODE else "")
    try:
        return f"died of {signal.Signals(-status).name}"
    except ValueError:
        return f"died of signal {-status}"
