"""Files that were damaged or made to do harm: each works, or is refused in one line, and none hangs."""

import io
import json
import random
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from braintumor.errors import BraintumorError, ModelError
from braintumor.export.from_keras import open_archive, weights, write_network
from braintumor.export.from_keras.hdf5_guard import require_readable
from tests.support.faults import damaged

DATA = Path(__file__).parent / "data"


def outcome(path: Path) -> str:
    """The refusal of a file; "" where it is written as ONNX."""
    try:
        write_network(open_archive(path))
    except BraintumorError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message
    return message


def with_member(path: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    """The `.keras` file of the tests with one member changed, and fitting checksums, as of somebody who means it."""
    with zipfile.ZipFile(DATA / "keras2.keras") as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            content = source.read(entry)
            target.writestr(entry, change(content) if entry == name else content)
    return path


@pytest.mark.parametrize("name", ["config.json", "metadata.json"])
@pytest.mark.parametrize("seed", range(3))
def test_write_network_answers_or_refuses_damaged_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, seed: int
) -> None:
    # The weights are whole.
    monkeypatch.setattr(weights, "require_readable", lambda *_: None)
    rng = random.Random(seed)  # noqa: S311 - a repeatable choice of faults
    outcomes = [
        outcome(with_member(tmp_path / "x.keras", name, lambda content: damaged(content, rng))) for _ in range(60)
    ]
    assert len(set(outcomes)) > 5


def hdf5_outcomes(folder: Path, seed: int, count: int) -> list[str]:
    rng = random.Random(seed)  # noqa: S311 - a repeatable choice of faults
    whole = (DATA / "keras2.h5").read_bytes()
    outcomes = []
    for index in range(count):
        path = folder / f"{index}.h5"
        if index % 2:
            path.write_bytes(damaged(whole, rng))
        else:
            path = with_member(path.with_suffix(".keras"), "model.weights.h5", lambda content: damaged(content, rng))
        outcomes.append(outcome(path))
    return outcomes


def test_write_network_answers_or_refuses_damaged_hdf5(tmp_path: Path) -> None:
    assert len(set(hdf5_outcomes(tmp_path, 0, 24))) > 3


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_write_network_answers_or_refuses_much_damaged_hdf5(tmp_path: Path, seed: int) -> None:
    assert len(set(hdf5_outcomes(tmp_path, seed, 60))) > 5


@pytest.mark.parametrize("kept", [9, 100, 1000, 10_000, 30_000])
def test_write_network_refuses_a_truncated_h5_file(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cut.h5"
    path.write_bytes((DATA / "keras2.h5").read_bytes()[:kept])
    assert "is damaged" in outcome(path)


def endless(path: Path) -> Path:
    """A file over which the HDF5 library goes round for ever: a heap of texts whose objects are of no length."""
    content = bytearray((DATA / "keras2.h5").read_bytes())
    at = content.index(b"GCOL")
    while at >= 0:
        size = int.from_bytes(content[at + 8 : at + 16], "little")
        content[at + 16 : at + size] = bytes(size - 16)
        at = content.find(b"GCOL", at + 4)
    path.write_bytes(content)
    return path


@pytest.mark.slow
def test_require_readable_refuses_a_file_over_which_hdf5_hangs(tmp_path: Path) -> None:
    assert "the HDF5 library does not come back from it" in outcome(endless(tmp_path / "endless.h5"))


def test_require_readable_reports_a_crash_of_the_trial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    crasher = tmp_path / "python"
    crasher.write_text("#!/bin/sh\nkill -SEGV $$\n")
    crasher.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(crasher))
    with pytest.raises(ModelError, match="the HDF5 library crashes over it"):
        require_readable(DATA / "keras2.h5", "crash")


