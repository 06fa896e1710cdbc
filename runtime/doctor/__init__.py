"""`bt-doctor`: the engines that this machine can run, and how to fix the others."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.runtime.doctor.diagnosis import Diagnosis, diagnose

__all__ = ["Diagnosis", "diagnose"]

__getattr__ = lazy_getattr(__name__, diagnosis=("Diagnosis", "diagnose"))
