"""The temperature of a vote, and `vote.json` beside the `.keras` files, bound to their hashes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import IntegrityError, UsageError

__all__ = [
    "TEMPERATURES",
    "VOTE_FILE",
    "VoteCalibration",
    "apply_temperature",
    "parse_vote",
    "read_vote_calibration",
    "vote_calibration_text",
]

TEMPERATURES: Final = (0.05, 20.0)
"""The lowest and the highest temperature of a vote."""

VOTE_FILE: Final = "vote.json"
_SCHEMA: Final = "braintumor.vote-calibration/1"


@dataclass(frozen=True, slots=True)
class VoteCalibration:
    """A temperature, and the vote that it was fitted for.

    Attributes:
        members: SHA-256 of each `.keras` file → its weight in the vote.
        temperature: The divisor of the vote's logarithms.
        validation_images: Number of images that it was fitted on.
        expected_calibration_error: Part of the data → the error before and after, 0..1.
    """

    members: Mapping[str, float]
    temperature: float
    validation_images: int
    expected_calibration_error: Mapping[str, tuple[float, float]]

    def fits(self, sha256s: Sequence[str], weights: Sequence[float]) -> bool:
        """Whether it was fitted for the vote of these files with these weights, whatever their scale."""
        own, others = _shares(self.members), _shares(dict(zip(sha256s, weights, strict=True)))
        return own.keys() == others.keys() and all(abs(own[key] - others[key]) < 1e-9 for key in own)  # noqa: PLR2004


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {key: weight / total for key, weight in weights.items()}


def apply_temperature(vote: NDArray[np.floating[Any]], temperature: float) -> NDArray[np.floating[Any]]:
    """Calibrate votes: softmax(ln p / T), temperature scaling (Guo et al. 2017, arXiv:1706.04599).

    The order of classes stays, but close ones may become equal by rounding: a label is taken from the vote before.

    Args:
        vote: float [batch, classes], rows sum to 1.
        temperature: Above 1 makes the vote less sure, below 1 surer; 1 returns `vote` itself.

    Returns:
        [batch, classes] of the same dtype, each row sums to 1.
    """
    if temperature == 1:
        return vote
    # Over the largest first: a low temperature would underflow every value.
    wide = vote.astype(np.float64)
    powers = (wide / wide.max(axis=-1, keepdims=True)) ** (1 / temperature)
    calibrated: NDArray[np.floating[Any]] = (powers / powers.sum(axis=-1, keepdims=True)).astype(vote.dtype)
    return calibrated


def parse_vote(text: str | None, count: int) -> list[float]:
    """Read the weights of a vote such as "1,1,2", one for each of `count` models; 1 each where there is no text.

    Raises:
        UsageError: Not so many numbers.
    """
    if text is None:
        return [1.0] * count
    try:
        weights = [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(
            f"`vote` {text!r} is not a list of numbers", "give one weight per model, as in `vote='1,1,2'`"
        ) from None
    if len(weights) != count:
        raise UsageError(
            f"`vote` {text!r} has {len(weights)} weights for {count} models", "give one weight per model"
        )
    return weights


def vote_calibration_text(calibration: VoteCalibration) -> str:
    """The text of a `vote.json`, as `read_vote_calibration` reads it."""
    return json.dumps({"schema": _SCHEMA, **asdict(calibration)}, indent=1) + "\n"


def read_vote_calibration(folder: Path) -> VoteCalibration | None:
    """The calibration beside models; None where there is none.

    Raises:
        IntegrityError: The file is there and is something else.
    """
    path = folder / VOTE_FILE
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return _parse(content)
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise IntegrityError(
            f"{path} is not a calibration of a vote ({type(error).__name__}: {error})",
            "remove it, or write it again with bt-train calibrate",
        ) from error


def _parse(content: Mapping[str, Any]) -> VoteCalibration:
    if content["schema"] != _SCHEMA:
        raise ValueError(f"schema {content['schema']!r}, known is {_SCHEMA!r}")
    errors = content["expected_calibration_error"].items()
    return VoteCalibration(
        {str(sha256): float(weight) for sha256, weight in content["members"].items()},
        float(content["temperature"]),
        int(content["validation_images"]),
        {str(part): (float(pair[0]), float(pair[1])) for part, pair in errors},
    )
