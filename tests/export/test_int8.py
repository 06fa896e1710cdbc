"""Plans for an export: found beside the models or searched on real files; and `--precision mixed`, measured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from braintumor.bench.data.phantoms import phantoms
from braintumor.errors import ModelError, UsageError
from braintumor.export import stages
from braintumor.export.from_keras import archive
from braintumor.export.graph.groups import node_groups
from braintumor.export.graph.qdq import insert_qdq
from braintumor.export.graph.quantization_plan import FINDINGS, PLAN_SUFFIX, QuantisationPlan, read_plan, write_plan
from braintumor.export.graph.structure import Structure, structure_of
from braintumor.export.int8 import mixed
from braintumor.export.int8.calibrate import activation_thresholds
from braintumor.export.int8.mixed import Candidate, choose_precisions
from braintumor.export.int8.plan_source import keeps_decisions, plans_for
from braintumor.export.int8.quality import Limits
from braintumor.export.member import export_member
from braintumor.export.options import ExportOptions, MemberOptions, QuantisationOptions, Target
from braintumor.export.pipeline import export_bundle
from braintumor.export.render import gain_line
from braintumor.export.stages import ModelStages
from braintumor.export.verify.reference import VerificationImages
from braintumor.models.labels import CLASSES
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.ensemble import Ensemble

pytestmark = pytest.mark.usefixtures("keras_in_process")

IMAGES = VerificationImages((), 64)
GENEROUS = Limits(1.0, 1.0, 1.0, 1.0, 1.0)

Keras = Callable[..., Path]
StagesOf = Callable[..., ModelStages]


def options(path: Path, name: str = "small", size: tuple[int, int] | None = None) -> MemberOptions:
    return MemberOptions(path, name, 1.0, CLASSES, size=size)


def plan_for(stages: ModelStages, in_float: Callable[[list[str]], list[str]] = lambda _: []) -> QuantisationPlan:
    """A real plan, without a search."""
    exported = export_member(stages, Target("fp32"))
    model = onnx.load(str(exported.model))
    groups = node_groups(model)
    return QuantisationPlan(
        source_sha256=exported.entry["source"]["sha256"],
        size=(32, 32),
        structure=structure_of(model),
        method="minmax",
        thresholds=activation_thresholds(model, phantoms(16, 32, 32))["minmax"],
        float_nodes=tuple(in_float([name for group in groups for name in group.nodes])),
        float_groups=(),
        findings={
            **dict.fromkeys(FINDINGS),
            "ranking": [{"group": group.name, "nodes": len(group.nodes)} for group in groups],
        },
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Folders of training and of validation images."""
    root = tmp_path_factory.mktemp("sets")
    for part, count, seed in (("train", 75, 1), ("val", 12, 2)):
        for index, pixels in enumerate(phantoms(4 * count, 96, 96, seed=seed)):
            path = root / part / CLASSES[index % 4] / f"{part}{index:04}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return root / "train", root / "val"


def test_plans_for_saves_a_plan_that_makes_the_same_model_without_images(
    small_keras: Keras, stages_of: StagesOf, folders: tuple[Path, Path], tmp_path: Path
) -> None:
    model = tmp_path / "small.keras"
    model.write_bytes(small_keras().read_bytes())
    searched = QuantisationOptions(*folders, count=300, limits=GENEROUS, save_plans=tmp_path)
    steps: list[str] = []
    (plan,) = plans_for([stages_of(model)], searched, steps.append)
    assert read_plan(tmp_path / f"small{PLAN_SUFFIX}").sha256 == plan.sha256
    assert plan.findings["calibration"]["images"] == 300
    assert plan.findings["validation"]["images"] == 48
    assert any("ranges of activations on 300 training images" in step for step in steps)
    (beside,) = plans_for([stages_of(model)], QuantisationOptions(), steps.append)
    exported = onnx.load(str(export_member(stages_of(model), Target("fp32")).model))
    made = [insert_qdq(exported, each.thresholds, each.float_nodes).SerializeToString() for each in (plan, beside)]
    assert made[0] == made[1]


