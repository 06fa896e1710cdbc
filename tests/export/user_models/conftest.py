"""Users' models: exported by both routes, and compared with Keras.

The worker of the slow route runs in this process here; `via_keras/test_process.py` starts it as the export does.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braintumor.errors import BraintumorError, UnsupportedLayerError
from braintumor.export import member as member_module
from braintumor.export import network
from braintumor.export.member import build_member
from braintumor.export.network import Network
from braintumor.export.options import Target
from braintumor.export.stages import ModelStages
from braintumor.export.verify.compare import verify_and_run
from braintumor.export.verify.reference import VerificationImages

Export = Callable[..., dict[str, Any]]
Refusal = Callable[..., str]
Keras = Callable[..., Path]

# Small networks with decided heads magnify float32 rounding; the backbones agree within 1e-6.
_CLOSE = 5e-6


@pytest.fixture(params=["direct", "keras"])
def export(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stages_of: Callable[..., ModelStages],
) -> Export:
    """Export a model by one route, verified against Keras; gives facts and figures."""
    if request.param == "keras":
        monkeypatch.setattr(network, "write_network", refuse_layer)

    references: list[Any] = []

    def recorded(path: Path, reference: Any, *others: Any) -> Any:
        references.append(reference)
        return verify_and_run(path, reference, *others)

    monkeypatch.setattr(member_module, "verify_and_run", recorded)

    def run(model: Path, **options: Any) -> dict[str, Any]:
        paths = tuple(Path(path) for path in options.pop("images", ()))
        stages = stages_of(model, "model", images=VerificationImages(paths, 64), **options)
        build_member(tmp_path, stages, Target("fp32"))
        figures = json.loads((tmp_path / "figures.json").read_text())
        assert figures["route"]["name"] == request.param
        assert figures["parity"]["against_keras"]
        assert max(at["max_abs_difference"] for at in figures["parity"]["by_batch"].values()) <= _CLOSE
        return {**figures, **figures["facts"], "reference": references[-1]}

    return run


@pytest.fixture
def refusal(export: Export) -> Refusal:
    """Export a model that is refused; gives the message."""

    def run(model: Path, **options: Any) -> str:
        with pytest.raises(BraintumorError) as refused:
            export(model, **options)
        return str(refused.value)

    return run


def refuse_layer(*_: Any, **__: Any) -> Network:
    raise UnsupportedLayerError("any", "Any")


def save(
    folder: Path, layers: Callable[[Any], Any], shape: tuple[int | None, ...] = (24, 24, 1), **options: Any
) -> Path:
    """A small model of what `layers` makes of its input, saved."""
    import keras

    keras.utils.set_random_seed(1)
    image = keras.Input(shape, **options)
    path = folder / "model.keras"
    keras.Model(image, layers(image)).save(path)
    return path


def tail(x: Any, *, units: int = 4, activation: str | None = "softmax") -> Any:
    """A convolution, pooling and a Dense layer."""
    import keras

    x = keras.layers.Conv2D(8, 3, strides=2, activation="relu")(x)
    return keras.layers.Dense(units, activation=activation)(keras.layers.GlobalAveragePooling2D()(x))


def scaled(x: Any) -> Any:
    """Pixels scaled to -1..1."""
    import keras

    return keras.layers.Rescaling(1 / 127.5, offset=-1.0)(x)
