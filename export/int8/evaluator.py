"""What a member answers when it is quantised in one way or another; every answer is kept in the cache.

So a search that was interrupted goes on where it was, and one that is run again asks nothing.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray

from braintumor.cache import Cache, content_key
from braintumor.export.graph.groups import Group
from braintumor.export.graph.qdq import quantized
from braintumor.export.graph.quantization_plan import rounded_thresholds
from braintumor.export.graph.session import answers
from braintumor.export.int8.calibrate import activation_thresholds
from braintumor.export.int8.quality import Answers

__all__ = ["Evaluator", "Step", "Subject"]

_ANSWERS, _THRESHOLDS = Cache("int8-answers"), Cache("int8-thresholds")
# Moves when the same question would be answered otherwise.
_RECIPE: Final = 2

Step = Callable[[str], None]
"""Told what is being evaluated."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A member whose plan is searched.

    Attributes:
        name: Of the member.
        source_sha256: Of its `.keras` file.
        weight: In the vote.
        model: Its framed FP32 model, a file.
        model_sha256: Of that file.
        calibration: uint8 [n, H, W], training images.
        validation: uint8 [m, H, W].
    """

    name: str
    source_sha256: str
    weight: float
    model: Path
    model_sha256: str
    calibration: NDArray[np.uint8]
    validation: NDArray[np.uint8]


class Evaluator:
    """Asks one member about its validation images.

    Attributes:
        subject: The member.
        model: Its FP32 model.
    """

    def __init__(self, subject: Subject, step: Step) -> None:
        """Load the member.

        Args:
            subject: The member.
            step: Told before each evaluation.
        """
        self.subject = subject
        self.model = onnx.load(str(subject.model))
        self._step = step

    def thresholds(self) -> Mapping[str, Mapping[str, float]]:
        """Method → activation tensor → threshold, measured on the calibration images."""
        self._step(f"{self.subject.name}: ranges of activations on {len(self.subject.calibration)} training images")

        def build(folder: Path) -> None:
            found = activation_thresholds(self.model, self.subject.calibration)
            names = sorted(next(iter(found.values())))
            table = np.array([[found[method][name] for name in names] for method in found])
            np.savez(folder / "thresholds.npz", methods=list(found), names=names, thresholds=table)

        asked = {"model": self.subject.model_sha256, "calibration": _digest(self.subject.calibration)}
        with np.load(_THRESHOLDS.build(_key(asked), build) / "thresholds.npz") as stored:
            names = [str(name) for name in stored["names"]]
            return {
                str(method): rounded_thresholds(dict(zip(names, row.tolist(), strict=True)))
                for method, row in zip(stored["methods"], stored["thresholds"], strict=True)
            }

    def fp32(self) -> Answers:
        """Of the original to all images."""
        self._step(f"{self.subject.name}: FP32")
        return self._answers({"fp32": True}, self.subject.validation, lambda: self.model)

    def int8(
        self, thresholds: Mapping[str, float], in_float: Iterable[Group], which: NDArray[np.intp], what: str
    ) -> Answers:
        """With some groups in float, to some of the images.

        Args:
            thresholds: Of the activations.
            in_float: What stays float.
            which: int [k], indices of the images.
            what: How the step is called.
        """
        self._step(f"{self.subject.name}: {what}, {len(which)} images")
        nodes = sorted(name for group in in_float for name in group.nodes)
        made_of = {"thresholds": sorted(thresholds.items()), "float": nodes}
        images = self.subject.validation[which]
        return self._answers(made_of, images, lambda: quantized(self.model, thresholds, nodes))

    def _answers(
        self, made_of: Mapping[str, object], images: NDArray[np.uint8], make: Callable[[], onnx.ModelProto]
    ) -> Answers:
        def build(folder: Path) -> None:
            np.save(folder / "answers.npy", answers(make().SerializeToString(), images))

        asked = {"model": self.subject.model_sha256, "images": _digest(images), **made_of}
        found: Answers = np.load(_ANSWERS.build(_key(asked), build) / "answers.npy")
        return found


def _key(asked: Mapping[str, object]) -> str:
    return content_key({"recipe": _RECIPE, **asked})


def _digest(images: NDArray[np.uint8]) -> str:
    return hashlib.sha256(images.tobytes()).hexdigest()
