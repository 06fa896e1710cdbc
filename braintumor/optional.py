"""Optional packages: imported when first used, without telemetry; missed with the command that installs them.

Some report to their makers when they are imported: OpenVINO's Python package sends an event to Google Analytics, ONNX
Runtime's wheels report to Microsoft, from 1.32 on Linux as well. Nothing may leave a hospital's network: they are
imported without. TensorFlow's C++ logs oneDNN and missing GPUs before it looks at any variable that could forbid it:
these lines are kept from standard error.
"""

import contextlib
import importlib
import os
import re
import sys
import threading
from collections.abc import Iterator
from types import MappingProxyType, ModuleType
from typing import Any, Final, cast

from braintumor.errors import UnavailableError
from braintumor.libraries import library_of_module

__all__ = ["drop_stderr_lines", "import_without_telemetry", "missing_package", "require"]

# Package → the module that reports for it; the package does without when that is not installed.
_REPORTERS: Final = MappingProxyType({"openvino": "openvino_telemetry"})
# Forbids ONNX Runtime's reports. It is read while that is imported, which another package may do by itself.
_TELEMETRY_VARIABLE: Final = "ORT_DISABLE_TELEMETRY"
# Package → its function that turns reports off, of versions that know no such variable.
_SWITCHES: Final = MappingProxyType({"onnxruntime": "disable_telemetry_events"})
# What TensorFlow's C++ logs while it is imported, by itself or by Keras; none of it is about the user's files.
_IMPORT_LOG: Final = re.compile(
    rb"WARNING: All log messages before absl|[IW]\d{4} .+\.cc:\d+\] |To enable the following"
)
_LOGGERS: Final = frozenset({"keras", "tensorflow"})
_LOG_VARIABLE: Final = "TF_CPP_MIN_LOG_LEVEL"

_STDERR: Final = 2
_CHUNK_BYTES: Final = 1 << 16
_JOIN_S: Final = 1.0
# Standard error is the whole process's: one at a time.
_STDERR_LOCK: Final = threading.Lock()


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module, as `import_without_telemetry` does.

    Args:
        module: The module's full name, such as "onnxruntime".
        extra: The extra of this package that installs it.
        purpose: What it is needed for, as in "running ONNX models on the CPU".

    Raises:
        UnavailableError: The module is missing or does not load.
    """
    try:
        return import_without_telemetry(module)
    except ImportError as error:
        raise UnavailableError(
            f"{purpose} needs the package {module!r}, which does not load here ({error})",
            f"install it with: pip install 'braintumor[{extra}]'",
        ) from error


def missing_package(error: BaseException) -> UnavailableError | None:
    """The error for an optional package that is not installed; None for any other error."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    library = library_of_module(error.name or "")
    if library is None:
        return None
    package = library.module.partition(".")[0]
    return UnavailableError(
        f"this needs the package {package!r}, which is not installed", f"install it with: {library.install()}"
    )


def import_without_telemetry(module: str) -> ModuleType:
    """Import a module so that it reports nothing over the network, and TensorFlow without its log lines.

    What an embedding program has imported before is left as it is.

    Raises:
        ImportError: The module is missing or does not load.
    """
    package = module.partition(".")[0]
    os.environ[_TELEMETRY_VARIABLE] = "1"
    with _without_import_log(package), _without_reporter(package):
        loaded = _import(module)
    # A broken installation imports as an empty package, and is reported elsewhere.
    if switch := getattr(loaded, _SWITCHES.get(module, ""), None):
        switch()
    return loaded


@contextlib.contextmanager
def drop_stderr_lines(pattern: re.Pattern[bytes]) -> Iterator[None]:
    """Drop lines from standard error, whoever writes them in this block, C++ as well; all others pass at once.

    Args:
        pattern: Matched at the start of each line.
    """
    with _STDERR_LOCK:
        try:
            saved = os.dup(_STDERR)
        except OSError:
            # A program without a standard error.
            yield
            return
        reading, writing = os.pipe()
        os.dup2(writing, _STDERR)
        os.close(writing)
        filtering = threading.Thread(target=_filter_lines, args=(reading, saved, pattern), daemon=True)
        filtering.start()
        try:
            yield
        finally:
            os.dup2(saved, _STDERR)
            # A process that was started meanwhile holds the pipe open: its lines are filtered, and not waited for.
            filtering.join(_JOIN_S)


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        # An extension module (pybind11) that is interrupted while it loads may say that it does not load.
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise


@contextlib.contextmanager
def _without_reporter(package: str) -> Iterator[None]:
    reporter = _REPORTERS.get(package)
    if reporter is None or reporter in sys.modules:
        yield
        return
    # None makes Python say that there is no such module.
    cast("dict[str, Any]", sys.modules)[reporter] = None
    try:
        yield
    finally:
        del sys.modules[reporter]


def _without_import_log(package: str) -> contextlib.AbstractContextManager[None]:
    if package not in _LOGGERS or "tensorflow" in sys.modules:
        return contextlib.nullcontext()
    # For what it would log later; a user who wants to read it sets the variable.
    os.environ.setdefault(_LOG_VARIABLE, "3")
    return drop_stderr_lines(_IMPORT_LOG) if os.environ[_LOG_VARIABLE] == "3" else contextlib.nullcontext()


def _filter_lines(reading: int, writing: int, pattern: re.Pattern[bytes]) -> None:
    try:
        while chunk := os.read(reading, _CHUNK_BYTES):
            passing = b"".join(line for line in chunk.splitlines(keepends=True) if not pattern.match(line))
            if passing:
                os.write(writing, passing)
    finally:
        os.close(reading)
        os.close(writing)
