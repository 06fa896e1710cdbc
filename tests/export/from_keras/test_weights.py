"""The weights file: what is read, and every planted fault that is refused."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from braintumor.errors import ModelError, UnsupportedLayerError
from braintumor.export.from_keras import open_archive, write_network

CONV = "layers/conv2d_1/vars"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose second convolution is called `planted`."""
    import keras

    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, name="first")(layers.Rescaling(1 / 255, name="scale")(image))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(6, 3, name="planted")(x))
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    keras.Model(image, layers.Dense(4, activation="softmax")(x)).save(path)
    return path


Plant = Callable[[h5py.File], Any]


@pytest.fixture
def planted(saved: Path, tmp_path: Path) -> Callable[[Plant], Path]:
    """The model with something changed in its weights file."""

    def plant(change: Plant) -> Path:
        path = tmp_path / "planted.keras"
        with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
            content = io.BytesIO(source.read("model.weights.h5"))
            with h5py.File(content, "r+") as file:
                change(file)
            target.writestr("model.weights.h5", content.getvalue())
            for name in ("config.json", "metadata.json"):
                target.writestr(name, source.read(name))
        return path

    return plant


def put(file: h5py.File, data: Any, name: str = "0", **options: Any) -> Any:
    if name in file[CONV]:
        del file[CONV][name]
    return file[CONV].create_dataset(name, data=data, **options)


def external_storage(file: h5py.File) -> None:
    del file[CONV]["0"]
    file[CONV].create_dataset("0", (3, 3, 4, 6), "f4", external=[("/etc/passwd", 0, 864)])


def virtual_data(file: h5py.File) -> None:
    del file[CONV]["0"]
    layout = h5py.VirtualLayout((3, 3, 4, 6), "f4")
    layout[...] = h5py.VirtualSource("elsewhere.h5", "data", (3, 3, 4, 6))
    file[CONV].create_virtual_dataset("0", layout)


def huge(file: h5py.File) -> None:
    del file[CONV]["0"]
    file[CONV].create_dataset("0", (3, 3, 4, 1 << 40), "f4", chunks=(1, 1, 1, 4096), compression="gzip")


def soft_link(file: h5py.File) -> None:
    del file[CONV]["0"]
    file[CONV]["0"] = h5py.SoftLink("/layers/conv2d/vars/0")


def external_link(file: h5py.File) -> None:
    del file["layers/conv2d_1"]
    file["layers/conv2d_1"] = h5py.ExternalLink("/etc/passwd", "/")


def group_for_data(file: h5py.File) -> None:
    del file[CONV]["0"]
    file[CONV].create_group("0")


def data_for_group(file: h5py.File) -> None:
    del file["layers/conv2d_1"]
    file["layers/conv2d_1"] = np.zeros(3)


