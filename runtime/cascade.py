"""A cascade: members that are sure answer for the whole vote, at a risk that was bounded on validation images.

Members run one after the other. As soon as the vote of those that ran gives a class at least the threshold, its
label stands. It may differ from the label of the full vote: the threshold is chosen so that the share of labels that
do is below a stated risk with a stated confidence (`braintumor.export.cascade`). As with early exit, a label stands
as well when the other members cannot change it any more.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import IntegrityError
from braintumor.runtime.early_exit import UNDECIDED, leaders

__all__ = ["CASCADE", "CASCADES_FILE", "Cascade", "members_sha256", "parse_cascade", "settled_labels"]

CASCADE: Final = "cascade"
"""The field of `bundle.json`."""

CASCADES_FILE: Final = "cascades.json"
"""Beside the models: cascades for exports that have no validation images, see `braintumor.export.cascade_plan`."""

_NUMBERS: Final = ("threshold", "risk", "confidence", "members_run_mean")
_COUNTS: Final = ("images", "labels_differing")
_HASHES: Final = ("images_sha256", "members_sha256")


@dataclass(frozen=True, slots=True)
class Cascade:
    """When some members may answer for all, and how that was found.

    Attributes:
        order: Names of the members, in the order in which they run.
        threshold: Probability of a class from which on the members that ran answer for all, above 0, at most 1.
        risk: Share of labels that may differ from the full vote, 0..1.
        confidence: With which the share is below `risk`, 0..1.
        images: Number of validation images.
        labels_differing: Of them, those whose label differs from the full vote.
        members_run_mean: Mean number of members that ran on a validation image.
        images_sha256: Of the validation images, see `LabelledImages.sha256`.
        members_sha256: Of the members that it was chosen for, see `members_sha256`.
    """

    order: tuple[str, ...]
    threshold: float
    risk: float
    confidence: float
    images: int
    labels_differing: int
    members_run_mean: float
    images_sha256: str
    members_sha256: str

    def to_dict(self) -> dict[str, Any]:
        """As plain data for `bundle.json`."""
        return {**asdict(self), "order": list(self.order)}


def members_sha256(members: Sequence[tuple[str, float]]) -> str:
    """The SHA-256 of a vote: of the hash of each member's file and its weight, in the order of the bundle."""
    return hashlib.sha256("\n".join(f"{sha256} {weight!r}" for sha256, weight in members).encode()).hexdigest()


def parse_cascade(value: Any, members: Sequence[Mapping[str, Any]], where: str) -> Cascade | None:
    """Check and read the cascade of a `bundle.json`; None where there is none.

    Args:
        value: What the file says.
        members: The entries of the members, checked.
        where: The path of the file, for messages.

    Raises:
        IntegrityError: A field is missing or wrong, or the cascade was chosen for other members.
    """
    if value is None:
        return None
    at, remedy = f"{where}: '{CASCADE}'", "export the bundle again with bt-export"
    if not isinstance(value, dict):
        raise IntegrityError(f"{at} is {type(value).__name__}, not an object", remedy)
    for names, kind in ((_NUMBERS, (int, float)), (_COUNTS, (int,)), (_HASHES, (str,)), (("order",), (list,))):
        for name in names:
            if not isinstance(value.get(name), kind) or isinstance(value[name], bool):
                raise IntegrityError(f"{at} has no proper {name!r}", remedy)
    if sorted(map(str, value["order"])) != sorted(member["name"] for member in members):
        raise IntegrityError(f"{at} orders {value['order']!r}, which are not the members", remedy)
    if not (0 < value["threshold"] <= 1 and 0 < value["risk"] < 1 and 0 < value["confidence"] < 1):
        raise IntegrityError(f"{at}: threshold, risk and confidence must be between 0 and 1", remedy)
    if value["members_sha256"] != members_sha256([(member["sha256"], member["weight"]) for member in members]):
        raise IntegrityError(f"{at} was chosen for other members or weights", remedy)
    plain = {name: value[name] for name in (*_NUMBERS, *_COUNTS, *_HASHES)}
    return Cascade(order=tuple(value["order"]), **plain)


def settled_labels(
    probabilities: NDArray[np.float32],
    shares: NDArray[np.float32],
    to_come: NDArray[np.float32],
    threshold: float,
) -> NDArray[np.intp]:
    """The class that stands, where the members that ran are sure or the others cannot change it.

    Args:
        probabilities: float32 [ran, batch, classes], of the members that ran.
        shares: float32 [ran], their shares of the vote.
        to_come: float32 [others], the shares of the members that did not run.
        threshold: See `Cascade`.

    Returns:
        int [batch]: index of the class; `UNDECIDED` where more members have to run.
    """
    labels = leaders(probabilities, shares, to_come)
    if not len(to_come):
        return labels
    vote = np.tensordot(shares.astype(np.float64) / shares.sum(dtype=np.float64), probabilities, axes=1)
    # NaN compares false, and so stays undecided.
    sure = (vote.max(axis=-1) >= threshold) & np.isfinite(vote).all(axis=-1)
    return np.where((labels == UNDECIDED) & sure, vote.argmax(axis=-1), labels)
