"""A diagnosis of this machine: the engines that it runs, and remedies for the others; `render` prints it.

An engine is usable when it answered: the registry's own engine, in a child process, on a member of 422 bytes.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from braintumor import __version__
from braintumor.cache import cache_folder
from braintumor.errors import DeviceError, OutputError
from braintumor.libraries import LIBRARIES
from braintumor.runtime.doctor.isolate import Outcome, probe
from braintumor.runtime.doctor.libraries import (
    ENGINE_LIBRARIES,
    LibraryFinding,
    installed,
    library_finding,
    reinstall,
)
from braintumor.runtime.engines.registry import ENGINES
from braintumor.system.summary import Machine, Nvidia, has_intel_gpu, read_machine, read_nvidia

__all__ = [
    "SCHEMA",
    "BundleFinding",
    "CacheFinding",
    "Diagnosis",
    "EngineFinding",
    "decisive",
    "diagnose",
    "engine_finding",
]

SCHEMA: Final = "braintumor.doctor/1"

_CUDA_LIBRARY: Final = re.compile(
    r"\blib(?:cudnn|cublas|cudart|cufft|curand|nvrtc|nvinfer)\w*\.so[\d.]*|\b(?:cudnn|cublas|cudart|cufft|nvinfer)\w*\.dll"
)
_DRIVER: Final = "install NVIDIA's driver (on Ubuntu: sudo ubuntu-drivers install), then restart the machine"
# Each is a process that may load a few hundred megabytes.
_PROBES_AT_A_TIME: Final = 4


@dataclass(frozen=True, slots=True)
class EngineFinding:
    """One engine of the registry on this machine.

    Attributes:
        name: The registry's.
        device: "cpu", "cuda" or "gpu".
        usable: It answered, and correctly.
        reason: Why it is not usable, or what is wrong although it is; "" when nothing is.
        remedy: How to fix it; "" when nothing is wrong.
        runs_on: Provider, device and version, read back from the engine; empty when it is not usable.
    """

    name: str
    device: str
    usable: bool
    reason: str
    remedy: str
    runs_on: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class CacheFinding:
    """The user's cache.

    Attributes:
        folder: Where it is, or would be; None where there is no place for it.
        size_mb: Of its files, in 1e6 bytes.
        free_mb: Left on its disk, in 1e6 bytes; None when there is no such folder yet.
        writable: A file was written there; for a folder that is not there yet: it could be made.
        reason: Why it is not writable; "" otherwise.
    """

    folder: str | None
    size_mb: float
    free_mb: float | None
    writable: bool
    reason: str


@dataclass(frozen=True, slots=True)
class BundleFinding:
    """The bundle that `bt-infer` would take in this folder.

    Attributes:
        verified: There is one, and its hashes are right.
        reason: Why not, with the remedy, or that the first `bt-infer` will make it; "" otherwise.
        facts: Folder, SHA-256, precision and members; empty when it was not found.
    """

    verified: bool
    reason: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The findings of `bt-doctor`.

    Attributes:
        version: Of braintumor.
        machine: Without its GPUs.
        nvidia: NVIDIA's GPUs and driver.
        openvino_devices: Device → full name, such as "GPU" for an Intel one; empty when OpenVINO does not load.
        libraries: In the order of `ENGINE_LIBRARIES`.
        engines: In the registry's order.
        cache: The user's.
        bundle: Found or not.
    """

    version: str
    machine: Machine
    nvidia: Nvidia
    openvino_devices: Mapping[str, str]
    libraries: tuple[LibraryFinding, ...]
    engines: tuple[EngineFinding, ...]
    cache: CacheFinding
    bundle: BundleFinding

    @property
    def usable(self) -> bool:
        """At least one engine answers."""
        return any(engine.usable for engine in self.engines)

    def to_dict(self) -> dict[str, Any]:
        """As plain data of the schema "braintumor.doctor/1", ready for JSON."""
        data = asdict(self)
        # The key is older than the name.
        bundle = {"found": data["bundle"].pop("verified"), **data["bundle"]}
        return {"schema": SCHEMA, "usable": self.usable, **data, "bundle": bundle}


class _Gpus(NamedTuple):
    nvidia: Nvidia
    intel: bool | None


def diagnose(*, limit_s: float = 60.0) -> Diagnosis:
    """Examine this machine. What is wrong with it raises nothing.

    Args:
        limit_s: Time limit of each child process, in seconds; one that takes longer counts as hanging.
    """
    with ThreadPoolExecutor(_PROBES_AT_A_TIME) as pool:

        def submit(task: str, *arguments: str) -> Future[Outcome]:
            return pool.submit(probe, task, *arguments, limit_s=limit_s)

        loading = {
            name: submit("library", library.module, library.landmark) for name, library in ENGINE_LIBRARIES.items()
        }
        answering = {name: submit("engine", name) for name in ENGINES}
        devices, bundle = submit("openvino-devices"), submit("bundle")
        cards, intel = read_nvidia(), has_intel_gpu()
        libraries = {
            name: library_finding(name, installed(LIBRARIES[name]), outcome.result(), cards)
            for name, outcome in loading.items()
        }
        engines = tuple(
            engine_finding(name, outcome.result(), decisive(name, libraries), cards, intel=intel)
            for name, outcome in answering.items()
        )
    return Diagnosis(
        version=__version__,
        machine=read_machine(),
        nvidia=cards,
        openvino_devices=devices.result().facts,
        libraries=tuple(libraries.values()),
        engines=engines,
        cache=_cache(),
        bundle=_bundle(bundle.result()),
    )


