"""Does a probability of 0.9 mean nine out of ten? Reliability, ECE, and the temperature that mends it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.accuracy_scores import cross_entropy
from braintumor.optional import require
from braintumor.training.predictions import Answers

__all__ = ["Calibration", "ReliabilityBin", "calibration", "fit_temperature", "tempered"]

_BINS = 15
_COLDEST, _HOTTEST = 0.05, 20.0
_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Images whose highest probability lies in one interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        count: Images.
        confidence: Mean of their highest probabilities; 0 without images.
        accuracy: Part of them that was decided right; 0 without images.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidence is from accuracy.

    Attributes:
        bins: 15 of equal width.
        ece: Expected calibration error (Guo et al. 2017, arXiv:1706.04599), 0..1.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float


def calibration(answers: Answers) -> Calibration:
    """Reliability over 15 bins of equal width."""
    confidence = answers.probabilities.max(axis=1)
    right = answers.probabilities.argmax(axis=1) == answers.labels
    # A confidence of exactly 1 belongs to the last bin.
    index = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    bins = []
    for number in range(_BINS):
        inside = index == number
        count = int(inside.sum())
        bins.append(
            ReliabilityBin(
                low=number / _BINS,
                high=(number + 1) / _BINS,
                count=count,
                confidence=float(confidence[inside].mean()) if count else 0.0,
                accuracy=float(right[inside].mean()) if count else 0.0,
            )
        )
    ece = sum(found.count * abs(found.accuracy - found.confidence) for found in bins) / len(answers)
    return Calibration(tuple(bins), float(ece))


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Softmax(ln p / T): float64 [n, 4]. T above 1 makes a model less sure; the decision stays."""
    logits = np.log(np.maximum(probabilities, _FLOOR)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def fit_temperature(validation: Answers) -> float:
    """The temperature with the lowest cross-entropy on validation images, within 0.05 to 20."""
    optimize = require("scipy.optimize", extra="train", purpose="calibration")

    def loss(log_temperature: float) -> float:
        return cross_entropy(tempered(validation.probabilities, float(np.exp(log_temperature))), validation.labels)

    found = optimize.minimize_scalar(loss, bounds=(np.log(_COLDEST), np.log(_HOTTEST)), method="bounded")
    return float(np.exp(found.x))
