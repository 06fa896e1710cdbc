"""The weights that come with the package: the direct writer's answers beside Keras's, its bytes, its nodes."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from braintumor.export.from_keras import open_archive, write_network
from tests.support.paths import PRETRAINED

from .conftest import TOLERANCE, onnx_answers, pixels

NODES = {"DenseNet121": 373, "EfficientNetV2S": 506, "EfficientNetV2M": 729, "InceptionResNetV2": 582}

BACKBONES = [
    "DenseNet121",
    *(pytest.param(name, marks=pytest.mark.slow) for name in NODES if name != "DenseNet121"),
]


@pytest.mark.parametrize("name", BACKBONES)
def test_write_network_answers_as_keras_does(name: str):
    import keras

    path = PRETRAINED / f"{name}.keras"
    converted = write_network(open_archive(path))
    images = pixels(converted, 16)
    model = keras.saving.load_model(path, compile=False)
    # Both sides round as the CPU's kernels do: EfficientNetV2S is 1.1e-6 off on AVX-512, less than 1e-6 on AVX2.
    assert np.abs(onnx_answers(converted, images) - model.predict(images, verbose=0)).max() <= 2 * TOLERANCE
    assert len(converted.model.graph.node) == NODES[name]
    assert "Transpose" not in {node.op_type for node in converted.model.graph.node}
    assert converted.facts.parameters == model.count_params()
    assert (converted.facts.architecture, converted.facts.classes, converted.facts.channels) == (name, 4, 1)
    assert converted.facts.last_activation == "softmax"
    assert converted.facts.scaled_by == "scale"
    onnx.checker.check_model(converted.model, full_check=True)


SCRIPT = """
import hashlib, json, sys
from pathlib import Path
from braintumor.export.from_keras import open_archive, write_network
from tests.support.paths import PRETRAINED

converted = write_network(open_archive(Path(sys.argv[1])))
loaded = sorted({"keras", "tensorflow", "tf2onnx", "onnxruntime", "onnxslim"} & set(sys.modules))
print(json.dumps([hashlib.sha256(converted.model.SerializeToString()).hexdigest(), loaded]))
"""


def test_write_network_gives_the_same_bytes_under_every_hash_seed(small_keras: Callable[..., Path]):
    results = [in_process(small_keras(), seed) for seed in ("0", "1", "4242")]
    here = write_network(open_archive(small_keras())).model.SerializeToString()
    assert {digest for digest, _ in results} == {hashlib.sha256(here).hexdigest()}
    assert not any(loaded for _, loaded in results), "libraries that an export without Keras does not need"


def in_process(path: Path, seed: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        env=os.environ | {"PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
