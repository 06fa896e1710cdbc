"""`auto` takes the fastest engine that answers as the bundle says, measures once, and remembers."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from braintumor.cache import CACHE_VARIABLE
from braintumor.errors import IntegrityError, UnavailableError
from braintumor.runtime.bundle.checksum import with_checksum
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engine_selection import EngineChoice
from braintumor.runtime.engines.base import EngineInfo
from braintumor.runtime.engines.onnxruntime import OnnxRuntimeCpuEngine
from braintumor.runtime.engines.registry import EngineEntry
from braintumor.runtime.ensemble import Ensemble

pytestmark = pytest.mark.usefixtures("own_cache_of_the_test")


class Slow(OnnxRuntimeCpuEngine):
    """Right, and slow."""

    name = "slow"

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        time.sleep(0.02)
        return super().infer(images)


class Wrong(OnnxRuntimeCpuEngine):
    """Fast, and beside the point: another class order."""

    name = "wrong"

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return super().infer(images)[:, ::-1]


class Gone(OnnxRuntimeCpuEngine):
    """Not usable here."""

    name = "gone"

    def __init__(self, *_: object, **__: object) -> None:
        raise UnavailableError("the device is gone")


class Damaged(OnnxRuntimeCpuEngine):
    """Cannot read the member."""

    name = "damaged"

    def __init__(self, *_: object, **__: object) -> None:
        raise IntegrityError("an operator that is not known")


class Failing(OnnxRuntimeCpuEngine):
    """Loads, and fails when it is asked."""

    name = "failing"

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        del images
        raise UnavailableError("out of memory")


ENGINES: Mapping[str, type[OnnxRuntimeCpuEngine]] = {
    "right": OnnxRuntimeCpuEngine,
    "slow": Slow,
    "wrong": Wrong,
    "gone": Gone,
    "damaged": Damaged,
    "failing": Failing,
}

Install = Callable[..., list[str]]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Fills the registry; returns the names of the engines that are loaded from then on."""

    # A second an engine is for real ones.
    monkeypatch.setattr("braintumor.runtime.engine_selection._SECONDS_EACH", 0.02)

    def replace(*names: str) -> list[str]:
        loaded: list[str] = []

        def factory(name: str) -> Any:
            def make(member: Member, **options: Any) -> Any:
                loaded.append(name)
                engine = ENGINES[name](member, **options)
                engine._info = EngineInfo(name, "p", "cpu", "1")
                return engine

            return make

        entries = {name: EngineEntry(f"nowhere:{name}", "cpu", "onnxruntime") for name in names}
        for module in ("engines.registry", "engine_selection"):
            monkeypatch.setattr(f"braintumor.runtime.{module}.ENGINES", entries)
        monkeypatch.setattr("braintumor.runtime.members.engine_factory", factory)
        return loaded

    return replace


def chosen(bundle: Path) -> tuple[str, list[EngineChoice]]:
    choices: list[EngineChoice] = []
    with Ensemble.load(bundle, on_choice=choices.append) as ensemble:
        return ensemble.engine.name, choices


def test_load_takes_the_fastest_engine_and_reports_the_measurement_once(three: Path, install: Install) -> None:
    loaded = install("slow", "right")
    name, choices = chosen(three)
    assert name == "right"
    assert [choice.engine for choice in choices] == ["right"]
    assert choices[0].images_per_s["right"] > 1.5 * choices[0].images_per_s["slow"]
    assert loaded == ["slow"] * 3 + ["right"] * 3
    loaded.clear()
    assert chosen(three) == ("right", [])
    assert loaded == ["right"] * 3


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ("wrong", r"a: its probabilities are [0-9.]+ off; at fp32 0.0001 is allowed"),
        ("gone", "the device is gone"),
        ("damaged", "operator that is not known"),
        ("failing", "out of memory"),
    ],
)
def test_load_drops_an_engine_with_wrong_answers(single: Path, install: Install, bad: str, why: str) -> None:
    install(bad, "slow", "right")
    name, (choice,) = chosen(single)
    assert name == "right"
    assert choice.images_per_s.keys() == {"slow", "right"}
    (reason,) = choice.refused.values()
    assert re.search(why, reason)


