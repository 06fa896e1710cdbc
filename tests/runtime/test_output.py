"""Records as text: every format says the same, in any encoding, for any file name."""

import csv
import dataclasses
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from braintumor import NOTICE
from braintumor.errors import OutputError
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engine_selection import EngineChoice
from braintumor.runtime.output import RENDERERS, choice_line
from braintumor.runtime.prediction import ImageInfo, MemberPrediction, Prediction

CLASSES = ("glioma", "healthy", "meningioma", "pituitary")
BUNDLE = Bundle("demo", Path("/b"), "ab" * 32, CLASSES, (), {})  # without members it is of no one precision
SHARES = (0.7, 0.1, 0.15, 0.05)
ODD_NAMES = ['a,"b".png', "two\nlines.png", "ü — 脑.png", "caf\udce9.png", "=1+1.png", "\x1b[2Jclear.png", "x" * 99]


def record(path: str | None = "scan.png", *, failed: bool = False, frames: int = 1) -> Prediction:
    common: dict[str, Any] = {
        "bundle": {"name": "demo", "sha256": "ab" * 32, "precision": "fp32"},
        "engine": {"name": "e", "provider": "p", "device": "cpu", "version": "onnxruntime 1"},
        "input": ImageInfo(path, "cd" * 32, "PNG", 80, 96, 8, 0, frames),
    }
    if failed:
        return Prediction(status="error", error={"type": "InputError", "message": "damaged"}, **common)
    chances = dict(zip(CLASSES, SHARES, strict=True))
    return Prediction(
        status="ok",
        label="glioma",
        probabilities=chances,
        margin=0.55,
        entropy_nats=0.914,
        members=(MemberPrediction("net", "glioma", chances),),
        timing_ms={"decode": 1.0, "inference": 2.0, "batch": 1.0},
        **common,
    )


