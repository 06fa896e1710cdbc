"""Calibration: reliability bins, expected calibration error, and the temperature that corrects it."""

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
from braintumor.training.data.predictions import Predictions

__all__ = ["Calibration", "Reliability", "calibration", "fit_temperature", "reliability", "tempered"]

_FLOOR = 1e-12


@dataclass(frozen=True, slots=True)
class Calibration:
    """Distance of confidence from accuracy.

    Attributes:
        bins: Images of about the same confidence; empty bins are left out.
        ece: Expected calibration error (Guo et al. 2017, arXiv:1706.04599), 0..1.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float


def calibration(predictions: Predictions) -> Calibration:
    """Count reliability over 15 bins of equal width, as `bt-bench accuracy` does."""
    values = predictions.probabilities, predictions.labels
    return Calibration(reliability_bins(*values), expected_calibration_error(*values))


@dataclass(frozen=True, slots=True)
class Reliability:
    """Calibration without and with a temperature.

    Attributes:
        before: Of the model as trained.
        after: After division of its logits by the temperature.
    """

    before: Calibration
    after: Calibration


def reliability(predictions: Predictions, temperature: float) -> Reliability:
    """Compare calibration without and with a temperature."""
    after = predictions.with_probabilities(tempered(predictions.probabilities, temperature))
    return Reliability(calibration(predictions), calibration(after))


def tempered(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Compute softmax(ln p / T): float64 [n, 4], with probabilities of 0 as 1e-12."""
    floored = np.maximum(probabilities, _FLOOR)
    return vote_calibration.apply_temperature(floored, temperature).astype(np.float64, copy=False)


def fit_temperature(validation: Predictions) -> float:
    """Find the temperature with the lowest cross-entropy on validation images, within 0.05 to 20."""
    optimize = require("scipy.optimize", extra="train", purpose="calibration")

    def loss(log_temperature: float) -> float:
        return cross_entropy(tempered(validation.probabilities, float(np.exp(log_temperature))), validation.labels)

    result = optimize.minimize_scalar(loss, bounds=tuple(np.log(vote_calibration.TEMPERATURES)), method="bounded")
    return float(np.exp(result.x))
