"""Scaling of the pixels before a model."""

from pathlib import Path

from braintumor.errors import ModelError
from braintumor.export.from_keras import KerasFacts

__all__ = ["resolve_preprocess"]


def resolve_preprocess(facts: KerasFacts, path: Path, requested: str) -> str:
    """Decide how pixels are scaled before a model: "none", "unit", "tf", "torch" or "caffe".

    Args:
        facts: About the model.
        path: Its file, for messages.
        requested: One of them, or "auto": the model must scale inside.

    Raises:
        ModelError: "auto", and nothing in the model scales; or a scaling that its input cannot take.
    """
    if requested in {"torch", "caffe"} and facts.channels == 1:
        raise ModelError(
            f"`preprocess='{requested}'` scales three colour channels differently; this model takes one grey channel",
            "use `preprocess='unit'`, tf or none, or save the model with its scaling inside",
        )
    if requested not in {"auto", "none"} and "float" not in facts.input_dtype:
        raise ModelError(
            f"{path} takes {facts.input_dtype} pixels, which `preprocess='{requested}'` would round away",
            "leave `preprocess` out",
        )
    if requested != "auto":
        return requested
    if facts.scaled_by is not None:
        return "none"
    raise ModelError(
        f"{path} has no layer that scales its input, so its pixels were scaled outside",
        "say how with `preprocess`: unit (x/255, to 0..1), tf (to -1..1), torch (ImageNet's mean and deviation), "
        "caffe (ImageNet's mean in grey levels, as for VGG16 and ResNet50) or none (0..255). If accuracy is "
        "far too low afterwards (see bt-bench accuracy), the scaling is wrong: try another",
    )
