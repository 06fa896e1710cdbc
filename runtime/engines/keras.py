"""The reference: the original `.keras` file of a member, run by Keras on the CPU in float32.

Not an engine of the registry: it needs the file that a member was exported from, which no bundle carries, and
TensorFlow, which `bt-infer` never loads. `bt-bench accuracy` judges bundles by it.
"""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import IntegrityError, ModelError
from braintumor.files import sha256_of
from braintumor.models.labels import class_permutation
from braintumor.models.outputs import class_probabilities
from braintumor.models.scaling import scaled_outside
from braintumor.optional import require
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.base import EngineInfo
from braintumor.runtime.engines.closing import Closing

__all__ = ["KerasEngine"]

_DEVICE: Final = "cpu:0"
_FULL_PRECISION: Final = "float32"


class KerasEngine(Closing):
    """The original of a member, with the scaling and class order of its export."""

    name = "keras"

    def __init__(self, member: Member, classes: Sequence[str], model: Path) -> None:
        """Load it.

        Args:
            member: Whose original it is.
            classes: The bundle's class order.
            model: The `.keras` file.

        Raises:
            UnavailableError: Keras, or the library that it computes with, is not installed.
            IntegrityError: The file is not the one that the member was exported from.
            ModelError: Keras does not load it.
        """
        source = member.details["source"]
        if sha256_of(model) != source["sha256"]:
            raise IntegrityError(
                f"{model} is not the file that {member.name} was exported from (SHA-256 {source['sha256'][:16]}…)",
                "name the folder of that file with `models`, or export this one: "
                f"bt-export {shlex.quote(str(model))}",
            )
        purpose = "comparing with Keras (a bundle can be the `reference`, too)"
        # Keras without TensorFlow ends in a traceback of its own: TensorFlow is imported first.
        tensorflow = require("tensorflow", extra="export", purpose=purpose)
        self._keras: Any = require("keras", extra="export", purpose=purpose)
        self._model: Any = _load(self._keras, model)
        self._channels, self._preprocess = int(source["channels"]), str(source["preprocess"])
        self._logits = bool(member.details["softmax_added"])
        self._order = list(class_permutation(source["classes"], classes))
        version = f"keras {self._keras.__version__}, {self._keras.backend.backend()}"
        if self._keras.backend.backend() == "tensorflow":
            version += f" {tensorflow.__version__}"
        self._info = EngineInfo(self.name, "Keras predict", "cpu", version)

    @property
    def info(self) -> EngineInfo:
        """The library and device that it really runs on."""
        return self._info

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify uint8 [batch, height, width] as float32 [batch, classes]: what a Keras user gets."""
        pixels: Any = np.repeat(images[..., np.newaxis], self._channels, axis=-1).astype(np.float32)
        pixels = scaled_outside(self._keras, pixels, self._preprocess)
        pixels = pixels.astype(self._model.inputs[0].dtype)
        with self._keras.device(_DEVICE):
            outputs = self._model.predict(pixels, batch_size=len(pixels), verbose=0)
        # A model may name its one output: {"diagnosis": …}.
        (answers,) = self._keras.tree.flatten(outputs)
        probabilities = class_probabilities(np.asarray(answers, np.float32), logits=self._logits)
        return np.ascontiguousarray(probabilities[:, self._order])

    def close(self) -> None:
        """Free the model."""
        self._model = None


def _load(keras: Any, path: Path) -> Any:
    """The model, computing in float32 whatever policy it was saved with, on the CPU."""
    try:
        with keras.device(_DEVICE):
            model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        # Keras raises whatever its layers raise.
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{path} does not load in Keras {keras.__version__} ({reason})") from error
    for layer in _layers(model):
        if layer.dtype_policy.name.startswith("mixed_"):
            layer.dtype_policy = _FULL_PRECISION
    # XLA compiles anew for every batch size; without it TensorFlow is as fast and starts at once.
    model.jit_compile = False
    return model


def _layers(model: Any) -> Iterator[Any]:
    """All layers, models within models unfolded."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        elif hasattr(layer, "dtype_policy"):
            yield layer
