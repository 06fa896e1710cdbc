"""Fit the temperature of a vote on the validation images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braintumor.bench.data.manifest import SPLITS, Split
from braintumor.files import atomic_text, sha256_of
from braintumor.models.vote_calibration import VOTE_FILE, VoteCalibration, vote_calibration_text
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.predictions import Predictions
from braintumor.training.keras_io import crop_of, load_keras_file, predict_parts
from braintumor.training.report.calibration import calibration, fit_temperature, tempered

__all__ = ["CalibratedVote", "calibrate_vote"]


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedVote:
    """A fitted vote.

    Attributes:
        calibration: As written.
        path: Of its file.
        predictions: Of the vote without it, by part of the data.
    """

    calibration: VoteCalibration
    path: Path
    predictions: Mapping[Split, Predictions]


def calibrate_vote(
    models: Sequence[Path], weights: Sequence[float], parts: Mapping[Split, Dataset]
) -> CalibratedVote:
    """Fit the temperature of the soft vote of some models, and write it beside the first of them.

    Args:
        models: `.keras` files.
        weights: One a model.
        parts: The data set; val fits, test is only reported.

    Raises:
        OutputError: The file cannot be written.
    """
    votes: dict[Split, Any] = {}
    for path, weight in zip(models, weights, strict=True):
        held_out: dict[Split, Dataset] = {split: parts[split] for split in SPLITS if split != "train"}
        for split, probabilities in predict_parts(load_keras_file(path), held_out, crop_of(path)).items():
            share = probabilities.astype(np.float64) * (weight / sum(weights))
            votes[split] = votes[split] + share if split in votes else share
    predictions = {split: Predictions(parts[split].files, parts[split].labels, vote) for split, vote in votes.items()}
    temperature = round(fit_temperature(predictions["val"]), 4)
    errors = {str(split): _errors(part, temperature) for split, part in predictions.items()}
    members = {sha256_of(path): weight for path, weight in zip(models, weights, strict=True)}
    fitted = VoteCalibration(members, temperature, len(predictions["val"]), errors)
    target = models[0].parent / VOTE_FILE
    with atomic_text(target) as stream:
        stream.write(vote_calibration_text(fitted))
    return CalibratedVote(fitted, target, predictions)


def _errors(predictions: Predictions, temperature: float) -> tuple[float, float]:
    """Compute the expected calibration error before and after."""
    after = predictions.with_probabilities(tempered(predictions.probabilities, temperature))
    return round(calibration(predictions).ece, 6), round(calibration(after).ece, 6)
