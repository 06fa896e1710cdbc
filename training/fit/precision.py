"""The arithmetic in which this device is fast."""

import os
import sys
from typing import Any

from braintumor.system.cpu import computes_bfloat16
from braintumor.training.recipe import Precision

__all__ = ["compute_policy", "jit_setting"]


def compute_policy(keras: Any, precision: Precision) -> str:
    """Choose the Keras dtype policy for a precision: "float32" or "mixed_bfloat16"."""
    if precision == "auto":
        return "mixed_bfloat16" if _accelerated(keras) or _cpu_has_bfloat16() else "float32"
    return "float32" if precision == "float32" else "mixed_bfloat16"


def jit_setting(keras: Any) -> str | bool:
    """Choose XLA or not: it slows TensorFlow down on CPUs, and JAX is nothing without it."""
    return "auto" if keras.backend.backend() == "jax" or _accelerated(keras) else False


def _accelerated(keras: Any) -> bool:
    """Whether Keras sees a GPU or TPU."""
    # JAX raises when a kind is named that is not there; without a name it lists what it uses.
    return any(not name.startswith("cpu") for name in keras.distribution.list_devices())


def _cpu_has_bfloat16() -> bool:
    # Other systems than Linux have no such file: float32 is right everywhere, only slower.
    if sys.platform != "linux" or os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        return False
    return computes_bfloat16()
