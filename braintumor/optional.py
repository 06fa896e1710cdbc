"""Optional packages: imported when first used, without phoning home; missed with the command that installs them.

Some report to their makers when they are imported: OpenVINO's Python package sends an event to Google Analytics, ONNX
Runtime's wheels report to Microsoft, from 1.32 on Linux as well. Nothing may leave a hospital's network: they are
imported without.
"""

import contextlib
import importlib
import os
import re
import sys
from collections.abc import Iterator
from types import MappingProxyType, ModuleType
from typing import Any, Final, cast

from braintumor.errors import UnavailableError
from braintumor.hushed import hushed
from braintumor.libraries import library_of_module

__all__ = ["missing_package", "quietly_imported", "require"]

# Package → the module that reports for it; the package does without when that is not installed.
_REPORTERS: Final = MappingProxyType({"openvino": "openvino_telemetry"})
# What TensorFlow's C++ tells while it is imported, by itself or by Keras: not a word of it is about the user's files.
_TALK: Final = re.compile(rb"WARNING: All log messages before absl|[IW]\d{4} .+\.cc:\d+\] |To enable the following")
_TALKERS: Final = frozenset({"keras", "tensorflow"})
_TALK_VARIABLE: Final = "TF_CPP_MIN_LOG_LEVEL"
# Forbids ONNX Runtime's reports. It is read while that is imported, which another package may do by itself.
_FORBIDS: Final = "ORT_DISABLE_TELEMETRY"
# Package → its function that turns reports off, of versions that know no such variable.
_SWITCHES: Final = MappingProxyType({"onnxruntime": "disable_telemetry_events"})


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module, as `quietly_imported` does.

    Args:
        module: The module's full name, such as "onnxruntime".
        extra: The extra of this package that installs it.
        purpose: What it is needed for, as in "running ONNX models on the CPU".

    Raises:
        UnavailableError: The module is missing or does not load.
    """
    try:
        return quietly_imported(module)
    except ImportError as error:
        raise UnavailableError(
            f"{purpose} needs the package {module!r}, which does not load here ({error})",
            f"install it with: pip install 'braintumor[{extra}]'",
        ) from error


def missing_package(error: BaseException) -> UnavailableError | None:
    """What to say of an optional package that is not installed; None for any other error."""
    if not isinstance(error, ModuleNotFoundError):
        return None
    library = library_of_module(error.name or "")
    if library is None:
        return None
    package = library.module.partition(".")[0]
    return UnavailableError(
        f"this needs the package {package!r}, which is not installed", f"install it with: {library.install()}"
    )


def quietly_imported(module: str) -> ModuleType:
    """Import a module so that it reports nothing over the network, and TensorFlow without its small talk.

    What an embedding program has imported before is left as it is.

    Raises:
        ImportError: The module is missing or does not load.
    """
    package = module.partition(".")[0]
    os.environ[_FORBIDS] = "1"
    with _without_talk(package), _without_reporter(package):
        loaded = _imported(module)
    # A ruined installation imports as an empty package, and is told of elsewhere.
    if switch := getattr(loaded, _SWITCHES.get(module, ""), None):
        switch()
    return loaded


def _imported(module: str) -> ModuleType:
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


def _without_talk(package: str) -> contextlib.AbstractContextManager[None]:
    if package not in _TALKERS or "tensorflow" in sys.modules:
        return contextlib.nullcontext()
    # For what it would tell later; a user who wants to hear it sets the variable.
    os.environ.setdefault(_TALK_VARIABLE, "3")
    return hushed(_TALK) if os.environ[_TALK_VARIABLE] == "3" else contextlib.nullcontext()