def rendered(form: str, records: Sequence[Prediction], *, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    renderer = RENDERERS[form](stream, BUNDLE, len(records))
    for record in records:
        renderer.write(record)
    renderer.finish()
    stream.flush()
    return raw.getvalue().decode(encoding)


def early(path: str) -> Prediction:
    bounds = dict(zip(CLASSES, ((0.6, 0.9), (0.0, 0.3), (0.1, 0.4), (0.0, 0.3)), strict=True))
    return replace(record(path), policy="early-exit", members_run=2, bounds=bounds, margin=None, entropy_nats=None)


def test_table_and_csv_show_the_bounds_of_an_early_label() -> None:
    block = rendered("table", [early("scan.png")])
    assert "label glioma, certain after 2 members, whose vote this is; all would give 60.0 to 90.0 %" in block
    lines = rendered("table", [early(f"{number}.png") for number in range(5)]).splitlines()
    assert sum(line.endswith("of 2 members") for line in lines) == 5
    (row,) = csv.DictReader(io.StringIO(rendered("csv", [early("scan.png")])))
    assert (row["policy"], row["members_run"], row["margin"]) == ("early-exit", "2", "")
    assert (float(row["label_lower"]), float(row["label_upper"])) == (0.6, 0.9)
    assert json.loads(rendered("jsonl", [early("scan.png")]))["bounds"]["glioma"] == [0.6, 0.9]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_json_parses_back_in_every_encoding(form: str, encoding: str) -> None:
    text = rendered(form, [record(name) for name in ODD_NAMES] + [record(failed=True)], encoding=encoding)
    predictions = json.loads(text) if form == "json" else [json.loads(line) for line in text.splitlines()]
    assert [prediction["input"]["path"] for prediction in predictions] == [*ODD_NAMES, "scan.png"]
    assert predictions[0]["probabilities"] == dict(zip(CLASSES, SHARES, strict=True))
    assert predictions[-1]["error"]["message"] == "damaged"


def test_json_of_nothing_is_an_empty_array_or_no_lines() -> None:
    assert json.loads(rendered("json", [])) == []
    assert rendered("jsonl", []) == ""


def test_csv_parses_back_with_every_name() -> None:
    text = rendered("csv", [record(name) for name in ODD_NAMES] + [record(None), record(failed=True)])
    assert "\r" not in text
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    expected = [name.replace("\udce9", "\\udce9") for name in ODD_NAMES]
    assert [row["path"] for row in rows] == [*expected, "", "scan.png"]
    assert [float(rows[0][name]) for name in CLASSES] == list(SHARES)
    assert rows[0]["label"] == "glioma"
    assert (rows[-1]["status"], rows[-1]["label"], rows[-1]["glioma"]) == ("error", "", "")
    assert rows[-1]["error"] == "damaged"


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_csv_escapes_characters_that_the_encoding_lacks(encoding: str) -> None:
    text = rendered("csv", [record(name) for name in ODD_NAMES], encoding=encoding)
    assert len(list(csv.reader(io.StringIO(text, newline="")))) == len(ODD_NAMES) + 1
    assert "\\u8111" in text


def test_table_of_few_images_has_a_block_each() -> None:
    lines = rendered("table", [record(frames=3)]).splitlines()
    assert lines[0] == "scan.png  PNG 80 x 96"
    assert lines[1] == "  glioma       " + "█" * 21 + "·" * 9 + "  70.0 %"
    assert "  label glioma, 55 points ahead; 1 of 1 models agree" in lines
    assert "  net says glioma (70.0 %)" in lines
    assert "  first of 3 frames" in lines
    assert lines[-1] == NOTICE
    assert "bundle demo (mixed, abababababab) on e (onnxruntime 1)" in lines[-3]
    assert "never judged" in lines[-2]


def test_table_of_many_images_has_a_line_each() -> None:
    lines = rendered("table", [record("x" * 99)] * 5 + [record(failed=True)]).splitlines()
    assert lines[0].split() == ["image", "label", "vote", *CLASSES]
    assert lines[1].startswith("…" + "x" * 35 + "  glioma")
    assert lines[1].count("█") == 7
    assert {len(line) for line in lines[:6]} == {len(lines[0])}
    assert lines[6] == "scan.png  error  damaged"
    assert lines[-1] == NOTICE


def test_table_notes_that_one_of_many_frames_was_read() -> None:
    row = rendered("table", [record(frames=3)] * 5).splitlines()[1]
    assert row.endswith("  first of 3 frames")
    assert next(csv.DictReader(io.StringIO(rendered("csv", [record(frames=3)]))))["frames"] == "3"


def test_table_notes_what_was_done_to_an_image() -> None:
    image = ImageInfo("scan.png", "cd" * 32, "PNG", 80, 96, 8, 0, 1, 6, transparent=True)
    rows = rendered("table", [replace(record(), input=image)] * 5).splitlines()
    assert rows[1].endswith("  turned by its EXIF orientation 6  transparent parts over black")


@pytest.mark.parametrize("count", [1, 7])
def test_table_falls_back_to_ascii(count: int) -> None:
    text = rendered("table", [record(name) for name in ODD_NAMES[:count]], encoding="ascii")
    assert "#" in text
    assert "%" in text
    if count > 4:
        assert "..." + "x" * 33 in text


def test_table_escapes_names_that_command_the_terminal() -> None:
    text = rendered("table", [record(name) for name in ODD_NAMES])
    assert "\x1b" not in text
    assert "two\\nlines.png" in text
    assert "\\udce9" in text
    assert "ü — 脑.png" in text
    assert "(memory)" in rendered("table", [record(None)])


@pytest.mark.parametrize("form", RENDERERS)
def test_write_raises_output_error_for_a_full_stream(form: str) -> None:
    class Full(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot be written \(No space left on device\).*`output`"):
        RENDERERS[form](Full(), BUNDLE, 5).write(record())


@pytest.mark.parametrize("form", RENDERERS)
def test_write_lets_a_broken_pipe_through(form: str) -> None:
    class Closed(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        RENDERERS[form](Closed(), BUNDLE, 5).write(record())


def test_choice_line_names_the_slower_engines_too() -> None:
    choice = EngineChoice("openvino-cpu", {"onnxruntime-cpu": 20.0, "openvino-cpu": 31.0})
    assert choice_line(choice) == "Using openvino-cpu from now on: 31 images/s (onnxruntime-cpu 20)."
    lost = dataclasses.replace(choice, not_remembered="the cache /x cannot be written")
    assert "from now on" not in choice_line(lost)
    assert choice_line(lost).endswith("could not be remembered: the cache /x cannot be written.")
