"""TensorRT and TensorRT for RTX: loading, checks and differences.

Both have the same Python API. TensorRT for RTX builds for named compute capabilities, on a machine without a GPU
too; TensorRT builds for the GPU that it finds, and times kernels on it.
"""

import importlib
import importlib.util
import re
from dataclasses import dataclass
from typing import Any, Final

from braintumor.errors import UnavailableError, UsageError
from braintumor.libraries import LIBRARIES, version_numbers

__all__ = ["TrtLibrary", "load_library", "require_installed"]


_NAMES: Final = ("tensorrt", "tensorrt-rtx")


@dataclass(frozen=True, slots=True)
class TrtLibrary:
    """One of the two, loaded.

    Attributes:
        name: Its key in `LIBRARIES`.
        title: As NVIDIA calls it.
        trt: The module.
        version: Such as "1.7.1.116".
    """

    name: str
    title: str
    trt: Any
    version: str

    @property
    def names_capabilities(self) -> bool:
        """It builds for named compute capabilities, and needs no GPU for that: TensorRT for RTX."""
        return hasattr(self.trt, "ComputeCapability")

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The compute capabilities that can be named, such as "SM86"; empty where none can."""
        if not self.names_capabilities:
            return ()
        return tuple(name for name in self.trt.ComputeCapability.__members__ if re.fullmatch(r"SM\d+", name))


def require_installed(name: str) -> None:
    """Refuse, at no cost, a library that is not there at all.

    Args:
        name: A key of `LIBRARIES`.

    Raises:
        UsageError: It is not such a key.
        UnavailableError: It is not installed.
    """
    if name not in _NAMES:
        raise UsageError(f"no library for plans is called {name!r}; allowed are {', '.join(_NAMES)}")
    module = LIBRARIES[name].module
    try:
        installed = importlib.util.find_spec(module) is not None
    except ValueError:
        installed = False  # a None in sys.modules
    if not installed:
        raise _does_not_load(name, f"there is no module {module!r}")


def load_library(name: str) -> TrtLibrary:
    """Import a library.

    Args:
        name: A key of `LIBRARIES`.

    Raises:
        UsageError: It is not such a key.
        UnavailableError: It is not installed, its bindings lack their libraries, or it is too old.
    """
    require_installed(name)
    entry = LIBRARIES[name]
    try:
        trt = importlib.import_module(entry.module)
    except (ImportError, OSError) as error:
        # The bindings come without their libraries from some indexes; on Windows that is an OSError.
        raise _does_not_load(name, error) from error
    version = str(getattr(trt, "__version__", ""))
    if not hasattr(trt, "Builder") or not version:
        raise UnavailableError(
            f"the engine {name} needs {entry.title}, whose installation is broken", entry.install()
        )
    if version_numbers(version) < version_numbers(entry.minimum):
        raise UnavailableError(
            f"the engine {name} needs {entry.title} {entry.minimum} or newer, got {version}",
            entry.install(upgrade=True),
        )
    return TrtLibrary(name, entry.title, trt, version)


def _does_not_load(name: str, why: object) -> UnavailableError:
    entry = LIBRARIES[name]
    return UnavailableError(
        f"the engine {name} needs {entry.title}, which does not load here ({why})",
        f"install it with: {entry.install()}",
    )
