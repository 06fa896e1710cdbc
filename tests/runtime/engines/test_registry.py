"""The registry names engines that exist, and a wanted device is never traded for another."""

import pytest

from braintumor.errors import UnavailableError, UsageError
from braintumor.runtime.engines.registry import AUTO, ENGINES, candidates, engine_factory, none_usable


@pytest.mark.parametrize("name", ENGINES)
def test_engine_factory_gives_every_engine(name: str) -> None:
    factory = engine_factory(name)
    assert factory.name == name  # type: ignore[attr-defined]
    assert ENGINES[name].device in {"cpu", "cuda", "gpu"}


def test_engine_factory_refuses_an_unknown_engine() -> None:
    for ask in (engine_factory, candidates):
        with pytest.raises(UsageError, match=r"'nope'; allowed are auto, .*onnxruntime-cpu"):
            ask("nope")


def test_candidates_are_all_for_auto_and_one_for_a_name() -> None:
    assert candidates(AUTO) == tuple(ENGINES)
    assert candidates("onnxruntime-cuda") == ("onnxruntime-cuda",)


def test_candidates_use_the_requested_device() -> None:
    for device in ("cpu", "cuda", "gpu"):
        assert {ENGINES[name].device for name in candidates(AUTO, device)} == {device}
    assert candidates("onnxruntime-cpu", "cpu") == ("onnxruntime-cpu",)


def test_candidates_refuse_an_engine_of_another_device() -> None:
    with pytest.raises(UsageError, match=r"onnxruntime-cpu runs on cpu, got device cuda.*onnxruntime-cuda"):
        candidates("onnxruntime-cpu", "cuda")


def test_none_usable_gives_every_reason() -> None:
    error = none_usable({"a": UnavailableError("no GPU"), "b": UnavailableError("not installed")})
    assert str(error) == "a: no GPU; b: not installed"
