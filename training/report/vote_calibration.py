"""Fitting the temperature of a vote on the validation images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braintumor.bench.data.manifest import SPLITS, Split
from braintumor.files import atomic_text, sha256_of
from braintumor.models.vote_calibration import VOTE_FILE, VoteCalibration, vote_calibration_text
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.predictions import Answers
from braintumor.training.keras_io import answers_of, crop_of, load_keras_file
from braintumor.training.report.calibration import calibration, fit_temperature, tempered

__all__ = ["CalibratedVote", "calibrate_vote"]


@dataclass(frozen=True, slots=True, eq=False)
class CalibratedVote:
    """A fitted vote.

    Attributes:
        calibration: What was written.
        path: Where.
        answers: The vote's answers before, by part of the data.
    """

    calibration: VoteCalibration
    path: Path
    answers: Mapping[Split, Answers]


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
        known: dict[Split, Dataset] = {split: parts[split] for split in SPLITS if split != "train"}
        for split, found in answers_of(load_keras_file(path), known, crop_of(path)).items():
            share = found.astype(np.float64) * (weight / sum(weights))
            votes[split] = votes[split] + share if split in votes else share
    answers = {split: Answers(parts[split].files, parts[split].labels, vote) for split, vote in votes.items()}
    temperature = round(fit_temperature(answers["val"]), 4)
    errors = {str(split): _errors(found, temperature) for split, found in answers.items()}
    members = {sha256_of(path): weight for path, weight in zip(models, weights, strict=True)}
    fitted = VoteCalibration(members, temperature, len(answers["val"]), errors)
    target = models[0].parent / VOTE_FILE
    with atomic_text(target) as stream:
        stream.write(vote_calibration_text(fitted))
    return CalibratedVote(fitted, target, answers)


def _errors(answers: Answers, temperature: float) -> tuple[float, float]:
    """Expected calibration error before and after."""
    after = answers.with_probabilities(tempered(answers.probabilities, temperature))
    return round(calibration(answers).ece, 6), round(calibration(after).ece, 6)