def test_plans_for_refuses_a_folder_that_calibrates_and_validates(
    small_keras: Keras, stages_of: StagesOf, folders: tuple[Path, Path]
) -> None:
    with pytest.raises(UsageError, match="`validate`"):
        plans_for([stages_of(small_keras())], QuantisationOptions(folders[0], count=300), lambda _: None)


def test_plans_for_refuses_a_model_without_a_plan(small_keras: Keras, stages_of: StagesOf) -> None:
    with pytest.raises(UsageError, match=r"has no quantisation plan beside it \(bare\.int8\.json.*`calibrate`"):
        plans_for([stages_of(small_keras("bare"))], QuantisationOptions(), lambda _: None)


def test_plans_for_refuses_a_plan_of_another_file_or_size(
    small_keras: Keras, stages_of: StagesOf, tmp_path: Path
) -> None:
    model = tmp_path / "small.keras"
    model.write_bytes(small_keras(seed=3).read_bytes())
    write_plan(plan_for(stages_of(small_keras())), tmp_path / f"small{PLAN_SUFFIX}")
    with pytest.raises(UsageError, match="made for this very file"):
        plans_for([stages_of(model)], QuantisationOptions(), lambda _: None)
    model.write_bytes(small_keras().read_bytes())
    assert plans_for([stages_of(model)], QuantisationOptions(), lambda _: None)
    with pytest.raises(UsageError, match="made for this very file"):
        plans_for([stages_of(model, size=(48, 48))], QuantisationOptions(), lambda _: None)


