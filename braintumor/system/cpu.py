"""What the CPU can do, as a key for what is compiled for it."""

import functools
import platform
from pathlib import Path

__all__ = ["cpu_features", "saturates_int8"]


@functools.cache
def cpu_features() -> str:
    """The CPU's instruction sets, as far as the platform tells; two equal texts run the same code."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                if line.startswith(("flags", "Features")):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return f"{platform.machine()} {platform.processor()}"


def saturates_int8() -> bool:
    """Whether int8 products are known to be summed in 16 bits here, where they overflow: x86 without VNNI or AMX."""
    features = set(cpu_features().split())
    return "avx2" in features and not features & {"avx512_vnni", "avx_vnni", "amx_int8"}
