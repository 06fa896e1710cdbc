"""A results file is read back as it was written, and continued only by what made it."""

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.archive.results import ResultsFile, identity_of
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.prediction import ImageInfo, Prediction

ENGINE = "onnxruntime-cpu"
FORMS = pytest.mark.parametrize("form", ["jsonl", "csv"])


@pytest.fixture(scope="module")
def ensemble(single: Path) -> Iterator[Ensemble]:
    with Ensemble.load(single, engine=ENGINE) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def predictions(ensemble: Ensemble, scans: Sequence[Path]) -> list[Prediction]:
    return list(ensemble.predict_many([*scans[:3], "gone.png"]))


def write(path: Path, form: str, ensemble: Ensemble, predictions: Sequence[Prediction]) -> None:
    with ResultsFile.open(path, form) as results, results.continued_by(ensemble) as appender:
        for prediction in predictions:
            appender.append(prediction)


@FORMS
def test_results_are_read_back(tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction], form: str) -> None:
    path = tmp_path / f"results.{form}"
    write(path, form, ensemble, predictions[:2])
    write(path, form, ensemble, predictions[2:])
    with ResultsFile.open(path, form) as results:
        assert (results.totals.answered, results.totals.failed, results.totals.records) == (3, 1, 4)
        assert sum(results.totals.labels.values()) == 3
        made_by = identity_of(ensemble)
        assert results.identity == (made_by if form == "jsonl" else dataclasses.replace(made_by, bundle=""))
        for prediction in predictions:
            assert results.claim(prediction.input.path or "", prediction.input.sha256) is (
                prediction.error is not None
            )
        assert results.claim("new.png", "0" * 64) is None


@FORMS
def test_results_are_those_of_a_run_without_resume(
    tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction], form: str
) -> None:
    from braintumor.runtime.output import RENDERERS

    with (tmp_path / "plain").open("w", encoding="utf-8", newline="") as stream:
        renderer = RENDERERS[form](stream, ensemble.bundle, len(predictions))
        for prediction in predictions:
            renderer.write(prediction)
        renderer.finish()
    write(tmp_path / "resumed", form, ensemble, predictions)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "plain").read_bytes()


@FORMS
@pytest.mark.parametrize("name", ["caf\udce9.png", "two\nlines\r.png", 'a,"b".png', "脑.png"])
def test_results_know_an_unusual_name(
    tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction], form: str, name: str
) -> None:
    path, image = tmp_path / f"results.{form}", predictions[0].input
    unusual = dataclasses.replace(predictions[0], input=dataclasses.replace(image, path=name))
    write(path, form, ensemble, [unusual, predictions[1]])
    assert path.read_bytes().count(b"\n") == (2 if form == "jsonl" else 3)
    with ResultsFile.open(path, form) as results:
        assert results.claim(name, image.sha256) is False


@FORMS
def test_results_are_whole_after_a_cut_at_any_byte(
    tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction], form: str
) -> None:
    path = tmp_path / f"results.{form}"
    write(path, form, ensemble, predictions)
    written = path.read_bytes()
    headers = 1 if form == "csv" else 0
    for size in range(0, len(written), 101):
        path.write_bytes(written[:size])
        with ResultsFile.open(path, form) as results:
            left = results.totals.records
        assert left == max(0, written[:size].count(b"\n") - headers)
        write(path, form, ensemble, predictions[left:])
        assert path.read_bytes() == written


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policy": "early-exit"}, "policy early-exit, not full"),
        ({"bundle": {"name": "old", "sha256": "f" * 64}}, "bundle old (ffffffffffff), not single"),
        ({"engine": {"name": "other", "version": "other 1"}}, "engine other, not onnxruntime-cpu"),
        ({"engine": {"name": ENGINE, "version": "onnxruntime 0.1"}}, "engine version onnxruntime 0.1, not"),
    ],
)
def test_results_of_something_else_are_refused_and_stay(
    tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction], change: dict[str, object], words: str
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(dataclasses.replace(predictions[0], **change).to_json() + "\nunfinished")  # type: ignore[arg-type]
    before = path.read_bytes()
    with pytest.raises(UsageError) as refused:
        write(path, "jsonl", ensemble, predictions)
    assert words in refused.value.message
    assert "`output`" in refused.value.remedy
    assert path.read_bytes() == before


def test_results_that_mix_answers_are_refused(tmp_path: Path, predictions: list[Prediction]) -> None:
    path = tmp_path / "results.jsonl"
    other = dataclasses.replace(predictions[1], policy="cascade")
    path.write_text(f"{predictions[0].to_json()}\n{other.to_json()}\n")
    with pytest.raises(IntegrityError, match="policy full, not cascade"), ResultsFile.open(path, "jsonl"):
        pass


def drop_column(path: Path, name: str) -> None:
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, [key for key in rows[0] if key != name], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


@pytest.mark.parametrize(("column", "error"), [("engine_version", IntegrityError), ("frames", UsageError)])
def test_csv_with_other_columns_is_refused(
    tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction], column: str, error: type[Exception]
) -> None:
    path = tmp_path / "results.csv"
    write(path, "csv", ensemble, predictions)
    drop_column(path, column)
    with pytest.raises(error, match="columns"):
        write(path, "csv", ensemble, predictions)


@pytest.mark.parametrize(
    "content", ["my notes\n", '{"schema": "other/1"}\n', '{"schema": "braintumor.prediction/1", 7\n']
)
def test_a_file_that_is_no_results_file_is_refused_and_stays(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(content)
    with pytest.raises(IntegrityError, match="line 1"), ResultsFile.open(path, "jsonl"):
        pass
    assert path.read_text() == content


@pytest.mark.parametrize("form", ["json", "table"])
def test_formats_without_lines_are_refused(tmp_path: Path, form: str) -> None:
    with pytest.raises(UsageError, match=form), ResultsFile.open(tmp_path / "x", form):
        pass
    assert list(tmp_path.iterdir()) == []


def test_results_behind_a_link_are_locked_by_their_own_name(
    tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction]
) -> None:
    path, link = tmp_path / "results.jsonl", tmp_path / "link.jsonl"
    link.symlink_to(path)
    with ResultsFile.open(path, "jsonl"), pytest.raises(UsageError, match="another process"):
        write(link, "jsonl", ensemble, predictions)
    write(link, "jsonl", ensemble, predictions)
    assert link.is_symlink()
    assert path.read_bytes().count(b"\n") == len(predictions)


def test_a_record_without_a_path_is_read_back(
    tmp_path: Path, ensemble: Ensemble, predictions: list[Prediction]
) -> None:
    memory = dataclasses.replace(predictions[0], input=ImageInfo(sha256="1" * 64))
    write(tmp_path / "results.jsonl", "jsonl", ensemble, [memory])
    with ResultsFile.open(tmp_path / "results.jsonl", "jsonl") as results:
        assert results.totals.records == 1
