"""Checks of what an engine answers: probabilities for every image, at every batch, and the answers of the probe."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.bundle.probe import Probe, probe_mismatch, probe_of

__all__ = ["SLACK", "ProbeMismatchError", "check_answers", "check_probe"]

SLACK: Final[Mapping[str, float]] = MappingProxyType({"fp32": 2e-3, "fp16": 1e-2, "bf16": 2e-2, "int8": 2e-2})
"""By how much rounding may take a probability out of 0..1, and the sum of a row from 1, by precision.

A softmax that is computed in float16 rounds each probability by up to 2^-11 of it, in bfloat16 by 2^-9: sums are off
by 0.0005 and 0.002 at most, 0.00024 measured (DenseNet121, FP16, ONNX Runtime). An export takes outputs of a float32
model that sum to 1 ± 0.001. INT8 members may have either half precision around them.
"""

_IMAGES: Final = 2
_EXPORT_AGAIN: Final = "export the bundle again with bt-export, or try another `engine`"


class ProbeMismatchError(Exception):
    """An engine gives probabilities, but not those of a member's probe.

    Nothing that answers so is kept. Engines that a user named go on all the same, and say so.
    """


def check_answers(member: Member, answers: NDArray[np.float32], batch: int) -> None:
    """Refuse what is not a softmax for every image.

    Rows with values that are not finite pass: they are errors of single images, which `Ensemble` tells.

    Args:
        member: That answered.
        answers: Of its engine.
        batch: Images that it was given.

    Raises:
        IntegrityError: Not [batch, classes], or a row is outside of 0..1 or does not sum to 1.
    """
    if answers.shape != (batch, member.class_count):
        raise IntegrityError(
            f"{member.name} gives {list(answers.shape)} values for {batch} images of {member.class_count} classes",
            _EXPORT_AGAIN,
        )
    slack = SLACK[member.precision]
    sums = answers.sum(axis=1)
    # The usual case, in three passes: NaN compares false, and takes the long way.
    if answers.min() >= -slack and answers.max() <= 1 + slack and np.abs(sums - 1).max() <= slack:
        return
    rows = answers[np.isfinite(answers).all(axis=1)]
    if not rows.size:
        return
    low, high = float(rows.min()), float(rows.max())
    if low < -slack or high > 1 + slack:
        value = low if low < -slack else high
        raise IntegrityError(f"{member.name} gives {value:.4g} as a probability; allowed is 0 to 1", _EXPORT_AGAIN)
    sums = rows.sum(axis=1)
    worst = float(sums[np.abs(sums - 1).argmax()])
    if not abs(worst - 1) <= slack:
        raise IntegrityError(
            f"{member.name} gives probabilities that sum to {worst:.4g}; allowed is 1 ± {slack:g}",
            _EXPORT_AGAIN,
        )


def check_probe(
    member: Member,
    engine: str,
    infer: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    probe: Probe | None = None,
) -> None:
    """Refuse a member on an engine that does not give the answers of the member's probe; one without passes.

    Args:
        member: The one that was loaded.
        engine: Its name.
        infer: Gives its answers: uint8 [images, height, width] to float32 [images, classes].
        probe: What to ask; None for the first two images of the member's probe.

    Raises:
        IntegrityError: The answers are not probabilities.
        ProbeMismatchError: They are others.
    """
    if probe is None:
        if (whole := probe_of(member)) is None:
            return
        # A wrong graph is wrong on any image; all eight take seconds on a CPU.
        probe = Probe(whole.images[:_IMAGES], whole.probabilities[:_IMAGES])
    answers = infer(probe.images)
    check_answers(member, answers, len(probe.images))
    if mismatch := probe_mismatch(answers, probe, member.precision):
        raise ProbeMismatchError(f"{engine} does not answer as the bundle says: {member.name}: {mismatch}")
