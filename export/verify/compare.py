"""Verification: an export is accepted only if it answers what its reference answers: Keras, or its own FP32 graph."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.data.recorded import PHANTOMS
from braintumor.bench.metrics.parity import Parity, parity
from braintumor.errors import ParityError
from braintumor.export.graph.precision import Precision
from braintumor.export.graph.session import ENGINE, run, session
from braintumor.export.verify.half_range import HALF_MAX, largest_half_value

__all__ = [
    "CLEAR_LEADS",
    "IMAGES_BY_BATCH",
    "MIN_IMAGES",
    "TOLERANCES",
    "ReferenceAnswers",
    "Verification",
    "verify",
    "verify_and_run",
]

MIN_IMAGES: Final = PHANTOMS

IMAGES_BY_BATCH: Final[Mapping[int, int | None]] = MappingProxyType({1: 8, 7: 14, 32: None})
"""Batch size → how many of the images are run at it; None for all.

One image, a size that divides nothing, and a full batch: some faults show at one of them only. Such a fault depends
on the batch, not on the image: a few images show it, and all of them would take twice as long.
"""

Result = TypeVar("Result")

_FULL_BATCH: Final = 32
_HALF_RANGE_IMAGES: Final = 16
# What comes so near to the end of half precision on a few images is measured on all of them.
_NEAR_HALF_MAX: Final = 0.25 * HALF_MAX

TOLERANCES: Final[Mapping[Precision, float]] = MappingProxyType(
    {"fp32": 1e-5, "fp16": 5e-3, "bf16": 3e-2, "int8": 0.25}
)
"""The largest |Δp| that is accepted at each precision.

At int8 it only catches a broken graph: whether int8 keeps the decisions was asked of real validation images when
its plan was searched, and the plan's figures are in the bundle.
"""

CLEAR_LEADS: Final[Mapping[Precision, float]] = MappingProxyType(
    {"fp32": 0.0, "fp16": 0.0, "bf16": 6e-2, "int8": 0.5}
)
"""An image whose winner leads by more than this in the reference must keep its label (0: every image).

Two answers within the tolerance cannot swap a lead of twice the tolerance.
"""


@dataclass(frozen=True, slots=True, eq=False)
class ReferenceAnswers:
    """The images of a verification, and what the reference answers to them.

    Attributes:
        images: uint8 [n, height, width], n at least `MIN_IMAGES`.
        probabilities: float32 [n, classes], the reference's, in the order of the export's outputs.
        kind: "real" or "phantoms".
        answered_by: Such as "Keras 3.15.1, TensorFlow 2.21.0"; None where the export's own FP32 graph answered.
        missing: Why Keras did not answer; "" where it did.
    """

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    kind: str
    answered_by: str | None
    missing: str = ""

    @property
    def reference(self) -> str:
        """The reference, in words."""
        return self.answered_by or "its own FP32 graph"


@dataclass(frozen=True, slots=True)
class Verification:
    """The figures by which an export was accepted.

    Attributes:
        images: "real" or "phantoms".
        reference: The reference, in words.
        against_keras: Keras answered, now or when the model was shipped.
        missing: Why it did not; "" where it did.
        tolerance: The largest |Δp| that was allowed.
        by_batch: Batch size → agreement with the reference.
        max_abs_batch_difference: max |Δp| between a full batch and any other size for the same image.
        largest_half_value: max |value| of the tensors in half precision, at most 65504; None without any. Up to a
            quarter of that it is measured on some of the images, beyond on all.
    """

    images: str
    reference: str
    against_keras: bool
    missing: str
    tolerance: float
    by_batch: Mapping[int, Parity]
    max_abs_batch_difference: float
    largest_half_value: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for `bundle.json`."""
        return {
            "images": self.images,
            "reference": self.reference,
            "against_keras": self.against_keras,
            "missing": self.missing,
            "engine": ENGINE,
            "tolerance": self.tolerance,
            "by_batch": {str(size): asdict(figures) for size, figures in self.by_batch.items()},
            "max_abs_batch_difference": self.max_abs_batch_difference,
            "largest_half_value": self.largest_half_value,
        }


def verify(path: Path, reference: ReferenceAnswers, precision: Precision) -> Verification:
    """Run an exported model on the images at every batch size, and compare with its reference.

    Args:
        path: The ONNX file.
        reference: The images, and what the reference answers to them.
        precision: Of the file; decides the tolerance.

    Raises:
        ParityError: It does not run, overflows in half precision, is too far from the reference, gives another label
            or a value that is not finite, or answers otherwise at another batch size.
    """
    return verify_and_run(path, reference, precision, lambda _: None)[0]


