"""The report as a command: what it measures, reads, writes and refuses."""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from braintumor.bench.compare.compare import Limits, compare_files
from braintumor.bench.document import encode
from braintumor.bench.report import Report
from braintumor.bench.report.write import FILES
from braintumor.errors import UsageError
from tests.support.reports import CHAPTERS, ENGINE, Documents, flipped, reported, run

Damage = Callable[[dict[str, Any]], object]


def test_report_writes_three_files_of_ready_ones(measured: tuple[Path, Path], tmp_path: Path) -> None:
    accuracy, latency = measured
    done = run("report", "--accuracy", accuracy, "--latency", latency, "--out", tmp_path / "report")
    assert done.exit_code in {0, 3}, done.output
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(FILES)
    document = json.loads((tmp_path / "report" / "report.json").read_text())
    assert document["schema"] == "braintumor.report/1"
    assert document["accuracy"] == json.loads(accuracy.read_text())
    assert document["latency"] == json.loads(latency.read_text())
    assert document["summary"][0]["status"] in done.output


def test_compare_files_finds_a_report_worse_when_its_verdict_is_lost(documents: Documents, tmp_path: Path) -> None:
    accuracy, latency = documents
    old, new = tmp_path / "old", tmp_path / "new"
    accuracy["bundles"][0]["verdict"]["status"] = "accepted"
    old.write_text(json.dumps(encode(reported(accuracy, latency))))
    assert compare_files(old, old).worse(Limits()) == ()
    accuracy["bundles"][0]["verdict"]["status"] = "refused"
    new.write_text(json.dumps(encode(reported(accuracy, latency))))
    assert [metric.name for metric in compare_files(old, new).worse(Limits())] == [
        f"accuracy: small on {ENGINE}, verdict"
    ]


def test_compare_files_takes_files_of_accuracy(documents: Documents, tmp_path: Path) -> None:
    old, new, other = (tmp_path / name for name in ("old", "new", "other"))
    accuracy = documents[0]
    old.write_text(json.dumps(accuracy))
    accuracy["bundles"][0]["scores"]["accuracy"] -= 1 / 12
    new.write_text(json.dumps(accuracy))
    accuracy["images"]["sha256"] = "0" * 64
    other.write_text(json.dumps(accuracy))
    done = run("compare", old, new)
    assert done.exit_code == 3
    assert "-8.33 points  WORSE" in done.output
    assert "flips" in done.output
    with pytest.raises(UsageError, match="the same images"):
        compare_files(old, other)


def test_report_of_a_refused_bundle_ends_with_3(measured: tuple[Path, Path], tmp_path: Path) -> None:
    refused = json.loads(measured[0].read_text())
    refused["bundles"][0]["verdict"]["status"] = "refused"
    file = tmp_path / "refused.json"
    file.write_text(json.dumps(refused))
    done = run("report", "--accuracy", file, "--out", tmp_path / "report")
    assert done.exit_code == 3, done.output
    assert "✗ Refused" in (tmp_path / "report" / "report.html").read_text()


def test_report_evaluates_and_times_a_bundle(small_bundle: Path, phantom_classes: Path, tmp_path: Path) -> None:
    before = (small_bundle / "bundle.json").read_bytes()
    options = ("--engine", ENGINE, "--reference", small_bundle, "--batch", "1,2", "--seconds", 1, "--robustness", 0)
    done = run("report", small_bundle, "--data", phantom_classes, *options, "--out", tmp_path)
    assert done.exit_code in {0, 3}, done.output
    shown = (tmp_path / "report.html").read_text()
    assert tuple(re.findall(r"<h2>(.*?)</h2>", shown)) == CHAPTERS
    document = json.loads((tmp_path / "report.json").read_text())
    parts = {name: document[name]["inference_s"] for name in ("accuracy", "latency")}
    assert document["inference_s"] == pytest.approx(sum(parts.values()))
    assert all(0 < parts[name] < document["seconds"][name] for name in parts)
    assert sum(document["seconds"].values()) < document["wall_s"]
    assert document["wall_over_inference"] == pytest.approx(document["wall_s"] / document["inference_s"])
    assert f"{document['wall_over_inference']:.3f} times" in shown
    # Of what was scores the answers are known; the accuracy of every subset rests on all images.
    whole = max(document["latency"]["pareto"], key=lambda point: len(point["members"]))
    scores = document["accuracy"]["bundles"][0]["scores"]
    assert whole["accuracy"] == pytest.approx(scores["accuracy"])
    assert "judged on the 12 images that were timed" in shown
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert (small_bundle / "bundle.json").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda data: data.update(contenders=[]), "at least one runner"),
        (lambda data: data["contenders"][0]["batches"].clear(), "at one batch size"),
        (lambda data: data["contenders"][0]["batches"][1].update(p50_ms=0), "'$.contenders[0].batches[1].p50_ms'"),
        (
            lambda data: data["contenders"].append({**data["contenders"][0], "batches": []}),
            "batch sizes of the first",
        ),
    ],
)
def test_report_refuses_times_that_cannot_be_drawn(
    documents: Documents, damage: Damage, place: str, tmp_path: Path
) -> None:
    damage(documents[1])
    file = tmp_path / "odd.json"
    file.write_text(json.dumps(documents[1]))
    for command in (("report", "--latency", file, "--out", tmp_path / "report"), ("compare", file, file)):
        done = run(*command)
        assert (done.exit_code, place in done.output, len(done.output.splitlines())) == (4, True, 1), done.output


