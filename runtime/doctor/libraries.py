"""The libraries that run engines: which are installed, and what is wrong with them."""

import importlib.metadata
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from braintumor.libraries import LIBRARIES, Library, version_numbers
from braintumor.runtime.doctor.isolate import Outcome
from braintumor.runtime.engines.registry import ENGINES
from braintumor.system.summary import Nvidia

__all__ = ["ENGINE_LIBRARIES", "LibraryFinding", "installed", "library_finding", "reinstall"]

# CUDA major version → the first driver that serves it (NVIDIA, "CUDA Toolkit Release Notes", table of drivers).
_DRIVERS: Final[Mapping[int, int]] = MappingProxyType({12: 525, 13: 580})


_NEEDED: Final = {name for entry in ENGINES.values() for name in (entry.library, *LIBRARIES[entry.library].needs)}
ENGINE_LIBRARIES: Final[Mapping[str, Library]] = MappingProxyType(
    {name: library for name, library in LIBRARIES.items() if name in _NEEDED}
)
"""The libraries of the registry's engines, and those that these need."""


@dataclass(frozen=True, slots=True)
class LibraryFinding:
    """One library on this machine.

    Attributes:
        name: Its key in `LIBRARIES`.
        installed: Distribution → version.
        loads: It can be imported and is whole.
        reason: What is wrong with it; "" when nothing is.
        remedy: The command that fixes it; "" when nothing is wrong, or when there is no NVIDIA GPU to use it.
    """

    name: str
    installed: Mapping[str, str]
    loads: bool
    reason: str = ""
    remedy: str = ""


def installed(library: Library) -> dict[str, str]:
    """Distribution → version, of those that are installed; "unknown" where the metadata is damaged."""
    versions = {}
    for name in library.distributions:
        try:
            version: str | None = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        except KeyError:
            version = None  # the folder is there, the file that names the version is not
        versions[name] = version or "unknown"
    return versions


def reinstall(library: Library, extra: str, present: Mapping[str, str]) -> str:
    """The command that replaces the installed distributions."""
    clean = f"pip uninstall -y {' '.join(present)} && " if present else ""
    return f"{clean}{library.install(extra)}"


def library_finding(name: str, present: Mapping[str, str], outcome: Outcome, nvidia: Nvidia) -> LibraryFinding:
    """The finding on one library.

    Args:
        name: Its key in `LIBRARIES`.
        present: Distribution → version, from `installed`.
        outcome: Of the task "library".
        nvidia: NVIDIA's side of the machine.
    """
    library = LIBRARIES[name]
    for_gpu = bool(nvidia.gpus) or any(distribution.endswith("-gpu") for distribution in present)
    extra = library.extra_for(gpu=for_gpu)
    loads = outcome.ok and bool(outcome.facts["whole"])
    if library.exclusive and len(present) > 1:
        reason = f"{' and '.join(present)} are all installed and overwrite each other's files; keep one"
        return LibraryFinding(name, present, loads, reason, reinstall(library, extra, present))
    if not loads:
        reason = _why_not(library, present, outcome)
        if not present and library.for_gpus_only and not nvidia.gpus and not nvidia.driverless:
            # It would be of no use here.
            return LibraryFinding(name, present, loads, reason)
        return LibraryFinding(name, present, loads, reason, reinstall(library, extra, present))
    version = str(outcome.facts["version"] or next(iter(present.values()), "unknown"))
    if version_numbers(version) < version_numbers(library.minimum):
        reason = f"version {version} is too old; must be {library.minimum} or newer"
        return LibraryFinding(name, present, loads, reason, library.install(extra, upgrade=True))
    return LibraryFinding(name, present, loads, *_gpu_problem(library, present, nvidia))


def _why_not(library: Library, present: Mapping[str, str], outcome: Outcome) -> str:
    if outcome.ok:
        return f"the installation is broken: {library.module} has no {library.landmark}"
    if outcome.missing and not present and f"{library.module}.".startswith(f"{outcome.missing}."):
        return "it is not installed"
    if shared := re.search(r"\blib[\w+-]+\.so[\d.]*|\b[\w+-]+\.dll\b", outcome.reason):
        return f"its Python part is there without the library {shared[0]} ({outcome.reason})"
    return f"it does not load ({outcome.reason})"


def _gpu_problem(library: Library, present: Mapping[str, str], nvidia: Nvidia) -> tuple[str, str]:
    """The reason why a whole library does not run on this GPU, and the remedy; two empty texts where it does."""
    if not nvidia.gpus:
        return "", ""
    required, served = _cuda_major(present), version_numbers(nvidia.cuda or "")
    if required is not None and served and served[0] < required:
        reason = f"the NVIDIA driver {nvidia.gpus[0].driver} is too old: it serves CUDA {nvidia.cuda}, not {required}"
        newer = _DRIVERS.get(required, max(_DRIVERS.values()))
        return reason, f"install the NVIDIA driver {newer} or newer, then restart the machine"
    allowed = library.compute_capabilities
    known = [gpu.compute_capability for gpu in nvidia.gpus if gpu.compute_capability]
    if allowed and known and not set(known) & set(allowed):
        reason = f"it builds for the compute capabilities {', '.join(allowed)}; this machine has {', '.join(known)}"
        return reason, "use `engine='tensorrt'` or `engine='onnxruntime-cuda'`"
    return "", ""


def _cuda_major(present: Mapping[str, str]) -> int | None:
    """The CUDA that the installed distribution was built for, as its name (or NVIDIA's own version) says."""
    for name, version in present.items():
        if named := re.search(r"-cu(\d+)$", name):
            return int(named[1])
        if name == "cuda-bindings" and version_numbers(version):
            return version_numbers(version)[0]
    return None
