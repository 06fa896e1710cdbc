"""Keras, imported when it is first needed."""

from typing import Any

from braintumor.optional import require

__all__ = ["keras_module"]


def keras_module() -> Any:
    """Keras, or an error that says how to install it."""
    return require("keras", extra="train", purpose="training")
