"""A plan's file: whole, bound to one `.keras` file, and refused when it is anything else."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from braintumor.errors import ModelError
from braintumor.export.graph.quantization_plan import (
    FINDINGS,
    PLAN_SUFFIX,
    QuantisationPlan,
    plan_beside,
    read_plan,
    require_structure,
    rounded_thresholds,
    write_plan,
)
from braintumor.export.graph.structure import Structure
from braintumor.export.stages import ModelStages
from tests.support.paths import PRETRAINED

PLAN = QuantisationPlan(
    source_sha256="ab" * 32,
    size=(128, 96),
    structure=Structure({"conv1": "01234567", "conv2": "89abcdef"}),
    method="entropy",
    thresholds=rounded_thresholds({"b": 1 / 3, "a": 12345.678}),
    float_nodes=("conv1",),
    float_groups=("stem",),
    findings={**dict.fromkeys(FINDINGS), "ranking": [{"group": "stem", "nodes": 1}]},
)


def test_read_plan_gives_what_write_plan_wrote(tmp_path: Path) -> None:
    write_plan(PLAN, tmp_path / "plan.json")
    assert read_plan(tmp_path / "plan.json") == PLAN
    assert read_plan(tmp_path / "plan.json").sha256 == PLAN.sha256


def test_sha256_of_a_plan_covers_what_decides_the_model_and_nothing_else() -> None:
    assert replace(PLAN, findings={}, method="minmax", float_groups=()).sha256 == PLAN.sha256
    for other in (
        replace(PLAN, thresholds={**PLAN.thresholds, "a": 1.0}),
        replace(PLAN, float_nodes=()),
        replace(PLAN, size=(96, 128)),
        replace(PLAN, source_sha256="cd" * 32),
        replace(PLAN, structure=Structure({"conv1": "01234567", "conv2": "89abcdee"})),
        replace(PLAN, structure=Structure({"conv2": "89abcdef", "conv1": "01234567"})),
    ):
        assert other.sha256 != PLAN.sha256


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[: len(raw) // 2],
        lambda _: b"",
        lambda _: b"\xff\xfe",
        lambda _: b"[]",
        lambda _: b"null",
        lambda raw: raw.replace(b'"size": [', b'"size": [7, '),
        lambda raw: raw.replace(b'"thresholds": {', b'"thresholds": {"c": "x", '),
        lambda raw: raw.replace(b'"float_nodes"', b'"other"'),
        lambda raw: raw.replace(b'"findings": {', b'"findings": 5, "x": {'),
        lambda raw: raw.replace(b'"naive"', b'"native"'),
        lambda raw: raw.replace(b'"conv1"', b"{}").replace(b'"float_nodes": [', b'"float_nodes": "conv1", "x": ['),
        lambda raw: raw.replace(b'"b": ', b'"b": -'),
        lambda raw: raw.replace(b'"b": ', b'"c": Infinity, "b": '),
        lambda raw: raw.replace(b'"b": ', b'"c": NaN, "b": '),
        lambda raw: raw.replace(b'"89abcdef"', b'"89abcdee"'),
    ],
)
def test_read_plan_refuses_a_damaged_plan(tmp_path: Path, change: Any) -> None:
    path = tmp_path / "plan.json"
    write_plan(PLAN, path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelError, match=r"quantisation plan .*`calibrate`"):
        read_plan(path)


def test_read_plan_names_another_schema(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({**PLAN.to_dict(), "schema": "braintumor.quantisation-plan/9"}))
    with pytest.raises(ModelError, match=r"is of schema 'braintumor.quantisation-plan/9'"):
        read_plan(path)


def test_plan_beside_serves_only_its_own_file(tmp_path: Path) -> None:
    model = tmp_path / "net.keras"
    assert plan_beside(model, PLAN.source_sha256) is None
    write_plan(PLAN, tmp_path / f"net{PLAN_SUFFIX}")
    assert plan_beside(model, PLAN.source_sha256) == PLAN
    assert plan_beside(model, "cd" * 32) is None


@pytest.mark.parametrize("path", sorted(PRETRAINED.glob(f"*{PLAN_SUFFIX}")), ids=lambda path: path.name)
def test_shipped_plans_fit_the_network_that_is_written_today(
    path: Path, stages_of: Callable[..., ModelStages]
) -> None:
    stages = stages_of(path.with_name(path.name.removesuffix(PLAN_SUFFIX) + ".keras"))
    plan = plan_beside(stages.archive.path, stages.archive.sha256)
    assert plan is not None
    assert plan.structure.difference(stages.structure) is None


def test_require_structure_names_the_layer_that_differs(tmp_path: Path) -> None:
    require_structure(PLAN, PLAN.structure, tmp_path / "net.keras")
    with pytest.raises(ModelError, match=r"net\.keras .*the layer 'conv1' stands where 'conv2' stood; search a new"):
        require_structure(
            replace(PLAN, structure=Structure({"conv2": "1", "conv1": "2"})),
            Structure({"conv1": "2", "conv2": "1"}),
            tmp_path / "net.keras",
        )
