"""Conversion of a `.keras` or `.h5` file to ONNX, without TensorFlow or Keras."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from braintumor.export.from_keras.archive import KerasArchive
from braintumor.export.from_keras.facts import KerasFacts

if TYPE_CHECKING:
    import onnx

__all__ = ["ConvertedModel", "write_network"]


@dataclass(frozen=True, slots=True)
class ConvertedModel:
    """A network as ONNX.

    Attributes:
        model: Takes `pixels`, float32 [batch, channels, height, width], as the Keras model takes them; gives what
            the Keras model gives.
        facts: About the Keras model.
    """

    model: "onnx.ModelProto"
    facts: KerasFacts


def write_network(archive: KerasArchive, *, size: tuple[int, int] | None = None) -> ConvertedModel:
    """Write a model as ONNX.

    Args:
        archive: The model file, checked by `open_archive`.
        size: Height and width in pixels, for a model that takes any.

    Raises:
        ModelError: It cannot be exported.
        UnsupportedLayerError: It has a layer that only the way through Keras may know.
    """
    import numpy as np

    from braintumor.export.from_keras.archive import read_config
    from braintumor.export.from_keras.config import read_graph
    from braintumor.export.from_keras.facts import input_geometry, read_facts
    from braintumor.export.from_keras.passes import simplify
    from braintumor.export.from_keras.training_calls import refuse_training
    from braintumor.export.from_keras.weights import open_weights
    from braintumor.export.from_keras.writer import check_constants, check_layers, proto_of, write_model

    keras2 = archive.keras_version.startswith("2")
    graph = read_graph(read_config(archive), archive.path, by_name=archive.layout == "hdf5", keras2=keras2)
    refuse_training(graph, archive.path, keras2=keras2)
    check_layers(graph)
    shape = input_geometry(graph, archive.path, size)
    # What is not finite is refused in words at the end, not warned of on the way.
    with open_weights(archive, graph.name) as weights, np.errstate(all="ignore"):
        model, output = write_model(graph, weights, shape)
        weights.check()
        weights.forget()
        simplify(model.graph)
    check_constants(model, archive.path)
    return ConvertedModel(proto_of(model), read_facts(graph, archive.path, shape, output.shape, weights.parameters))
