"""A `.keras` file of Keras 2 (written by tf-keras 2.21): nested models, shared ones, arithmetic as TFOpLambda.

Its answers are those that tf-keras gave when the file was made.
"""

from pathlib import Path

import numpy as np

from braintumor.export.from_keras import KerasArchive, write_core

from .conftest import TOLERANCE, onnx_answers

FILE = Path(__file__).parent / "data" / "keras2.keras"
BRIGHTNESS = np.array([1, 0.6, 0.2], np.float32)
ANSWERS = [
    [0.00036050, 0.97493750, 0.02341142, 0.00129056],
    [0.00013007, 0.98441237, 0.01461688, 0.00084075],
    [0.00002876, 0.99227458, 0.00730652, 0.00039008],
]


def test_write_core_reads_a_file_of_keras_2():
    core = write_core(KerasArchive(FILE, sha256="", keras_version="2.21.0", unpacked_bytes=0))
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    images *= BRIGHTNESS[:, np.newaxis, np.newaxis, np.newaxis]
    assert np.abs(onnx_answers(core, images) - np.array(ANSWERS)).max() <= TOLERANCE
    assert core.facts.scaled_by == "tf.math.truediv"
    assert "back/conv2d@2" in {node.name for node in core.model.graph.node}
