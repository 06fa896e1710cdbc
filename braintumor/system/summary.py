"""A summary of the machine, read with the standard library and `nvidia-smi` alone."""

import csv
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from braintumor.system.cpu import cpu_features, cpu_model

__all__ = ["CPU_FLAGS", "Machine", "Nvidia", "NvidiaGpu", "has_intel_gpu", "read_machine", "read_nvidia"]

CPU_FLAGS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "AVX2": ("avx2",),
        "AVX-512": ("avx512f",),
        "VNNI": ("avx512_vnni", "avx_vnni"),
        "BF16": ("avx512_bf16",),
        "AMX": ("amx_tile",),
    }
)
"""Instruction sets that move the engines' speed → their names in /proc/cpuinfo, any of which will do."""

_PCI: Final = Path("/sys/bus/pci/devices")
_NVIDIA_VENDOR: Final = "0x10de"
_INTEL_VENDOR: Final = "0x8086"
_DISPLAY_CLASS: Final = "0x03"
_SMI_LIMIT_S: Final = 30
_MIB: Final = 1 << 20
# Name, driver and memory; an older driver gives no more.
_FIELDS: Final = 3


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine without its GPUs.

    Attributes:
        os: Name, release and architecture.
        python: Version.
        cpu: The model's name.
        logical_cores: Of the machine.
        usable_cores: That this process may run on.
        cpu_flags: The names of `CPU_FLAGS` → there or not; empty where the platform does not tell.
        memory_mb: In 1e6 bytes; None where the platform does not tell.
    """

    os: str
    python: str
    cpu: str
    logical_cores: int
    usable_cores: int
    cpu_flags: Mapping[str, bool]
    memory_mb: float | None


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """One NVIDIA GPU, as its driver describes it.

    Attributes:
        name: Such as "NVIDIA RTX A4000".
        driver: The driver's version, such as "580.65.06".
        memory_mb: In 1e6 bytes; None where the driver does not tell.
        compute_capability: Such as "8.6"; None where the driver is too old to tell.
    """

    name: str
    driver: str
    memory_mb: float | None
    compute_capability: str | None


@dataclass(frozen=True, slots=True)
class Nvidia:
    """NVIDIA's side of the machine.

    Attributes:
        gpus: In the driver's order.
        cuda: The newest CUDA version that the driver serves, such as "13.0"; None without a driver.
        note: Why `gpus` is empty; "" otherwise.
        driverless: A GPU is in the machine and no driver answers for it.
    """

    gpus: tuple[NvidiaGpu, ...] = ()
    cuda: str | None = None
    note: str = ""
    driverless: bool = False


def read_machine() -> Machine:
    """Read this machine."""
    logical = os.cpu_count() or 1
    return Machine(
        os=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        cpu=cpu_model(),
        logical_cores=logical,
        usable_cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical,
        cpu_flags=_cpu_flags(),
        memory_mb=_memory_mb(),
    )


def read_nvidia() -> Nvidia:
    """Run `nvidia-smi`, which comes with the driver; it is stopped after 30 s."""
    on_the_bus = _on_the_bus(_NVIDIA_VENDOR) is True
    lead = "an NVIDIA GPU is on the PCI bus, but " if on_the_bus else "no NVIDIA GPU was found: "
    program = shutil.which("nvidia-smi")
    if program is None:
        return Nvidia(note=f"{lead}nvidia-smi, which comes with the driver, is not on PATH", driverless=on_the_bus)
    fields = "name,driver_version,memory.total"
    succeeded, text = _run(program, f"--query-gpu={fields},compute_cap", "--format=csv,noheader,nounits")
    if not succeeded:
        # Drivers before 510 refuse the whole query for the field that they do not know.
        succeeded, text = _run(program, f"--query-gpu={fields}", "--format=csv,noheader,nounits")
    if not succeeded:
        return Nvidia(note=f"{lead}nvidia-smi says: {text}", driverless=on_the_bus)
    gpus = tuple(
        _nvidia_gpu(row) for row in csv.reader(text.splitlines(), skipinitialspace=True) if len(row) >= _FIELDS
    )
    version = re.search(r"CUDA[\w ]*Version: *([\d.]+)", _run(program)[1])
    return Nvidia(gpus, version and version[1], "" if gpus else f"{lead}nvidia-smi lists none")


def _nvidia_gpu(row: list[str]) -> NvidiaGpu:
    name, driver, memory, *more = (cell.strip() for cell in row)
    compute = more[0] if more and re.fullmatch(r"\d+\.\d+", more[0]) else None
    return NvidiaGpu(name, driver, float(memory) * _MIB / 1e6 if memory.isdecimal() else None, compute)


def _run(*command: str) -> tuple[bool, str]:
    """Whether it ended well, and what it printed or why it did not end."""
    try:
        done = subprocess.run(  # noqa: S603 - a program of the driver's, found on PATH, without a shell
            command, capture_output=True, timeout=_SMI_LIMIT_S, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"nothing within {_SMI_LIMIT_S} s; the driver hangs"
    except OSError as error:
        return False, f"it does not start ({error.strerror or error})"
    text = (done.stdout or done.stderr).decode(errors="replace").strip()
    return done.returncode == 0, text if done.returncode == 0 else " ".join(text.split()) or f"exit {done.returncode}"


def has_intel_gpu() -> bool | None:
    """Whether an Intel GPU is in the machine, with a driver or without; None where the platform does not tell."""
    return _on_the_bus(_INTEL_VENDOR)


def _on_the_bus(vendor: str) -> bool | None:
    """Whether a GPU of that make is on the PCI bus; only Linux tells without a driver."""
    if not _PCI.is_dir():
        return None
    return any(
        _text(device / "vendor") == vendor and _text(device / "class").startswith(_DISPLAY_CLASS)
        for device in _PCI.iterdir()
    )


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _cpu_flags() -> dict[str, bool]:
    flags = set(cpu_features().split())
    if not flags & {"sse2", "fpu"}:
        return {}  # not a list of x86 flags
    return {name: any(spelling in flags for spelling in spellings) for name, spellings in CPU_FLAGS.items()}


def _memory_mb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    except (AttributeError, ValueError, OSError):
        return None  # Windows has no sysconf
