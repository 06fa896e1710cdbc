"""A `.keras` file of Keras 2 (written by tf-keras 2.21): nested models, shared ones, arithmetic as TFOpLambda.

Its answers are those that tf-keras gave when the file was made.
"""

import json
import random
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.errors import ModelError
from braintumor.export.from_keras import KerasArchive, open_archive, write_network

from .conftest import TOLERANCE, onnx_answers

FILE = Path(__file__).parent / "data" / "keras2.keras"
BRIGHTNESS = np.array([1, 0.6, 0.2], np.float32)
ANSWERS = [
    [0.00036050, 0.97493750, 0.02341142, 0.00129056],
    [0.00013007, 0.98441237, 0.01461688, 0.00084075],
    [0.00002876, 0.99227458, 0.00730652, 0.00039008],
]


def test_write_network_reads_a_file_of_keras_2():
    archive = open_archive(FILE)
    assert archive.keras_version == "2.21.0"
    converted = write_network(archive)
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3)).astype(np.float32)
    images *= BRIGHTNESS[:, np.newaxis, np.newaxis, np.newaxis]
    assert np.abs(onnx_answers(converted, images) - np.array(ANSWERS)).max() <= TOLERANCE
    assert converted.facts.scaled_by == "tf.math.truediv"
    assert "back/conv2d@2" in {node.name for node in converted.model.graph.node}


WRONG = [
    None, 0, -1, 3, 10**12, 10**400, 1.5, float("nan"), "", "same", "channels_first", True, [], [1], [0, 0], {},
    {"class_name": "x"}, [[1, 1], [1, 1]],
]  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_write_network_answers_or_refuses_in_one_line_whatever_the_config_holds(seed: int, tmp_path: Path):
    rng = random.Random(seed)  # noqa: S311 - a repeatable choice of faults
    with zipfile.ZipFile(FILE) as source:
        text, weights = source.read("config.json"), source.read("model.weights.h5")
    refusals = []
    for _ in range(60):
        config = json.loads(text)
        for place in rng.sample(list(places(config)), 2):
            plant(config, place, rng.choice(WRONG))
        path = tmp_path / "planted.keras"
        with zipfile.ZipFile(path, "w") as target:
            target.writestr("config.json", json.dumps(config))
            target.writestr("model.weights.h5", weights)
        try:
            write_network(KerasArchive(path, sha256="", keras_version="2.21.0", unpacked_bytes=0))
        except ModelError as error:
            refusals.append(str(error))
    assert len(refusals) > 10
    assert not any("\n" in refusal for refusal in refusals)


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of everything in nested lists and dictionaries."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*above, key)
        yield from places(item, (*above, key))


def plant(config: Any, place: tuple[Any, ...], wrong: Any) -> None:
    """Put a value in place of another; where an earlier one took the place away, nothing."""
    try:
        for key in place[:-1]:
            config = config[key]
        config[place[-1]] = wrong
    except (IndexError, KeyError, TypeError):
        return
