import json
import os
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braintumor.errors import ModelError, UsageError
from braintumor.export.from_keras.archive import open_archive
from braintumor.files import sha256_of
from braintumor.models.labels import CLASSES

RELU = {"module": "keras.layers", "class_name": "ReLU", "config": {}, "registered_name": None}


def write_archive(path: Path, config: Any, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", config if isinstance(config, (str, bytes)) else json.dumps(config))
        archive.writestr("metadata.json", '{"keras_version": "3.15.1"}')
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        open_archive(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_open_archive_reads_hash_and_keras_version(small_keras: Callable[..., Path]):
    import keras

    archive = open_archive(small_keras())
    assert (archive.path, archive.sha256) == (small_keras(), sha256_of(small_keras()))
    assert archive.keras_version == keras.__version__


def test_open_archive_knows_the_class_order_of_own_models_only(shipped_model: Path, small_keras: Callable[..., Path]):
    assert open_archive(shipped_model).classes == CLASSES
    assert open_archive(small_keras()).classes is None


@pytest.mark.parametrize(
    "network",
    [[], {"name": ["DenseNet121"]}, {"name": "DenseNet121"}, {"name": "DenseNet121", "layers": [1]}],
)
def test_open_archive_knows_no_class_order_without_layers(tmp_path: Path, network: Any):
    assert open_archive(write_archive(tmp_path / "odd.keras", {"config": network})).classes is None


def test_open_archive_refuses_a_missing_file(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no\.keras does not exist"):
        open_archive(tmp_path / "no.keras")


def test_open_archive_refuses_a_folder(tmp_path: Path):
    assert "is a folder" in refusal(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_open_archive_refuses_a_pipe_without_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.keras")
    assert "pipe" in refusal(tmp_path / "pipe.keras")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "damaged"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 91234567\n",
            "a Git LFS pointer, not the file; fetch it: git lfs pull",
        ),
        (b"\x80\x04\x95" + bytes(64), "pickle, as PyTorch writes it, which is never opened"),
        (b"\x08\x08\x12\x04tf2onnx", "ONNX"),
        (b"\x1c\0\0\0TFL3" + bytes(64), "TensorFlow Lite"),
        (b"\x08\x01\x12\xf0\x0a" + bytes(64), "saved_model.pb of a SavedModel; name its folder"),
        (b'\x40\0\0\0\0\0\0\0{"dense": {}}', "safetensors"),
        (b"\x1f\x8b\x08" + bytes(64), "gzip-compressed"),
        (b'{"class_name": "Sequential"}', "JSON"),
        (b"<!DOCTYPE html>", "a web page"),
        (bytes(range(7, 256)) * 16, "neither a zip archive nor HDF5"),
    ],
    ids=[
        "empty",
        "hdf5",
        "lfs",
        "pickle",
        "onnx",
        "tflite",
        "saved_model",
        "safetensors",
        "gzip",
        "json",
        "html",
        "noise",
    ],
)
def test_open_archive_names_the_kind_of_another_file(tmp_path: Path, content: bytes, words: str):
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    assert words in refusal(path)


def test_open_archive_names_what_a_zip_lacks(tmp_path: Path):
    path = tmp_path / "photos.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    assert "without metadata.json, model.weights.h5" in refusal(path)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"archive/data.pkl": b"", "archive/data/0": b""}, "a PyTorch model, which is never opened"),
        ({"models/brain.keras": b""}, "it holds 'models/brain.keras': unpack it"),
        ({"brain/config.json": b"{}", "brain/metadata.json": b"{}"}, "it holds 'brain/config.json'"),
    ],
    ids=["pytorch", "zipped", "folder_inside"],
)
def test_open_archive_names_the_kind_of_another_zip(tmp_path: Path, entries: dict[str, bytes], words: str):
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    assert words in refusal(path)


