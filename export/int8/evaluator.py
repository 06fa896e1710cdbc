"""Answers of a member that is quantised in one way or another; every answer is kept in the cache.

So a search that was interrupted goes on where it was, and one that is run again computes nothing.
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
from braintumor.export.graph.qdq import insert_qdq
from braintumor.export.graph.quantization_plan import rounded_thresholds
from braintumor.export.graph.session import answers
from braintumor.export.int8.calibrate import activation_thresholds
from braintumor.export.int8.quality import Answers

__all__ = ["Evaluator", "StepCallback", "Subject"]

_ANSWERS, _THRESHOLDS = Cache("int8-answers"), Cache("int8-thresholds")
# Moves when the same parts would give other answers.
_RECIPE: Final = 2

StepCallback = Callable[[str], None]
"""Gets a description of what is done next."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A member whose plan is searched.

    Attributes:
        name: Of the member.
        source_sha256: Of its `.keras` file.
        weight: In the vote.
        model: Its exported FP32 graph, a file.
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
    """Answers of one member to its calibration and validation images.

    Attributes:
        subject: The member.
        model: Its FP32 model.
    """

    def __init__(self, subject: Subject, step: StepCallback) -> None:
        """Load the member.

        Args:
            subject: The member.
            step: Called before each evaluation.
        """
        self.subject = subject
        self.model = onnx.load(str(subject.model))
        self._step = step

    def thresholds(self) -> Mapping[str, Mapping[str, float]]:
        """Method → activation tensor → threshold, measured on the calibration images."""
        self._step(f"{self.subject.name}: ranges of activations on {len(self.subject.calibration)} training images")

        def build(folder: Path) -> None:
            by_method = activation_thresholds(self.model, self.subject.calibration)
            names = sorted(next(iter(by_method.values())))
            table = np.array([[by_method[method][name] for name in names] for method in by_method])
            np.savez(folder / "thresholds.npz", methods=list(by_method), names=names, thresholds=table)

        parts = {"model": self.subject.model_sha256, "calibration": _digest(self.subject.calibration)}
        with np.load(_THRESHOLDS.build(_key(parts), build) / "thresholds.npz") as stored:
            names = [str(name) for name in stored["names"]]
            return {
                str(method): rounded_thresholds(dict(zip(names, row.tolist(), strict=True)))
                for method, row in zip(stored["methods"], stored["thresholds"], strict=True)
            }

    def fp32(self) -> Answers:
        """Answers of the FP32 original to all images."""
        self._step(f"{self.subject.name}: FP32")
        return self._answers({"fp32": True}, self.subject.validation, lambda: self.model)

    def int8(
        self, thresholds: Mapping[str, float], in_float: Iterable[Group], indices: NDArray[np.intp], description: str
    ) -> Answers:
        """Answers with some groups in float, to some of the images.

        Args:
            thresholds: Of the activations.
            in_float: Groups that stay float.
            indices: int [k], of the images.
            description: Of the step.
        """
        self._step(f"{self.subject.name}: {description}, {len(indices)} images")
        nodes = sorted(name for group in in_float for name in group.nodes)
        quantisation = {"thresholds": sorted(thresholds.items()), "float": nodes}
        images = self.subject.validation[indices]
        return self._answers(quantisation, images, lambda: insert_qdq(self.model, thresholds, nodes))

    def _answers(
        self, quantisation: Mapping[str, object], images: NDArray[np.uint8], make: Callable[[], onnx.ModelProto]
    ) -> Answers:
        def build(folder: Path) -> None:
            np.save(folder / "answers.npy", answers(make().SerializeToString(), images))

        parts = {"model": self.subject.model_sha256, "images": _digest(images), **quantisation}
        stored: Answers = np.load(_ANSWERS.build(_key(parts), build) / "answers.npy")
        return stored


def _key(parts: Mapping[str, object]) -> str:
    return content_key({"recipe": _RECIPE, **parts})


def _digest(images: NDArray[np.uint8]) -> str:
    return hashlib.sha256(images.tobytes()).hexdigest()
