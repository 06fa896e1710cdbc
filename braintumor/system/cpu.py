"""The CPU's name and its instruction sets: a key for what is compiled for it."""

import functools
import platform
from collections.abc import Mapping
from pathlib import Path

__all__ = ["computes_bfloat16", "cpu_features", "cpu_model", "saturates_int8"]


def cpu_features() -> str:
    """The CPU's instruction sets, as far as the platform lists them; CPUs with equal texts run the same code."""
    info = _cpuinfo()
    return info.get("flags") or info.get("Features") or f"{platform.machine()} {platform.processor()}"


def cpu_model() -> str:
    """The name of the CPU's model, as far as the platform has it."""
    return _cpuinfo().get("model name") or platform.processor() or platform.machine()


def computes_bfloat16() -> bool:
    """Whether the CPU is known to have instructions for bfloat16."""
    return bool(set(cpu_features().split()) & {"avx512_bf16", "amx_bf16"})


def saturates_int8() -> bool:
    """Whether int8 products are known to be summed in 16 bits here, where they overflow: x86 without VNNI or AMX."""
    features = set(cpu_features().split())
    return "avx2" in features and not features & {"avx512_vnni", "avx_vnni", "amx_int8"}


@functools.cache
def _cpuinfo() -> Mapping[str, str]:
    """Name → value, of the first CPU in Linux's /proc/cpuinfo; empty on other systems."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    first = text.partition("\n\n")[0].splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first)}
