"""Does a probability of 0.9 mean nine out of ten? Reliability, ECE, and the temperature that mends it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.metrics.classification import (
    ReliabilityBin,
    cross_entropy,
    expected_calibration_error,
    reliability_bins,
)
from braintumor.models import vote_calibration
from braintumor.optional import require
from braintumor.training.data.predictions import Answers

__all__ = ["Calibration", "Reliability", "calibration", "fit_temperature", "reliability", "tempered"]

_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far confidence is from accuracy.

    Attributes:
        bins: Images of about the same confidence; empty bins are left out.
        ece: Expected calibration error (Guo et al. 2017, arXiv:1706.04599), 0..1.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float


def calibration(answers: Answers) -> Calibration:
    """Reliability over 15 bins of equal width, as `bt-bench accuracy` counts it."""
    found = answers.probabilities, answers.labels
    return Calibration(reliability_bins(*found), expected_calibration_error(*found))


@dataclass(frozen=True, slots=True)
class Reliability:
    """What a temperature does.

    Attributes:
        before: As the model comes.
        after: After division of its logits by the temperature.
    """

    before: Calibration
    after: Calibration


def reliability(answers: Answers, temperature: float) -> Reliability:
    """Calibration without and with a temperature."""
    mended = answers.with_probabilities(tempered(answers.probabilities, temperature))
    return Reliability(calibration(answers), calibration(mended))


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Softmax(ln p / T): float64 [n, 4], with probabilities of 0 as 1e-12."""
    floored = np.maximum(probabilities, _FLOOR)
    return vote_calibration.apply_temperature(floored, temperature).astype(np.float64, copy=False)


def fit_temperature(validation: Answers) -> float:
    """The temperature with the lowest cross-entropy on validation images, within 0.05 to 20."""
    optimize = require("scipy.optimize", extra="train", purpose="calibration")

    def loss(log_temperature: float) -> float:
        return cross_entropy(tempered(validation.probabilities, float(np.exp(log_temperature))), validation.labels)

    found = optimize.minimize_scalar(loss, bounds=tuple(np.log(vote_calibration.TEMPERATURES)), method="bounded")
    return float(np.exp(found.x))
