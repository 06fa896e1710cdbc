"""The direct way from a `.keras` or `.h5` file to ONNX, without TensorFlow or Keras.

converted = write_network(open_archive(path))
onnx.save(converted.model, "network.onnx")
converted.facts.classes
"""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.export.from_keras.archive import KerasArchive, open_archive
    from braintumor.export.from_keras.convert import ConvertedModel, write_network
    from braintumor.export.from_keras.facts import KerasFacts

__all__ = ["ConvertedModel", "KerasArchive", "KerasFacts", "open_archive", "write_network"]

__getattr__ = lazy_getattr(
    __name__,
    archive=("KerasArchive", "open_archive"),
    convert=("ConvertedModel", "write_network"),
    facts=("KerasFacts",),
)