def test_open_archive_says_how_to_convert_a_saved_model_folder(tmp_path: Path):
    (tmp_path / "saved_model.pb").write_bytes(b"\x08\x01")
    assert "SavedModel without Keras's layers" in refusal(tmp_path)
    (tmp_path / "keras_metadata.pb").write_bytes(b'\n\x10{"keras_version": "2.9.0", "backend": "tensorflow"}')
    message = refusal(tmp_path)
    assert "a SavedModel folder of Keras 2.9.0" in message
    assert f"tf_keras.models.load_model('{tmp_path}', compile=False)" in message


def test_open_archive_says_how_to_pack_an_unpacked_keras_file(tmp_path: Path):
    for name in ("config.json", "metadata.json", "model.weights.h5"):
        (tmp_path / name).write_bytes(b"{}")
    assert "an unpacked .keras file; pack it again" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "extra"])
def test_open_archive_refuses_a_repeated_entry(tmp_path: Path, name: str):
    path = write_archive(tmp_path / "twice.keras", {}, extra=b"1")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(name, "{}")
    assert f"holds {name} more than once" in refusal(path)


@pytest.mark.parametrize("name", ["../evil.py", "/etc/passwd", "assets/../../x", "C:evil", "a\\..\\b"])
def test_open_archive_refuses_an_entry_that_leads_outside(tmp_path: Path, name: str):
    assert "would lie outside" in refusal(write_archive(tmp_path / "path.keras", {}, **{name: b"1"}))