def verify_and_run(
    path: Path, reference: ReferenceAnswers, precision: Precision, task: Callable[[Any], Result]
) -> tuple[Verification, Result]:
    """As `verify`, and use the same ONNX Runtime session for a further task: opening one takes a while.

    Args:
        path: The ONNX file.
        reference: The images, and what the reference answers to them.
        precision: Of the file; decides the tolerance.
        task: Gets the session, as `braintumor.export.graph.session.session` gives it, before it is closed.

    Returns:
        The figures, and the result of the task.

    Raises:
        ParityError: As `verify`.
    """
    indices = {size: _spread(len(reference.images), count) for size, count in IMAGES_BY_BATCH.items()}
    with _running(path):
        opened = session(path)
        answers = {size: run(opened, reference.images[chosen], size) for size, chosen in indices.items()}
        result = task(opened)
    # The next session needs the memory.
    del opened
    verification = Verification(
        images=reference.kind,
        reference=reference.reference,
        against_keras=reference.answered_by is not None,
        missing=reference.missing,
        tolerance=TOLERANCES[precision],
        by_batch={
            size: _agreement(answers[size], reference.probabilities[chosen], precision)
            for size, chosen in indices.items()
        },
        # NumPy's max, which keeps a NaN.
        max_abs_batch_difference=float(
            np.max([np.abs(answers[size] - answers[_FULL_BATCH][chosen]).max() for size, chosen in indices.items()])
        ),
        largest_half_value=_half_value(path, reference.images) if precision == "fp16" else None,
    )
    _require(verification, path, precision)
    return verification, result


def _agreement(answers: NDArray[np.float32], reference: NDArray[np.float32], precision: Precision) -> Parity:
    """Parity in which a flip counts only where Keras's winner has a clear lead."""
    figures = parity(answers, reference)
    second, first = np.partition(reference, -2, axis=1)[:, -2:].T
    clear = first - second > CLEAR_LEADS[precision]
    flips = int((answers.argmax(axis=1) != reference.argmax(axis=1))[clear].sum())
    return figures if not CLEAR_LEADS[precision] else replace(figures, flips=flips)


def _spread(available: int, count: int | None) -> NDArray[np.intp]:
    """Indices of so many images, evenly spread: neighbours in a folder are often of one class."""
    return np.arange(available) if count is None else np.arange(count) * available // count


@contextlib.contextmanager
def _running(path: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # ONNX Runtime's own exceptions share no public base class but this one.
        reason = " ".join(str(error).split())[:300]
        raise ParityError(
            f"{path.name} does not run in {ENGINE} at the batch sizes "
            f"{', '.join(map(str, IMAGES_BY_BATCH))} ({reason})",
            "report it with the .keras file",
        ) from error


def _half_value(path: Path, images: NDArray[np.uint8]) -> float:
    name, value = largest_half_value(path, images[_spread(len(images), _HALF_RANGE_IMAGES)])
    if _NEAR_HALF_MAX < value <= HALF_MAX:
        name, value = largest_half_value(path, images)
    # A NaN compares false, and so fails.
    if not value <= HALF_MAX:
        raise ParityError(
            f"{path.name} at fp16 overflows: {name} reaches {value:.3g}; half precision ends at {HALF_MAX:g}",
            "try `precision='fp32'`",
        )
    return value


def _require(verification: Verification, path: Path, precision: Precision) -> None:
    def within(difference: float) -> bool:
        # A NaN compares false, and so fails.
        return difference <= verification.tolerance

    accepted = within(verification.max_abs_batch_difference) and all(
        within(figures.max_abs_difference) and figures.flips == 0 for figures in verification.by_batch.values()
    )
    if accepted:
        return
    by_batch = "; ".join(
        f"batch {size}: max |Δp| {figures.max_abs_difference:.3g}, {figures.flips} of {figures.images} labels differ"
        for size, figures in verification.by_batch.items()
    )
    advice = "try `precision='fp32'`" if precision != "fp32" else "report it with the .keras file"
    raise ParityError(
        f"{path.name} at {precision} does not answer what {verification.reference} answers on "
        f"{'phantoms' if verification.images == 'phantoms' else 'images'} ({by_batch}; "
        f"between batch sizes {verification.max_abs_batch_difference:.3g}); max |Δp| must be <= "
        f"{verification.tolerance:g}, and no label may differ",
        advice,
    )
