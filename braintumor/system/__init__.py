"""Facts about this machine: its CPU, its memory, its GPUs."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.system.cpu import cpu_features, cpu_model
    from braintumor.system.fingerprint import library_versions, machine_fingerprint
    from braintumor.system.summary import Machine, Nvidia, read_machine, read_nvidia

__all__ = [
    "Machine",
    "Nvidia",
    "cpu_features",
    "cpu_model",
    "library_versions",
    "machine_fingerprint",
    "read_machine",
    "read_nvidia",
]

__getattr__ = lazy_getattr(
    __name__,
    cpu=("cpu_features", "cpu_model"),
    fingerprint=("library_versions", "machine_fingerprint"),
    summary=("Machine", "Nvidia", "read_machine", "read_nvidia"),
)