def _bundle(outcome: Outcome) -> BundleFinding:
    return BundleFinding(outcome.ok, "; ".join(filter(None, (outcome.reason, outcome.remedy))), outcome.facts)


def decisive(engine: str, libraries: Mapping[str, LibraryFinding]) -> LibraryFinding | None:
    """The library that runs an engine; or one that this one needs, where only that has a problem.

    Args:
        engine: A name of the registry.
        libraries: By their keys in `LIBRARIES`.
    """
    name = ENGINES[engine].library
    findings = [libraries[key] for key in (name, *LIBRARIES[name].needs)]
    return next((finding for finding in findings if finding.reason), findings[0])


def engine_finding(
    name: str, outcome: Outcome, library: LibraryFinding | None, cards: Nvidia, *, intel: bool | None = None
) -> EngineFinding:
    """The finding on one engine, with the deepest cause of its failure.

    Args:
        name: The registry's.
        outcome: Of the task "engine".
        library: Of the library that runs it; None for one that is not listed.
        cards: NVIDIA's side of the machine.
        intel: Whether an Intel GPU is in it; None when that is unknown.
    """
    device = ENGINES[name].device
    if outcome.ok:
        problem = (library.reason, library.remedy) if library else ("", "")
        return EngineFinding(name, device, True, *problem, outcome.facts)
    return EngineFinding(name, device, False, *_cause(device, outcome, library, _Gpus(cards, intel)), {})


def _cause(device: str, outcome: Outcome, library: LibraryFinding | None, gpus: _Gpus) -> tuple[str, str]:
    """The reason why an engine does not answer, and the remedy."""
    if absent := _absent(device, gpus):
        return absent
    if library is None:
        return outcome.reason, outcome.remedy
    if library.reason:
        return library.reason, library.remedy
    return _failure(device, outcome, library)


def _absent(device: str, gpus: _Gpus) -> tuple[str, str] | None:
    """The machine has no such GPU, or no driver for it: then nothing else matters."""
    if device == "cuda" and not gpus.nvidia.gpus:
        return gpus.nvidia.note, _DRIVER if gpus.nvidia.driverless else _nothing_to_fix("NVIDIA")
    if device == "gpu" and gpus.intel is False:
        return "no Intel GPU was found: there is none on the PCI bus", _nothing_to_fix("Intel")
    return None


def _failure(device: str, outcome: Outcome, library: LibraryFinding) -> tuple[str, str]:
    """The reason why an engine with its library and its device does not answer, and the remedy."""
    known = LIBRARIES[library.name]
    extra = known.extra_for(gpu=device == "cuda")
    if outcome.error == DeviceError.__name__:
        return outcome.reason, outcome.remedy
    # What CUDA and ONNX Runtime print themselves: their errors do not have it.
    if device == "cuda" and "driver version is insufficient" in outcome.log:
        return "the NVIDIA driver is too old for the installed CUDA libraries", "install a newer NVIDIA driver"
    if device == "cuda" and (missing := _CUDA_LIBRARY.search(outcome.log)):
        return f"the library {missing[0]} does not load", known.install(extra, upgrade=True)
    return outcome.reason, reinstall(known, extra, library.installed)


def _nothing_to_fix(make: str) -> str:
    return f"nothing to fix: this machine has no {make} GPU; bt-infer uses the fastest engine that works"


def _cache() -> CacheFinding:
    try:
        folder = cache_folder()
    except OutputError as error:
        return CacheFinding(None, 0.0, None, writable=False, reason=str(error))
    # Where it is not there yet, the folder in which it would be made is tested; nothing is made for this.
    parents = (folder, *folder.absolute().parents)
    existing = next((path for path in parents if path.exists()), Path(folder.anchor or "."))
    reason = ""
    try:
        with tempfile.TemporaryFile(dir=existing):
            free_mb: float | None = shutil.disk_usage(existing).free / 1e6
    except OSError as error:
        free_mb, reason = None, f"{existing} cannot be written ({error.strerror or error})"
    return CacheFinding(str(folder), sum(_sizes(folder)) / 1e6, free_mb, writable=not reason, reason=reason)


def _sizes(folder: Path) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(parent) / name).stat().st_size
            except OSError:
                continue  # removed meanwhile