def planted(folder: Path, change: Callable[[h5py.File], Any]) -> Path:
    """The `.h5` file of the tests with something changed in it."""
    path = folder / "planted.h5"
    path.write_bytes((DATA / "keras2.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def kernel(make: Callable[[h5py.Group, str], Any]) -> Callable[[h5py.File], None]:
    """Puts something in the place of the last layer's kernel."""

    def replace(file: h5py.File) -> None:
        group, name = file["model_weights/head/answer"], "kernel:0"
        del group[name]
        make(group, name)

    return replace


def bomb(group: h5py.Group, name: str) -> None:
    group.create_dataset(name, (8, 4), "f4", chunks=(8, 4), compression="gzip", fillvalue=0)


def circle(file: h5py.File) -> None:
    file["model_weights/head/answer/again"] = file["model_weights"]
    file["model_weights/again"] = file["/"]


ELSEWHERE = h5py.ExternalLink("/etc/passwd", "/")
STORED_ELSEWHERE = {"external": [("/etc/passwd", 0, 128)]}
HUGE = (1 << 30, 1 << 20)
BORDERS: dict[str, tuple[Callable[[h5py.File], Any], str]] = {
    "soft_link": (kernel(lambda group, name: group.__setitem__(name, h5py.SoftLink("/x"))), "link"),
    "external_link": (kernel(lambda group, name: group.__setitem__(name, ELSEWHERE)), "link"),
    "external_storage": (
        kernel(lambda group, name: group.create_dataset(name, (8, 4), "f4", **STORED_ELSEWHERE)),
        "outside of the file",
    ),
    "objects": (
        kernel(lambda group, name: group.create_dataset(name, (8, 4), h5py.string_dtype())),
        "its weights are object",
    ),
    "huge": (
        kernel(lambda group, name: group.create_dataset(name, HUGE, "f4", chunks=(1024, 1))),
        "needs kernel of shape (8, 4)",
    ),
    "a_group": (kernel(lambda group, name: group.create_group(name)), "a group"),
    "circle": (circle, ""),
    "compressed": (kernel(bomb), ""),
}


@pytest.mark.parametrize("border", BORDERS)
def test_write_network_refuses_links_and_external_storage(tmp_path: Path, border: str) -> None:
    change, words = BORDERS[border]
    message = outcome(planted(tmp_path, change))
    assert words in message
    assert bool(words) == bool(message)


def test_write_network_refuses_weights_that_unpack_too_far(tmp_path: Path) -> None:
    import json

    def grow(file: h5py.File) -> None:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"][-1]["config"]["layers"]:
            if layer["config"]["name"] == "hidden":
                layer["config"]["units"] = 20_000_000
        file.attrs["model_config"] = json.dumps(config)
        group = file["model_weights/head/hidden"]
        del group["kernel:0"]
        group.create_dataset("kernel:0", (8, 20_000_000), "f4", chunks=(8, 1_000_000), compression="gzip")

    begun = time.process_time()
    assert "which no model does" in outcome(planted(tmp_path, grow))
    assert time.process_time() - begun < 5


def test_write_network_refuses_a_scalar_of_another_kind(tmp_path: Path) -> None:
    import keras

    image = keras.Input((8, 8, 1))
    norm = keras.layers.Normalization(name="norm")
    norm.adapt(np.random.default_rng(0).normal(size=(4, 8, 8, 1)))
    x = keras.layers.Dense(4)(keras.layers.Flatten()(norm(image)))
    keras.Model(image, x).save(tmp_path / "whole.keras")

    def change(content: bytes) -> bytes:
        buffer = io.BytesIO(content)
        with h5py.File(buffer, "r+") as file:
            del file["layers/normalization/vars/2"]
            file["layers/normalization/vars"].create_dataset("2", (), h5py.string_dtype())
        return buffer.getvalue()

    with zipfile.ZipFile(tmp_path / "whole.keras") as source, zipfile.ZipFile(tmp_path / "x.keras", "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, change(content) if name == "model.weights.h5" else content)
    assert "layer 'norm': its weights are object" in outcome(tmp_path / "x.keras")


@pytest.mark.parametrize("name", [[], {}, 7, "Mine>Dense"])
def test_open_archive_refuses_a_registered_name_that_keras_does_not_write(tmp_path: Path, name: object) -> None:
    def renamed(content: bytes) -> bytes:
        config = json.loads(content)
        config["config"]["layers"][-1]["registered_name"] = name
        return json.dumps(config).encode()

    assert "is not a part of Keras" in outcome(with_member(tmp_path / "x.keras", "config.json", renamed))


def test_write_network_refuses_weights_that_are_damaged_inside_the_archive(tmp_path: Path) -> None:
    content = bytearray((DATA / "keras2.keras").read_bytes())
    with zipfile.ZipFile(DATA / "keras2.keras") as archive:
        at = archive.getinfo("model.weights.h5").header_offset
    content[at + 200] ^= 1
    (tmp_path / "x.keras").write_bytes(content)
    assert "is a damaged .keras file (model.weights.h5" in outcome(tmp_path / "x.keras")


def test_open_archive_refuses_names_that_are_not_unicode(tmp_path: Path) -> None:
    def renamed(content: bytes) -> bytes:
        return json.dumps(json.loads(content) | {"name": "\ud800"}).encode()

    assert "not Unicode" in outcome(with_member(tmp_path / "x.keras", "config.json", renamed))