def test_open_archive_refuses_a_zip_bomb(tmp_path: Path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", bytes(200 << 20))
    assert "unpacks to 209,715,204, which no model does" in refusal(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_open_archive_refuses_a_truncated_model(tmp_path: Path, small_keras: Callable[..., Path], kept: float):
    whole = small_keras().read_bytes()
    path = tmp_path / "half.keras"
    path.write_bytes(whole[: int(len(whole) * kept)])
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_open_archive_refuses_a_flipped_byte_in_the_config(tmp_path: Path, method: int):
    path = tmp_path / "flipped.keras"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("config.json", json.dumps({"layers": [RELU] * 50}))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")
    content = bytearray(path.read_bytes())
    start = 30 + len("config.json")
    content[start : start + 24] = bytes(255 - value for value in content[start : start + 24])
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_open_archive_refuses_an_encrypted_entry(tmp_path: Path):
    path = write_archive(tmp_path / "secret.keras", {})
    content = bytearray(path.read_bytes())
    content[6] |= 1  # the flag in the entry's own header, and the one in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    assert "encrypted" in refusal(path)


@pytest.mark.parametrize("config", ["[1, 2]", "not json", '"text"', b"\xff\xfe\x00"])
def test_open_archive_refuses_a_config_that_is_not_an_object(tmp_path: Path, config: Any):
    assert "damaged" in refusal(write_archive(tmp_path / "odd.keras", config))


@pytest.mark.parametrize("bomb", ["[" * 200_000, '{"config":' * 200_000, "[" * 90_000 + "]" * 90_000])
def test_open_archive_refuses_a_config_nested_too_deeply(tmp_path: Path, bomb: str):
    assert "damaged" in refusal(write_archive(tmp_path / "deep.keras", bomb))


def test_open_archive_searches_a_deep_config_to_its_end(tmp_path: Path):
    config: Any = {"class_name": "Lambda", "module": "keras.layers", "registered_name": None}
    for _ in range(200):
        config = {"config": [config]}
    assert "Lambda" in refusal(write_archive(tmp_path / "deep.keras", config))


def test_open_archive_refuses_many_entries(tmp_path: Path):
    path = write_archive(tmp_path / "many.keras", {}, **{f"entry{index}": b"" for index in range(80)})
    assert "83 entries" in refusal(path)


def declare(path: Path, name: bytes, size: int) -> None:
    """Let the directory of a zip say that an entry unpacks to `size` bytes."""
    content = bytearray(path.read_bytes())
    at = content.index(b"PK\x01\x02")
    while content[at + 46 : at + 46 + len(name)] != name:
        at = content.index(b"PK\x01\x02", at + 4)
    content[at + 24 : at + 28] = size.to_bytes(4, "little")
    path.write_bytes(content)


def test_open_archive_refuses_too_large_contents_before_unpacking(tmp_path: Path):
    path = write_archive(tmp_path / "bomb.keras", {}, more=b"1")
    declare(path, b"model.weights.h5", 0xFFFF0000)
    declare(path, b"more", 0xFFFF0000)
    assert "unpacks to 8,589,8" in refusal(path)


def test_open_archive_refuses_a_huge_config_before_unpacking(tmp_path: Path):
    path = write_archive(tmp_path / "bomb.keras", {})
    declare(path, b"config.json", 100 << 20)
    assert "config.json has 104,857,600 bytes" in refusal(path)


@pytest.fixture
def lambda_model(tmp_path: Path) -> Path:
    """A real model whose Lambda would write a file, in the test's folder, if it were ever run."""
    import keras

    marker = str(tmp_path / "was-run")
    image = keras.Input((8, 8, 1))
    x = keras.layers.Lambda(lambda x: (open(marker, "w").close(), x)[1], output_shape=(8, 8, 1))(image)  # noqa: PTH123
    x = keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(x))
    path = tmp_path / "lambda.keras"
    keras.Model(image, x).save(path)
    (tmp_path / "was-run").unlink(missing_ok=True)
    return path


def test_open_archive_refuses_a_lambda_without_running_it(lambda_model: Path):
    assert "Lambda layer" in refusal(lambda_model)
    assert not (lambda_model.parent / "was-run").exists()


def test_keras_would_run_the_lambda_that_open_archive_refuses(lambda_model: Path):
    import keras

    keras.saving.load_model(lambda_model, safe_mode=False)(keras.ops.zeros((1, 8, 8, 1)))
    assert (lambda_model.parent / "was-run").exists()


def test_open_archive_refuses_a_lambda_as_an_activation(tmp_path: Path):
    activation = {"class_name": "__lambda__", "config": {"value": "4wEAAAA="}}
    layer = RELU | {"config": {"activation": activation}}
    assert "Lambda" in refusal(write_archive(tmp_path / "activation.keras", {"layers": [layer]}))


@pytest.mark.parametrize("name", ["TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer"])
def test_open_archive_refuses_a_layer_with_code_of_another_library(tmp_path: Path, name: str):
    layer = RELU | {"class_name": name, "config": {"module": "gASVIAAAAAAA"}}
    assert f"has a {name} layer, which brings code" in refusal(
        write_archive(tmp_path / "x.keras", {"layers": [layer]})
    )


@pytest.mark.parametrize("registered", [True, False])
def test_open_archive_names_a_custom_layer(tmp_path: Path, registered: bool):
    import keras

    class Sharpen(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            return inputs * 2.0

    if registered:
        keras.saving.register_keras_serializable("Radiology")(Sharpen)
    image = keras.Input((8, 8, 1))
    x = keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(Sharpen()(image)))
    path = tmp_path / "own.keras"
    keras.Model(image, x).save(path)
    message = refusal(path)
    assert "Sharpen" in message
    assert "not a part of Keras" in message


@pytest.mark.parametrize(
    "module", ["os", "keras_evil.layers", "kerasx", "subprocess", "keras_hub.layers", "__main__"]
)
def test_open_archive_refuses_an_object_of_another_module(tmp_path: Path, module: str):
    config = RELU | {"module": module, "class_name": "system"}
    assert f"system of {module}" in refusal(write_archive(tmp_path / "foreign.keras", {"layers": [config]}))


def test_open_archive_ignores_a_custom_loss_or_schedule(tmp_path: Path):
    import keras

    image = keras.Input((8, 8, 1))
    model = keras.Model(image, keras.layers.Dense(4, activation="softmax")(keras.layers.Flatten()(image)))
    model.compile("adam", loss=lambda truth, guess: keras.ops.mean(truth - guess))
    path = tmp_path / "compiled.keras"
    with pytest.warns(UserWarning, match="lambda"):
        model.save(path)
    assert open_archive(path).sha256 == sha256_of(path)
