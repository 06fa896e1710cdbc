"""TensorRT's log, turned into a line for a person.

TensorRT's functions return None or False and raise nothing: why is in the log, between source files, function
names and consequences of the same fault. Here the log is collected, and cleared of what helps nobody.
"""

import logging
import re
from collections.abc import Iterable
from typing import Any, Final

from braintumor.errors import DeviceError, OutOfMemoryError, UnavailableError

__all__ = ["TrtLog", "is_out_of_memory", "parser_errors", "summarize"]

_LOG: Final = logging.getLogger("braintumor")

# Logged at every build, or as a consequence of an earlier error.
_NOISE: Final = (
    "Thread context has not been set",
    "getHardwareCompatibilityLevel() is unsupported",
    "catchCudaError at",
    "--- Begin node",
    "--- End node",
    "While parsing node number",
)
_CALL: Final = re.compile(r"^\S+: Error Code \d+: [\w ]+ \((?P<reason>.*)\)\.?$", re.DOTALL)
_PLACE_BEFORE: Final = re.compile(r"^\[[\w.]+:+\w+(?:: ?\w+)*\] ?")
_PLACE_BEHIND: Final = re.compile(r"(?:^|\.? )(?:In|condition:|at) \S+(?: ?\(\))? at /\S+:\d+(?= |$)")
_FAILED_ASSERTION: Final = re.compile(r"^Assertion failed: [^:]*: ")
_OUT_OF_MEMORY: Final = (
    "out of memory",
    "outofmemory",
    "out_of_memory",
    "cudaerror 2:",
    "cudaerrormemoryallocation",
    "failed_allocation",
    "insufficient memory",
    "gpu memory allocation",
)
_NO_DRIVER: Final = ("cudaError 35", "driver version is insufficient")
_DRIVERLESS: Final = "there is no NVIDIA driver, or one that is too old"
_SHOWN: Final = 2


class TrtLog:
    """The errors that one library logs while it works, and the exception that they make."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def logger(self, trt: Any) -> Any:
        """An object of the library's logger class that writes here; it must live as long as what uses it.

        Args:
            trt: The module.
        """
        severity, lines = trt.ILogger.Severity, self.lines
        errors = {severity.ERROR, severity.INTERNAL_ERROR}

        class Collecting(trt.ILogger):  # type: ignore[misc]  # the library has no types
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                if severity in errors:
                    lines.append(message)
                    _LOG.debug("%s", message)

        return Collecting()

    def failure(self, what: str, remedy: str) -> UnavailableError:
        """The error for something that failed; the log is empty afterwards.

        Args:
            what: The failure, as in "TensorRT 11.4 does not build model.onnx".
            remedy: How to fix it.
        """
        reason, self.lines[:] = summarize(self.lines), []
        kind: type[UnavailableError] = UnavailableError
        if is_out_of_memory(reason):
            kind = OutOfMemoryError
        elif reason == _DRIVERLESS or "cudaError" in reason:
            kind = DeviceError
        return kind(f"{what} ({reason or 'it does not say why'})", remedy)


def summarize(lines: Iterable[str]) -> str:
    """The first different errors of a log, without the places in TensorRT's source; "" where there are none."""
    lines = list(lines)
    reasons: list[str] = []
    for line in lines:
        reason = _reason(line)
        if reason and reason not in reasons and not any(noise in line for noise in (*_NOISE, *_NO_DRIVER)):
            reasons.append(reason)
    if not reasons and any(words in line for line in lines for words in _NO_DRIVER):
        return _DRIVERLESS
    return "; ".join(reasons[:_SHOWN])


def is_out_of_memory(message: str) -> bool:
    """Whether a message of TensorRT or CUDA means that a device's memory is full."""
    return any(words in message.lower() for words in _OUT_OF_MEMORY)


def parser_errors(parser: Any) -> str:
    """The errors of an ONNX parser, by node.

    Args:
        parser: A `trt.OnnxParser` whose `parse` gave False.
    """
    errors = []
    for error in (parser.get_error(index) for index in range(parser.num_errors)):
        node = error.node_name() or f"number {error.node()}"
        lines = [line for line in error.desc().splitlines() if not line.startswith("Invalid Node")]
        reason = summarize(lines).removeprefix(f"{node}: ")
        if reason in {"", "false"}:
            # A check of the parser that has no message of its own.
            reason = f"{error.code().name}: the operator, or its attributes, are not supported"
        errors.append(f"node {node} ({error.node_operator()}): {reason}")
    return "; ".join(errors[:_SHOWN])


def _reason(line: str) -> str:
    text = " ".join(line.split())
    if call := _CALL.match(text):
        text = call["reason"]
    text = _PLACE_BEFORE.sub("", text)
    text = _PLACE_BEHIND.sub("", text)
    return _FAILED_ASSERTION.sub("", text).strip().rstrip(".")
