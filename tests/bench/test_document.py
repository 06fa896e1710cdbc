"""Results as JSON and back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from braintumor.bench.document import Count, Positive, decode, encode, read_document
from braintumor.errors import IntegrityError, UsageError

SCHEMA = "braintumor.test/1"
REMEDY = "measure again"


@dataclass(frozen=True, slots=True)
class Part:
    name: str
    ratio: Positive
    count: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    schema: Literal["braintumor.test/1"] = "braintumor.test/1"
    parts: tuple[Part, ...]
    ends: Mapping[str, tuple[float, float]]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("there must be a part")


WHOLE = Whole(parts=(Part("a", 1.5), Part("b", 2.0, 3)), ends={"x": (0.0, 1.0)})


def written(folder: Path, text: str) -> Path:
    path = folder / "file.json"
    path.write_text(text)
    return path


def test_decode_restores_encoded_result(tmp_path: Path) -> None:
    plain = json.loads(json.dumps(encode(WHOLE)))
    assert list(plain) == ["schema", "parts", "ends"]
    assert decode(plain, Whole) == WHOLE
    assert read_document(written(tmp_path, json.dumps(plain)), {SCHEMA: Whole}, REMEDY) == WHOLE


def test_read_document_ignores_unknown_keys_and_uses_defaults(tmp_path: Path) -> None:
    text = '{"schema": "braintumor.test/1", "parts": [{"name": "a", "ratio": 1, "new": {}}], "ends": {}, "more": 1}'
    assert read_document(written(tmp_path, text), {SCHEMA: Whole}, REMEDY).parts == (Part("a", 1.0),)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            {"parts": [{"name": "a", "ratio": 1}, {"name": 5, "ratio": 1}]},
            r"'str', got 'int' - at '\$.parts\[1\].name'",
        ),
        ({"parts": [{"name": "a", "ratio": 0}]}, r"'float' > 0.0 - at '\$.parts\[0\].ratio'"),
        ({"parts": [{"name": "a", "ratio": 1, "count": -1}]}, r"'int' >= 0 - at '\$.parts\[0\].count'"),
        ({"parts": [{"name": "a"}]}, r"missing required field 'ratio' - at '\$.parts\[0\]'"),
        ({"parts": []}, "there must be a part"),
        ({"ends": {"x": [0]}}, r"'array' of length 2.* - at '\$.ends\[...\]'"),
    ],
)
def test_read_document_names_place_of_misfit_in_one_line(
    damage: dict[str, object], message: str, tmp_path: Path
) -> None:
    file = written(tmp_path, json.dumps({**encode(WHOLE), **damage}))
    with pytest.raises(IntegrityError, match=message) as caught:
        read_document(file, {SCHEMA: Whole}, REMEDY)
    assert str(file) in str(caught.value)
    assert str(caught.value).endswith(REMEDY)
    assert "\n" not in str(caught.value)
    with pytest.raises(IntegrityError, match=message):
        decode({**encode(WHOLE), **damage}, Whole)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 5}', '{"schema": "braintumor.test/1", "x": NaN}', '"\xff"']
)
def test_read_document_refuses_what_is_not_json(text: str, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(IntegrityError, match=REMEDY):
        read_document(tmp_path / "file.json", {SCHEMA: Whole}, REMEDY)
    with pytest.raises(IntegrityError, match=REMEDY):
        read_document(tmp_path, {SCHEMA: Whole}, REMEDY)


def test_read_document_refuses_other_schema(tmp_path: Path) -> None:
    for text, named in (('{"schema": "x/1"}', "'x/1'"), ("{}", "'none'")):
        with pytest.raises(IntegrityError, match=f"is of schema {named}, not {SCHEMA}; {REMEDY}"):
            read_document(written(tmp_path, text), {SCHEMA: Whole}, REMEDY)


def test_read_document_of_missing_file_is_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"missing is not there; {REMEDY}"):
        read_document(tmp_path / "missing", {SCHEMA: Whole}, REMEDY)
