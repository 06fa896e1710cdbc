"""Quantisation plans: the result of calibration and search for one `.keras` file, as a small JSON file.

Applying a plan needs no images and takes seconds, so a plan can ship beside its weights, and a workstation
without the data set makes the same int8 model, byte for byte. It names tensors and nodes, so it holds the structure
that they belong to, and is refused for any other.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from braintumor.errors import ModelError
from braintumor.export.graph.structure import Structure
from braintumor.files import atomic_text

__all__ = [
    "PLAN_SUFFIX",
    "QuantisationPlan",
    "plan_beside",
    "read_plan",
    "require_structure",
    "rounded_thresholds",
    "write_plan",
]

SCHEMA: Final = "braintumor.quantisation-plan/3"
PLAN_SUFFIX: Final = ".int8.json"

FINDINGS: Final = ("calibration", "members", "naive", "searched", "vote", "ranking")
"""Keys of every plan's findings, which `bt-export` prints."""

_SIGNIFICANT: Final = 6


@dataclass(frozen=True, slots=True)
class QuantisationPlan:
    """Quantisation of one member.

    Attributes:
        source_sha256: Of the `.keras` file that it was made for.
        size: Height and width in pixels.
        structure: Of the network whose tensors and nodes it names.
        method: By which the thresholds were chosen, of `calibration.METHODS`.
        thresholds: Activation tensor → the magnitude that becomes 127.
        float_nodes: Weighted nodes that stay in float.
        float_groups: Names of their groups.
        findings: For people: calibration set, methods compared, ranking of the groups, naive and searched
            figures. Plain data; at least `FINDINGS`.
    """

    source_sha256: str
    size: tuple[int, int]
    structure: Structure
    method: str
    thresholds: Mapping[str, float]
    float_nodes: tuple[str, ...]
    float_groups: tuple[str, ...]
    findings: Mapping[str, Any]

    @property
    def sha256(self) -> str:
        """SHA-256 of everything that decides the int8 model."""
        decided = sorted(self.thresholds.items()), sorted(self.float_nodes)
        parts = [self.source_sha256, self.size, self.structure.sha256, *decided]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        thresholds = {name: _rounded(value) for name, value in sorted(self.thresholds.items())}
        structure = {"sha256": self.structure.sha256, "nodes": dict(self.structure.nodes)}
        plain = {**asdict(self), "size": list(self.size), "structure": structure, "thresholds": thresholds}
        return {"schema": SCHEMA, **plain}


def rounded_thresholds(thresholds: Mapping[str, float]) -> dict[str, float]:
    """Thresholds as a plan's file holds them, so that a search evaluates what will be applied."""
    return {name: _rounded(value) for name, value in thresholds.items()}


def write_plan(plan: QuantisationPlan, path: Path) -> None:
    """Write a plan, whole or not at all.

    Raises:
        OutputError: It cannot be written.
    """
    with atomic_text(path) as stream:
        json.dump(plan.to_dict(), stream, indent=1)
        stream.write("\n")


def read_plan(path: Path) -> QuantisationPlan:
    """Read a plan.

    Raises:
        ModelError: The file cannot be read or is not a plan of this schema.
    """
    try:
        data = json.loads(path.read_bytes())
        if data["schema"] != SCHEMA:
            raise ModelError(f"{path} is of schema {data['schema']!r}; this version reads {SCHEMA!r}", _AGAIN)
        thresholds = {str(name): float(value) for name, value in data["thresholds"].items()}
        if invalid := [name for name, value in thresholds.items() if not 0 <= value < math.inf]:
            raise ValueError(f"the threshold of {invalid[0]} is {thresholds[invalid[0]]}")  # noqa: TRY301 - as what follows
        if missing := [name for name in FINDINGS if name not in data["findings"]]:
            raise ValueError(f"its findings lack {', '.join(missing)}")  # noqa: TRY301
        height, width = data["size"]
        return QuantisationPlan(
            source_sha256=str(data["source_sha256"]),
            size=(int(height), int(width)),
            structure=_structure(data["structure"]),
            method=str(data["method"]),
            thresholds=thresholds,
            float_nodes=_names(data["float_nodes"]),
            float_groups=_names(data["float_groups"]),
            findings=dict(data["findings"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{path} is not a quantisation plan ({type(error).__name__}: {error})", _AGAIN) from error


def require_structure(plan: QuantisationPlan, structure: Structure, path: Path) -> None:
    """Refuse a plan that was made for a network of another structure.

    Args:
        plan: The plan.
        structure: Of the network that it is to be applied to.
        path: The `.keras` file, for the message.

    Raises:
        ModelError: It names the first layer that differs.
    """
    if difference := plan.structure.difference(structure):
        raise ModelError(
            f"the quantisation plan of {path} was made for another structure than that of the network which is "
            f"written now: {difference}",
            _AGAIN,
        )


def plan_beside(model: Path, source_sha256: str) -> QuantisationPlan | None:
    """The plan that lies beside a `.keras` file and was made for just that file, if there is one.

    Raises:
        ModelError: The file there is not a plan.
    """
    path = model.with_suffix(PLAN_SUFFIX)
    if not path.is_file():
        return None
    plan = read_plan(path)
    return plan if plan.source_sha256 == source_sha256 else None


_AGAIN: Final = "search a new one with `calibrate`"


def _names(values: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(values, list):
        raise TypeError(f"{values!r} is not a list of names")
    return tuple(str(value) for value in values)


def _structure(data: Mapping[str, Any]) -> Structure:
    structure = Structure({str(name): str(digest) for name, digest in data["nodes"].items()})
    if structure.sha256 != data["sha256"]:
        raise ValueError("its structure was changed")
    return structure


def _rounded(value: float) -> float:
    return float(f"{value:.{_SIGNIFICANT}g}")
