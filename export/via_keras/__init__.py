"""The way through Keras and tf2onnx, in a process of its own; and Keras's answers to images."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.export.via_keras.answer import keras_answers
    from braintumor.export.via_keras.operators import replace_erfc, unsupported_operator

__all__ = ["keras_answers", "replace_erfc", "unsupported_operator"]

__getattr__ = lazy_getattr(
    __name__,
    answer=("keras_answers",),
    operators=("replace_erfc", "unsupported_operator"),
)
