"""Which bundle of ./bundles answers where none is named: by verdict and date, and never a refused one."""

import datetime as dt
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from braintumor.errors import UsageError
from braintumor.runtime.bundle.acceptance import EXPORTED, identity, manifest_text, write_acceptance
from braintumor.runtime.bundle.folder import SIGNATURE
from braintumor.runtime.bundle.load import MANIFEST, load_bundle
from braintumor.runtime.inputs import choose_bundle, find_bundle
from tests.support.bundles import forge_bundle

VERDICT = {
    "reason": "3 of 703 labels flip",
    "engine": "onnxruntime-cpu",
    "reference": "keras",
    "images": 703,
    "correct": 690,
    "flips": 3,
}
Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a bundle into ./bundles: with this verdict, exported, judged and written on these days of a month."""
    monkeypatch.chdir(tmp_path)

    def make(
        name: str, status: str | None = None, *, day: int | None = None, verdict: int | None = None, file: int = 1
    ) -> Path:
        folder = forge_bundle(Path("bundles") / name, {"m": b"no model"}, side=16, weights=[1.0])
        manifest = folder / MANIFEST
        details = json.loads(manifest.read_text())
        if day is not None:
            details[EXPORTED] = f"2026-01-{day:02}T00:00:00.000+00:00"
        manifest.write_text(manifest_text(details))
        if status is not None:
            date = {} if verdict is None else {"created_utc": f"2026-01-{verdict:02}T00:00:00+00:00"}
            write_acceptance(manifest, details, {**VERDICT, **date, "status": status})
        at = dt.datetime(2026, 1, file, tzinfo=dt.UTC).timestamp()
        os.utime(manifest, (at, at))
        return folder

    return make


@pytest.mark.parametrize(
    ("bundles", "chosen"),
    [
        # Without a refused one, whose file is the newest and whose export is the last.
        ({"good": {"status": "accepted"}, "bad": {"status": "refused", "day": 9, "file": 9}}, "good"),
        ({"plain": {}, "bad": {"status": "refused", "day": 9, "file": 9}}, "plain"),
        # A verdict counts more than any date.
        ({"good": {"status": "accepted", "day": 1}, "plain": {"day": 9, "file": 9}}, "good"),
        ({"few": {"status": "not shown"}, "plain": {"day": 9, "file": 9}}, "few"),
        # The date of the export counts more than that of the file, which judging and copying change.
        ({"a": {"day": 1, "file": 9}, "b": {"day": 2, "file": 1}}, "b"),
        ({"a": {"status": "accepted", "day": 1, "verdict": 9}, "b": {"status": "accepted", "day": 2}}, "b"),
        # Older bundles: the date of the verdict, else that of the file, else the name.
        ({"a": {"status": "accepted", "verdict": 3}, "b": {"status": "accepted", "verdict": 2, "file": 9}}, "a"),
        ({"a": {"file": 2}, "b": {"file": 1}}, "a"),
        ({"a": {}, "b": {}}, "b"),
    ],
)
def test_find_bundle_takes_the_accepted_then_the_last(
    put: Put, bundles: Mapping[str, Mapping[str, Any]], chosen: str
) -> None:
    for name, options in bundles.items():
        put(name, **options)
    notes: list[str] = []
    assert find_bundle(None, notes.append) == Path("bundles") / chosen
    (note,) = notes
    assert note.startswith(f"using {Path('bundles') / chosen}: ")
    for name, options in bundles.items():
        assert name in note
        assert options.get("status", "not judged") in note


def test_find_bundle_says_nothing_about_the_only_one(put: Put) -> None:
    put("only")
    notes: list[str] = []
    assert find_bundle(None, notes.append) == Path("bundles/only")
    assert notes == []


def test_find_bundle_refuses_where_all_were_refused(put: Put) -> None:
    bad = put("bad", "refused")
    with pytest.raises(UsageError, match="holds only bundles that bt-bench accuracy refused: bad") as refused:
        find_bundle(None)
    assert f"`bundle='{bad}'`" in refused.value.remedy
    assert choose_bundle(str(bad)) == bad


def test_find_bundle_prefers_what_can_be_read(put: Put) -> None:
    put("whole")
    forged = put("forged", "refused", file=9)
    text = (forged / MANIFEST).read_text()
    (forged / MANIFEST).write_text(text.replace('"weight": 1.0', '"weight": 2.0').replace('"refused"', '"accepted"'))
    put("cut", file=9)
    Path("bundles/cut/bundle.json").write_text("{")
    assert find_bundle(None) == Path("bundles/whole")


def test_find_bundle_knows_the_verdict_beside_a_signed_bundle(put: Put) -> None:
    put("plain")
    signed = put("signed", file=9)
    (signed / SIGNATURE).touch()
    write_acceptance(signed / MANIFEST, json.loads((signed / MANIFEST).read_text()), {**VERDICT, "status": "refused"})
    assert (signed / "verdict.json").is_file()
    assert find_bundle(None) == Path("bundles/plain")


def test_export_records_its_time_beside_the_identity(single: Path) -> None:
    raw = (single / MANIFEST).read_bytes()
    details = json.loads(raw)
    exported = dt.datetime.fromisoformat(details[EXPORTED])
    assert dt.timedelta(0) <= dt.datetime.now(dt.UTC) - exported < dt.timedelta(days=1)
    later = {**details, EXPORTED: "2030-01-01T00:00:00.000+00:00"}
    assert identity(b"", later) == identity(raw, details) == load_bundle(single).sha256
