"""TensorRT and TensorRT for RTX: loaded, checked and told apart.

Both have the same Python API. TensorRT for RTX builds for named compute capabilities, on a machine without a GPU
too; TensorRT builds for the GPU that it finds, and times kernels on it.
"""

import importlib
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from braintumor.errors import UnavailableError, UsageError

__all__ = ["LIBRARIES", "Library", "LibraryEntry", "load_library", "require_installed"]


@dataclass(frozen=True, slots=True)
class LibraryEntry:
    """One of the two, as it is installed.

    Attributes:
        module: What is imported.
        title: As NVIDIA calls it.
        minimum: The oldest version whose API is used here.
        remedy: The command that installs it.
    """

    module: str
    title: str
    minimum: tuple[int, int]
    remedy: str


LIBRARIES: Final[Mapping[str, LibraryEntry]] = MappingProxyType(
    {
        "tensorrt": LibraryEntry(
            "tensorrt",
            "TensorRT",
            (10, 12),
            "pip install --extra-index-url https://pypi.nvidia.com 'braintumor[tensorrt]'",
        ),
        "tensorrt-rtx": LibraryEntry("tensorrt_rtx", "TensorRT for RTX", (1, 7), "pip install 'braintumor[rtx]'"),
    }
)
"""By the name of the engine that stands on it."""


@dataclass(frozen=True, slots=True)
class Library:
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
        UsageError: It is no key.
        UnavailableError: It is not installed.
    """
    if name not in LIBRARIES:
        raise UsageError(f"no library for plans is called {name!r}; allowed are {', '.join(LIBRARIES)}")
    module = LIBRARIES[name].module
    try:
        found = importlib.util.find_spec(module) is not None
    except ValueError:
        found = False  # a None in sys.modules
    if not found:
        raise _does_not_load(name, f"there is no module {module!r}")


def load_library(name: str) -> Library:
    """Import a library.

    Args:
        name: A key of `LIBRARIES`.

    Raises:
        UsageError: It is no key.
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
        raise UnavailableError(f"the engine {name} needs {entry.title}, whose installation is broken: {entry.remedy}")
    if _numbers(version) < entry.minimum:
        wanted = ".".join(map(str, entry.minimum))
        raise UnavailableError(
            f"the engine {name} needs {entry.title} {wanted} or newer; found is {version}: "
            f"{entry.remedy.replace('install', 'install --upgrade', 1)}"
        )
    return Library(name, entry.title, trt, version)


def _does_not_load(name: str, why: object) -> UnavailableError:
    entry = LIBRARIES[name]
    return UnavailableError(
        f"the engine {name} needs {entry.title}, which does not load here ({why}); install it with: {entry.remedy}"
    )


def _numbers(version: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in leading[0].split(".")) if leading else ()