def test_load_remembers_a_single_usable_engine_unmeasured(single: Path, install: Install) -> None:
    loaded = install("gone", "right")
    assert chosen(single) == ("right", [])
    loaded.clear()
    assert chosen(single) == ("right", [])
    assert loaded == ["right"]


def test_load_gives_every_reason_without_a_usable_engine(single: Path, install: Install) -> None:
    install("gone", "wrong")
    with pytest.raises(
        UnavailableError, match=r"gone: the device is gone; wrong: wrong does not answer as the bundle"
    ):
        chosen(single)
    install("gone", "damaged")
    with pytest.raises(IntegrityError, match="operator that is not known"):
        chosen(single)


def test_load_chooses_again_when_the_engine_is_gone(single: Path, install: Install, monkeypatch: Any) -> None:
    install("slow", "right")
    assert chosen(single)[0] == "right"
    monkeypatch.setitem(ENGINES, "right", Gone)
    assert chosen(single) == ("slow", [])


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"engine": 7}'])
def test_load_measures_again_when_the_cache_is_damaged(
    single: Path, install: Install, own_cache_of_the_test: Path, damage: bytes
) -> None:
    install("slow", "right")
    chosen(single)
    (cached,) = own_cache_of_the_test.glob("engine-choice/*/found.json")
    cached.write_bytes(damage)
    name, choices = chosen(single)
    assert (name, len(choices)) == ("right", 1)
    assert json.loads(cached.read_bytes())["engine"] == "right"


def test_load_measures_every_time_without_a_cache(
    single: Path, install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install("slow", "right")
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file" / "cache"))
    for _ in range(2):
        name, (choice,) = chosen(single)
        assert name == "right"
        assert re.search(r"engine-choice cannot be written \(Not a directory\)", choice.not_remembered)


@pytest.mark.parametrize("change", ["threads", "bundle", "libraries"])
def test_load_measures_again_after_a_change(
    single: Path, half: Path, install: Install, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    install("slow", "right")
    chosen(single)
    choices: list[EngineChoice] = []
    if change == "libraries":
        newer = "9.9"
        monkeypatch.setattr(
            "braintumor.runtime.engine_selection.machine_fingerprint",
            lambda names: {"libraries": dict.fromkeys(names, newer), "gpus": []},
        )
    options: Any = {"threads": 1} if change == "threads" else {}
    Ensemble.load(half if change == "bundle" else single, on_choice=choices.append, **options).close()
    assert len(choices) == 1


def test_load_takes_the_first_usable_engine_without_a_probe(single: Path, tmp_path: Path, install: Install) -> None:
    old = Path(shutil.copytree(single, tmp_path / "old"))
    manifest = json.loads((old / "bundle.json").read_bytes())
    for member in manifest["members"]:
        (old / member.pop("probe")["file"]).unlink()
    (old / "bundle.json").write_text(json.dumps(with_checksum(manifest)))
    install("gone", "slow", "right")
    assert chosen(old) == ("slow", [])


def test_load_takes_a_named_engine_unmeasured(single: Path, install: Install) -> None:
    loaded = install("slow", "right", "gone")
    with Ensemble.load(single, engine="slow") as ensemble:
        assert ensemble.engine.name == "slow"
    assert loaded == ["slow"]
    with pytest.raises(UnavailableError, match="the device is gone"):
        Ensemble.load(single, engine="gone")


@pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs two engines")
def test_load_imports_only_the_chosen_library(three: Path) -> None:
    code = (
        "import sys, braintumor\n"
        "with braintumor.Ensemble.load(sys.argv[1]) as ensemble: print(ensemble.engine.name)\n"
        "print(sorted({'onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx'} & sys.modules.keys()))"
    )
    out = [
        subprocess.run(
            [sys.executable, "-P", "-c", code, three], capture_output=True, text=True, check=True
        ).stdout.splitlines()
        for _ in range(2)
    ]
    name = out[0][0]
    assert out[1] == [name, str([name.partition("-")[0]])]