def test_export_bundle_refuses_a_plan_for_another_structure_before_it_builds(
    small_keras: Keras, stages_of: StagesOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members, plans = [], {}
    for name in ("good", "bad"):
        model = tmp_path / f"{name}.keras"
        model.write_bytes(small_keras(seed=7).read_bytes())
        members.append(options(model, name))
        plans[name] = plan_for(stages_of(model))
    nodes = list(plans["bad"].structure.nodes.items())
    nodes[3], nodes[4] = nodes[4], nodes[3]
    plans["bad"] = replace(plans["bad"], structure=Structure(dict(nodes)))
    for name, plan in plans.items():
        write_plan(plan, tmp_path / f"{name}{PLAN_SUFFIX}")
    monkeypatch.setenv("BRAINTUMOR_CACHE", str(tmp_path / "cache"))
    export_options = ExportOptions(tuple(members), "int8", tmp_path / "bundle", "m", IMAGES, "by a test")
    with pytest.raises(ModelError, match=rf"bad\.keras .*the layer '{nodes[4][0]}' stands where"):
        export_bundle(export_options)
    assert {path.name for path in (tmp_path / "cache").iterdir()} == {"network-structure", "networks"}
    assert not list((tmp_path / "cache" / "networks").iterdir())
    assert not (tmp_path / "bundle").exists()


def test_plans_for_refuses_a_damaged_plan(small_keras: Keras, stages_of: StagesOf, tmp_path: Path) -> None:
    model = tmp_path / "small.keras"
    model.write_bytes(small_keras().read_bytes())
    (tmp_path / f"small{PLAN_SUFFIX}").write_text('{"schema": "braintumor.quantisation-plan/1"')
    with pytest.raises(ModelError, match="is not a quantisation plan"):
        plans_for([stages_of(model)], QuantisationOptions(), lambda _: None)


def test_keeps_decisions_is_false_where_most_stays_float(small_keras: Keras, stages_of: StagesOf) -> None:
    assert keeps_decisions(plan_for(stages_of(small_keras())))
    assert not keeps_decisions(plan_for(stages_of(small_keras()), lambda names: names[: len(names) // 2 + 1]))


def exported_pair(stages: ModelStages) -> Candidate:
    plan = plan_for(stages)
    return Candidate(export_member(stages, Target("int8", plan)), export_member(stages, Target("fp32")))


def test_choose_precisions_follows_its_measurement(small_keras: Keras, stages_of: StagesOf) -> None:
    pair = exported_pair(stages_of(small_keras()))
    unfaithful = Candidate(None, pair.floating)
    first, second = choose_precisions([pair, unfaithful], lambda _: None)
    assert first.engine == second.engine is not None
    assert first.speed_up is not None
    assert first.int8 == (first.speed_up.low > 1)
    assert ("not clearly faster" in first.reason) != first.int8
    assert not second.int8
    assert "stay in floating point" in second.reason
    assert second.int8_ms is None


@pytest.mark.parametrize(("factor", "int8"), [(0.5, True), (1.0, False), (2.0, False)])
def test_choose_precisions_needs_int8_to_be_faster_beyond_the_scatter(
    small_keras: Keras, stages_of: StagesOf, monkeypatch: pytest.MonkeyPatch, factor: float, int8: bool
) -> None:
    pair = exported_pair(stages_of(small_keras()))
    scatter = np.random.default_rng(0)
    sides = iter([1.0, factor] * 1000)
    monkeypatch.setattr(
        mixed, "timed_ms", lambda call: call() is not None and next(sides) * scatter.uniform(0.9, 1.1)
    )
    (choice,) = choose_precisions([pair], lambda _: None)
    assert choice.int8 == int8
    assert choice.speed_up is not None
    assert choice.speed_up.median == pytest.approx(1 / factor, rel=0.15)


def test_export_bundle_records_the_choice_of_mixed(small_keras: Keras, stages_of: StagesOf, tmp_path: Path) -> None:
    members = []
    for name, keep in (("a", lambda _: []), ("b", lambda names: names)):
        model = tmp_path / f"{name}.keras"
        model.write_bytes(small_keras(seed=5).read_bytes())
        write_plan(plan_for(stages_of(model), keep), tmp_path / f"{name}{PLAN_SUFFIX}")
        members.append(options(model, name))
    export_options = ExportOptions(tuple(members), "mixed", tmp_path / "bundle", "m", IMAGES, "by a test")
    bundle = export_bundle(export_options)
    first, second = load_bundle(bundle.folder).members
    assert first.precision == ("int8" if first.details["mixed"]["int8"] else "fp32")
    assert (second.precision, second.details["mixed"]["int8"]) == ("fp32", False)
    assert "stay in floating point" in second.details["mixed"]["reason"]
    with Ensemble.load(bundle, engine="onnxruntime-cpu") as ensemble:
        assert ensemble.predict(phantoms(1, 64, 64)[0]).status == "ok"


@pytest.mark.parametrize(("groups", "says"), [((), ""), (("stem",), ""), (("stem", "stage"), "9 of its 10 weighted")])
def test_gain_line_warns_where_most_stays_float(groups: tuple[str, ...], says: str) -> None:
    ranking = [{"group": "stem", "nodes": 5}, {"group": "stage", "nodes": 4}, {"group": "head", "nodes": 1}]
    line = gain_line({"ranking": ranking, "float_groups": list(groups), "rest": "fp16"})
    assert says in (line or "")
    assert bool(line) == bool(says)


@pytest.mark.parametrize("precision", ["fp16", "int8", "mixed"])
def test_export_bundle_opens_hashes_and_converts_a_model_once(
    small_keras: Keras, stages_of: StagesOf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: Any
) -> None:
    model = tmp_path / "small.keras"
    model.write_bytes(small_keras(seed=8).read_bytes())
    write_plan(plan_for(stages_of(model)), tmp_path / f"small{PLAN_SUFFIX}")
    calls: list[str] = []
    for module, name in ((stages, "open_archive"), (stages, "read_network"), (archive, "sha256_of")):
        monkeypatch.setattr(module, name, counted(getattr(module, name), calls))
    monkeypatch.setenv("BRAINTUMOR_CACHE", str(tmp_path / "cache"))
    export_bundle(ExportOptions((options(model),), precision, tmp_path / "bundle", "m", IMAGES, "by a test"))
    assert sorted(calls) == ["open_archive", "read_network", "sha256_of"]


def counted(function: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(function.__name__)
        return function(*args, **kwargs)

    return call
