"""The registry names engines that exist, and a wanted device is never traded for another."""

import pytest

from braintumor.errors import UnavailableError, UsageError
from braintumor.runtime.engines.registry import AUTO, ENGINES, candidates, engine_factory, none_usable


@pytest.mark.parametrize("name", ENGINES)
def test_every_entry_leads_to_an_engine_of_its_name(name: str) -> None:
    factory = engine_factory(name)
    assert factory.name == name  # type: ignore[attr-defined]
    assert ENGINES[name].device in {"cpu", "cuda", "gpu"}


def test_an_unknown_engine_is_a_usage_error_that_lists_the_known() -> None:
    for ask in (engine_factory, candidates):
        with pytest.raises(UsageError, match=r"'nope'; allowed are auto, .*onnxruntime-cpu"):
            ask("nope")


def test_auto_tries_all_best_first_and_a_named_engine_stands_alone() -> None:
    assert candidates(AUTO) == tuple(ENGINES)
    assert candidates("onnxruntime-cuda") == ("onnxruntime-cuda",)


def test_a_wanted_device_leaves_only_engines_that_use_it() -> None:
    for device in ("cpu", "cuda", "gpu"):
        assert {ENGINES[name].device for name in candidates(AUTO, device)} == {device}
    assert candidates("onnxruntime-cpu", "cpu") == ("onnxruntime-cpu",)


def test_an_engine_and_a_device_that_do_not_go_together_are_a_usage_error() -> None:
    with pytest.raises(UsageError, match=r"onnxruntime-cpu runs on cpu, got device cuda.*onnxruntime-cuda"):
        candidates("onnxruntime-cpu", "cuda")


def test_when_none_is_usable_every_reason_is_given() -> None:
    error = none_usable({"a": UnavailableError("no GPU"), "b": UnavailableError("not installed")})
    assert str(error) == "a: no GPU; b: not installed"
