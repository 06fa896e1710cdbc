"""Keras, imported when it is first needed."""

from typing import Any

import numpy as np

from braintumor.optional import require

__all__ = ["array_of", "keras_module"]


def keras_module() -> Any:
    """Import Keras.

    Raises:
        UnavailableError: It is not installed.
    """
    return require("keras", extra="train", purpose="training")


def array_of(variable: Any) -> np.ndarray:
    """Copy a variable's value, whatever the backend."""
    # Not keras.ops.convert_to_numpy: NumPy 2 warns about how TensorFlow's variables answer it.
    return np.array(np.asarray(variable))
