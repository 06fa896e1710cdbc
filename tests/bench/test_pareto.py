"""Accuracy against latency, for every subset of an ensemble."""

import numpy as np
import pytest

from braintumor.bench.document import encode
from braintumor.bench.metrics.pareto import MeasuredEnsemble, ParetoPoint, pareto_front, subset_points
from braintumor.errors import UsageError


def row(label: int, sure: float) -> list[float]:
    rest = (1 - sure) / 3
    return [sure if index == label else rest for index in range(4)]


LABELS = np.array([0, 1, 2])


def measured(**changed: object) -> MeasuredEnsemble:
    """The first member is right on images 0 and 1 and unsure on 2, the second is right on 2 and surely so."""
    fields = {
        "runner": "x on onnxruntime-cpu",
        "precision": "fp32",
        "engine": "onnxruntime-cpu",
        "weights": {"a": 1.0, "b": 1.0},
        "probabilities": np.array(
            [[row(0, 0.9), row(1, 0.9), row(3, 0.4)], [row(1, 0.5), row(0, 0.5), row(2, 0.9)]], np.float32
        ),
        "labels": LABELS,
        "member_ms": {"a": 10.0, "b": 30.0},
        "shared_ms": 4.0,
        "batch": 2,
    }
    return MeasuredEnsemble(**{**fields, **changed})  # type: ignore[arg-type]


def test_subset_points_give_accuracy_and_time_of_subsets() -> None:
    points = {point.members: point for point in subset_points([measured()])}
    assert {members: (point.accuracy, point.ms_per_image) for members, point in points.items()} == {
        ("a",): (pytest.approx(2 / 3), 7.0),
        ("b",): (pytest.approx(1 / 3), 17.0),
        ("a", "b"): (1.0, 22.0),
    }
    assert {members for members, point in points.items() if point.on_front} == {("a",), ("a", "b")}
    assert encode(points["a",])["members"] == ("a",)


def test_subset_points_use_weights() -> None:
    points = subset_points([measured(weights={"a": 9.0, "b": 1.0})])
    assert [point.accuracy for point in points] == pytest.approx([2 / 3, 1 / 3, 2 / 3])


def test_subset_points_have_one_front_for_all_engines() -> None:
    faster = measured(runner="x on openvino-cpu", member_ms={"a": 8.0, "b": 8.0})
    points = subset_points([measured(), faster])
    assert {point.runner for point in points if point.on_front} == {"x on openvino-cpu"}


def test_pareto_front_marks_equal_points() -> None:
    point = ParetoPoint("x", "fp32", "e", ("a",), 0.9, 10, 1.0, 1)
    assert all(marked.on_front for marked in pareto_front([point, point]))


@pytest.mark.parametrize(
    "changed", [{"weights": {"a": 1.0}}, {"labels": np.array([0])}, {"member_ms": {"a": 1.0, "c": 1.0}}]
)
def test_measured_ensemble_refuses_fields_that_do_not_fit(changed: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="do not belong to one ensemble"):
        measured(**changed)