def test_report_reads_files_of_earlier_versions(documents: Documents, tmp_path: Path) -> None:
    accuracy, latency = flipped(documents[0], "x"), documents[1]
    del accuracy["bundles"][0]["comparison"]["flipped"][0]["png_base64"]
    for ensemble in (accuracy["bundles"][0], accuracy["bundles"][0]["reference"]):
        for scores in (ensemble["scores"], *(member["scores"] for member in ensemble["members"])):
            del scores["reliability"]
    del latency["contenders"][0]["decisions"]["interval"]
    (tmp_path / "accuracy").write_text(json.dumps(accuracy))
    (tmp_path / "latency").write_text(json.dumps(latency))
    done = run("report", "--accuracy", tmp_path / "accuracy", "--latency", tmp_path / "latency", "--out", tmp_path)
    assert done.exit_code in {0, 3}, done.output


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        (lambda data: data.update(schema="braintumor.accuracy/99"), "is of schema 'braintumor.accuracy/99'"),
        (lambda data: data.pop("bundles"), "missing required field 'bundles'"),
        (lambda data: data.update(bundles=[]), "at least one bundle"),
        (lambda data: data["bundles"][0]["scores"].pop("confusion"), "'confusion' - at '$.bundles[0].scores'"),
        (lambda data: data["bundles"][0]["scores"]["confusion"].pop(), "must have as many columns"),
        (lambda data: data["bundles"][0]["scores"].update(confusion=[[12]]), "must be of 4 classes"),
        (lambda data: data["bundles"][0]["scores"].update(interval=None), "'$.bundles[0].scores.interval'"),
        (lambda data: data["bundles"][0]["verdict"].update(status="lost"), "'$.bundles[0].verdict.status'"),
        (lambda data: data["images"].update(classes=3), "'$.images.classes'"),
        (lambda data: data["bundles"][0]["comparison"]["flipped"][0].update(label="x"), "must be among glioma"),
    ],
)
def test_report_refuses_a_damaged_file_before_anything_is_written(
    documents: Documents, damage: Damage, place: str, tmp_path: Path
) -> None:
    accuracy = flipped(documents[0], "x")
    damage(accuracy)
    file = tmp_path / "odd.json"
    file.write_text(json.dumps(accuracy))
    done = run("report", "--accuracy", file, "--out", tmp_path / "report")
    assert done.exit_code == 4, done.output
    assert place in done.output
    assert "bt-bench accuracy BUNDLE --json" in done.output
    assert len(done.output.splitlines()) == 1
    assert not list((tmp_path / "report").iterdir())


def test_report_refuses_files_that_are_not_of_its_command(measured: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no JSON")
    for file, code in ((tmp_path / "text", 4), (tmp_path, 4), (measured[1], 4), (tmp_path / "missing", 2)):
        done = run("report", "--accuracy", file, "--out", tmp_path / "report")
        assert (done.exit_code, "write it with: bt-bench accuracy" in done.output) == (code, True), done.output


def test_report_checks_its_folder_before_anything_is_measured(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run("report", small_bundle, "--data", tmp_path / "missing", "--out", tmp_path / "file" / "report")
    assert done.exit_code == 2, done.output
    assert "cannot be written" in done.output


def test_write_report_keeps_an_earlier_report_when_one_file_cannot_be_written(
    measured: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "report.md").mkdir()
    for name in ("report.html", "report.json"):
        (tmp_path / name).write_text("earlier")
    done = run("report", "--accuracy", measured[0], "--out", tmp_path)
    assert done.exit_code == 2, done.output
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    assert (tmp_path / "report.html").read_text() == (tmp_path / "report.json").read_text() == "earlier"


def test_report_of_nothing_is_refused(tmp_path: Path) -> None:
    assert run("report", "--out", tmp_path).exit_code == 2
    with pytest.raises(UsageError):
        Report.of(None, None)


@pytest.mark.parametrize("odd", [("--engine", "abacus"), ("--engine", ""), ("--batch", ""), ("--batch", "0")])
def test_report_refuses_options_before_the_first_measurement(
    odd: tuple[str, str], small_bundle: Path, phantom_classes: Path, tmp_path: Path
) -> None:
    done = run(
        "report", small_bundle, "--data", phantom_classes, "--reference", small_bundle, *odd, "--out", tmp_path
    )
    assert done.exit_code == 2, done.output
    assert len(done.output.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_report_without_labelled_images_names_the_option(small_bundle: Path, tmp_path: Path) -> None:
    done = run("report", small_bundle, "--out", tmp_path)
    assert done.exit_code == 2
    assert "--data" in done.output


def test_report_shows_ready_files_without_scipy(
    measured: tuple[Path, Path],
    small_bundle: Path,
    phantom_classes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "scipy.stats", None)
    accuracy, latency = measured
    assert run("report", "--accuracy", accuracy, "--latency", latency, "--out", tmp_path).exit_code in {0, 3}
    options = ("--data", phantom_classes, "--reference", "none", "--engine", ENGINE)
    done = run("report", small_bundle, *options, "--out", tmp_path)
    assert done.exit_code == 5, done.output
    assert "pip install 'braintumor[bench]'" in done.output


@pytest.mark.parametrize("module", ["jinja2", "matplotlib.figure"])
def test_report_names_the_extra_before_anything_is_measured(
    module: str, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    done = run("report", small_bundle, "--data", tmp_path / "missing", "--out", tmp_path / "report")
    assert done.exit_code == 5, done.output
    assert "pip install 'braintumor[bench]'" in done.output
    assert not (tmp_path / "report").exists()
