"""Plain Keras, as in the study's notebook: load the `.keras` files, `predict` each, average."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.latency.runners.base import RunnerInfo
from braintumor.bench.latency.runners.plain import PlainRunner
from braintumor.models.build import CAFFE_MEAN_BGR, IMAGENET_MEAN, IMAGENET_STD
from braintumor.models.labels import class_permutation
from braintumor.models.outputs import class_probabilities
from braintumor.optional import require
from braintumor.runtime.bundle.load import Member, load_bundle
from braintumor.runtime.engines.base import EngineInfo

__all__ = ["KerasRunner"]


class KerasRunner(PlainRunner):
    """The models that a bundle was exported from, run by Keras."""

    def __init__(
        self, bundle: str, *, models: Sequence[str], threads: int | None, public_key: str | None = None
    ) -> None:
        """Load them.

        Args:
            bundle: Its folder.
            models: The `.keras` file of each member.
            threads: For TensorFlow; None leaves it to TensorFlow.
            public_key: As `load_bundle` takes it.
        """
        super().__init__(load_bundle(bundle, public_key=public_key))
        keras = require("keras", extra="peers", purpose="the baseline keras")
        tensorflow = require("tensorflow", extra="peers", purpose="the baseline keras")
        if threads is not None:
            tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
        self._models = [keras.saving.load_model(path, compile=False) for path in models]
        devices = [device.device_type for device in tensorflow.config.list_logical_devices()]
        device = "cuda:0" if "GPU" in devices else "cpu"
        version = f"keras {keras.__version__}, tensorflow {tensorflow.__version__}"
        self._info = RunnerInfo(
            name="keras",
            kind="peer",
            sha256=None,
            precision="fp32",
            engine=EngineInfo("keras", f"TensorFlow {'GPU' if device != 'cpu' else 'CPU'}", device, version),
            members=tuple(member.name for member in self.bundle.members),
            note="load the .keras files, predict each, average",
        )

    @property
    def info(self) -> RunnerInfo:
        """Name, engine and members."""
        return self._info

    def infer(self, index: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one model."""
        member = self.bundle.members[index]
        pixels = _pixels(member, images)
        outputs = np.asarray(self._models[index].predict(pixels, batch_size=len(images), verbose=0), np.float32)
        probabilities = class_probabilities(outputs, logits=member.details["softmax_added"])
        order = class_permutation(member.details["source"]["classes"], self.bundle.classes)
        result: NDArray[np.float32] = probabilities[:, order]
        return result


def _pixels(member: Member, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """float32 [batch, H, W, channels], scaled for a model that does not scale by itself."""
    source = member.details["source"]
    pixels: Any = np.repeat(images.astype(np.float32)[..., np.newaxis], source["channels"], axis=-1)
    if source["preprocess"] == "unit":
        pixels = pixels / 255
    elif source["preprocess"] == "tf":
        pixels = pixels / 127.5 - 1
    elif source["preprocess"] == "torch":
        pixels = (pixels / 255 - IMAGENET_MEAN) / IMAGENET_STD
    elif source["preprocess"] == "caffe":
        pixels = pixels - CAFFE_MEAN_BGR
    scaled: NDArray[np.float32] = np.asarray(pixels, np.float32)
    return scaled