KERNEL = np.ones((3, 3, 4, 6), np.float32)
NOT_A_NUMBER = np.full_like(KERNEL, np.nan)
FAULTS: dict[str, tuple[Plant, str]] = {
    "another_shape": (lambda file: put(file, np.ones((3, 3, 4, 7), np.float32)), "planted needs kernel of shape"),
    "missing_dataset": (lambda file: file[CONV].__delitem__("1"), "planted needs 2 weights"),
    "missing_layer": (lambda file: file["layers"].__delitem__("conv2d_1"), "planted needs 2 weights"),
    "one_too_many": (lambda file: put(file, KERNEL, "2"), "planted needs 2 weights"),
    "not_a_number": (lambda file: put(file, NOT_A_NUMBER), r"NaN or infinite weights \(planted/kernel, 1 of 6"),
    "infinite": (lambda file: put(file, KERNEL * np.inf), r"NaN or infinite weights"),
    "half": (lambda file: put(file, KERNEL.astype(np.float16)), "keeps its weights in float16"),
    "bfloat16": (lambda file: put(file, KERNEL.view(np.uint16)[..., ::2]).attrs.update(dtype="bfloat16"), "bfloat16"),
    "text": (lambda file: put(file, np.full(KERNEL.shape, b"text")), "planted"),
    "references": (lambda file: put(file, np.full(KERNEL.shape, file.ref), dtype=h5py.ref_dtype), "planted"),
    "external_storage": (external_storage, "outside of the file"),
    "virtual_data": (virtual_data, "outside of the file"),
    "huge": (huge, "planted needs kernel of shape"),
    "soft_link": (soft_link, "link"),
    "external_link": (external_link, "link"),
    "group_for_data": (group_for_data, "a group"),
    "data_for_group": (data_for_group, "not a group"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_write_network_refuses_a_planted_fault(fault: str, planted: Callable[[Plant], Path]):
    change, words = FAULTS[fault]
    path = planted(change)
    with pytest.raises(ModelError, match=words) as caught:
        write_network(open_archive(path))
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, UnsupportedLayerError) == (fault in {"text", "references"})


def test_write_network_refuses_damaged_chunks(planted: Callable[[Plant], Path]):
    def damage(file: h5py.File) -> None:
        dataset = put(file, KERNEL, chunks=KERNEL.shape, compression="gzip")
        dataset.id.write_direct_chunk((0, 0, 0, 0), b"no deflate stream")

    with pytest.raises(ModelError, match=r"planted/kernel.*damaged"):
        write_network(open_archive(planted(damage)))


def test_write_network_refuses_weights_that_are_not_hdf5(saved: Path, tmp_path: Path):
    path = tmp_path / "broken.keras"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        target.writestr("model.weights.h5", b"no HDF5")
        for name in ("config.json", "metadata.json"):
            target.writestr(name, source.read(name))
    with pytest.raises(ModelError, match="damaged"):
        write_network(open_archive(path))


def test_write_network_does_not_give_a_layer_the_weights_of_another(planted: Callable[[Plant], Path]):
    def rename(file: h5py.File) -> None:
        file[CONV].attrs["name"] = "other"

    with pytest.raises(UnsupportedLayerError, match="other") as caught:
        write_network(open_archive(planted(rename)))
    assert caught.value.layer == "planted"


def test_write_network_reads_weights_in_double_precision(saved: Path, planted: Callable[[Plant], Path]):
    def widen(file: h5py.File) -> None:
        put(file, file[CONV]["0"][()].astype(np.float64))

    as_saved, widened = (write_network(open_archive(path)).model for path in (saved, planted(widen)))
    assert widened.SerializeToString() == as_saved.SerializeToString()


@pytest.mark.parametrize(
    ("key", "value"),
    [("kernel_size", "abc"), ("filters", None), ("filters", 10**15), ("strides", [0, 0]), ("strides", [-1, -1]),
     ("padding", "causal"), ("groups", 0), ("dilation_rate", {}), ("activation", {"class_name": "x"}),
     ("kernel_size", [3])],
)  # fmt: skip
def test_write_network_refuses_a_config_that_keras_would_not_write(saved: Path, tmp_path: Path, key: str, value: Any):
    path = tmp_path / "config.keras"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        config = json.loads(source.read("config.json"))
        layer = next(layer for layer in config["config"]["layers"] if layer["name"] == "planted")
        layer["config"][key] = value
        target.writestr("config.json", json.dumps(config))
        for name in ("model.weights.h5", "metadata.json"):
            target.writestr(name, source.read(name))
    with pytest.raises(ModelError, match="planted"):
        write_network(open_archive(path))


def test_write_network_refuses_a_negative_variance(tmp_path: Path):
    import keras

    image = keras.Input((16, 16, 3))
    norm = keras.layers.BatchNormalization(name="planted")
    x = keras.layers.Flatten()(norm(keras.layers.Conv2D(3, 3)(image)))
    model = keras.Model(image, keras.layers.Dense(4)(x))
    norm.set_weights([np.ones(3), np.ones(3), np.ones(3), np.array([1, -1, 1])])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ModelError, match="NaN"):
        write_network(open_archive(tmp_path / "model.keras"))


@pytest.mark.parametrize(("name", "padding"), [("wide", 10**9), ("gone", -9)])
def test_write_network_refuses_a_tensor_of_impossible_size(saved: Path, tmp_path: Path, name: str, padding: int):
    path = tmp_path / "config.keras"
    with zipfile.ZipFile(saved) as source, zipfile.ZipFile(path, "w") as target:
        config = json.loads(source.read("config.json"))
        layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Rescaling")
        layer |= {"class_name": "ZeroPadding2D", "name": name}
        layer["config"] = {"name": name, "padding": [[padding, padding], [0, 0]]}
        text = json.dumps(config).replace('"scale"', f'"{name}"')
        target.writestr("config.json", text)
        for member in ("model.weights.h5", "metadata.json"):
            target.writestr(member, source.read(member))
    with pytest.raises(ModelError, match=name):
        write_network(open_archive(path))
