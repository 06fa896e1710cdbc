"""A bundle is read only when it is what it says it is; everything else is an IntegrityError that helps."""

import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper

from braintumor.errors import IntegrityError, UsageError
from braintumor.runtime.bundle.checksum import with_checksum
from braintumor.runtime.bundle.load import MANIFEST, load_bundle
from braintumor.runtime.inputs import choose_bundle

Change = Callable[[dict[str, Any]], object]
MODEL = "a/model.onnx"


def rewritten(bundle: Path, change: Change) -> Path:
    path = bundle / MANIFEST
    manifest = json.loads(path.read_bytes())
    change(manifest)
    path.write_text(json.dumps(with_checksum(manifest)))
    return bundle


def forged(bundle: Path) -> Path:
    """Hashes and sizes that fit whatever the files hold now."""

    def fit(manifest: dict[str, Any]) -> None:
        for member in manifest["members"]:
            raw = (bundle / member["file"]).read_bytes()
            member.update(sha256=hashlib.sha256(raw).hexdigest(), size_bytes=len(raw))

    return rewritten(bundle, fit)


def refusal(bundle: Path) -> str:
    with pytest.raises(IntegrityError) as caught:
        load_bundle(bundle)
    message = str(caught.value)
    assert "\n" not in message
    assert str(bundle) in message
    assert caught.value.exit_code == 4
    return message


def member(**fields: Any) -> Change:
    return lambda manifest: manifest["members"][0].update(fields)


def whole(**fields: Any) -> Change:
    return lambda manifest: manifest.update(fields)


def lacking(field: str, *, of_member: bool = False) -> Change:
    return lambda manifest: (manifest["members"][0] if of_member else manifest).pop(field)


def test_load_bundle_gives_what_was_exported(single: Path) -> None:
    bundle = load_bundle(single)
    assert (bundle.name, bundle.precision, len(bundle.members)) == ("single", "fp32", 1)
    assert re.fullmatch(r"[0-9a-f]{64}", bundle.sha256)
    only = bundle.members[0]
    assert (only.name, only.weight, only.height, only.width, only.resize) == ("a", 1.0, 32, 32, "antialias")
    assert only.path == single / MODEL
    assert only.details["parity"]["by_batch"]


def test_load_bundle_keeps_order_weights_and_sizes_of_members(three: Path) -> None:
    members = load_bundle(three).members
    assert [(m.name, m.weight, m.height, m.width) for m in members] == [
        ("a", 1.0, 32, 32),
        ("b", 2.0, 48, 40),
        ("c", 3.0, 40, 56),
    ]


def test_load_bundle_gives_a_moved_bundle_the_same_identity(single: Path, copied: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(copied, tmp_path / "elsewhere bündel"))
    assert load_bundle(moved).sha256 == load_bundle(single).sha256


def test_load_bundle_makes_the_folder_absolute(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied.parent)
    assert load_bundle(copied.name).members[0].path == copied / MODEL


def test_bundle_precision_is_mixed_for_two_precisions(handmade: Any, graph: Any) -> None:
    bundle = handmade(graph(), graph())
    rewritten(bundle, member(precision="fp16"))
    assert load_bundle(bundle).precision == "mixed"


def test_load_bundle_keeps_fields_of_a_newer_writer(copied: Path) -> None:
    def extend(manifest: dict[str, Any]) -> None:
        manifest["new"] = {"deep": [1, None]}
        manifest["members"][0]["new"] = "x"

    bundle = load_bundle(rewritten(copied, extend))
    assert bundle.details["new"] == {"deep": [1, None]}
    assert bundle.members[0].details["new"] == "x"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (whole(schema="braintumor.bundle/2"), ["'braintumor.bundle/2'", "'braintumor.bundle/1'", "bt-export"]),
        (lacking("schema"), ["None", "bt-export"]),
        (lacking("name"), ["'name'"]),
        (lacking("sha256", of_member=True), ["member 1", "'sha256'"]),
        (whole(name=5), ["'name' is int, not str"]),
        (whole(name=" "), ["empty or not printable"]),
        (whole(name="a\x1b[2J"), ["not printable"]),
        (whole(classes=["a", "b", "c"]), ["rows of 3 values"]),
        (whole(classes=["a"]), ["2 to 1000 different names"]),
        (whole(classes=["a", "b", "c", "c"]), ["2 to 1000 different names"]),
        (whole(classes=["a", "b", "c", {}]), ["2 to 1000 different names"]),
        (whole(classes=["a", "b", "c", "d\n"]), ["not printable"]),
        (whole(classes="abcd"), ["'classes' is str"]),
        (whole(decode_version="braintumor.decode/99"), ["braintumor.decode/99", "export the bundle again"]),
        (whole(fusion="majority"), ["'majority'", "'soft-vote'"]),
        (whole(members=[]), ["lists no member"]),
        (whole(members=[3]), ["member 1 is int"]),
        (whole(members={"a": 1}), ["'members' is dict"]),
        (member(weight=0), ["weight 0 "]),
        (member(weight=-1.5), ["weight -1.5"]),
        (member(weight=math.nan), ["weight nan"]),
        (member(weight=math.inf), ["weight inf"]),
        (member(weight=10**400), ["not a finite number"]),
        (member(weight="1"), ["'weight' is str"]),
        (member(weight=True), ["'weight' is bool"]),
        (member(height=0), ["height 0"]),
        (member(width=100_000), ["width 100000", "4096"]),
        (member(height=32.0), ["'height' is float"]),
        (member(resize="area"), ["'area'", "antialias, tf-bilinear"]),
        (member(precision="int4"), ["'int4'", "fp32, fp16"]),
        (member(sha256="A" * 64), ["64 hexadecimal digits"]),
        (member(sha256="0" * 63), ["64 hexadecimal digits"]),
        (member(file="../model.onnx"), ["leaves the bundle"]),
        (member(file="a/../a/model.onnx"), ["leaves the bundle"]),
        (member(file="/etc/passwd"), ["leaves the bundle"]),
        (member(file="a\\model.onnx"), ["leaves the bundle"]),
        (member(file="C:model.onnx"), ["leaves the bundle"]),
        (member(file="a/model\0.onnx"), ["leaves the bundle"]),
        (member(file="a/\ud800.onnx"), ["leaves the bundle"]),
        (member(file=""), ["leaves the bundle"]),
        (member(file="./a/model.onnx"), ["plain form"]),
        (member(file="a//model.onnx"), ["plain form"]),
        (member(file=MANIFEST), ["lacks bundle.json"]),
        (member(size_bytes=7), [" bytes", "says 7", "bt-export"]),
        (member(size_bytes=-1), ["says -1"]),
        (member(sha256="0" * 64), ["SHA-256", "0000000000000000", "bt-export"]),
        (lambda manifest: manifest["members"].append(manifest["members"][0]), ["name a is listed twice"]),
        (
            lambda manifest: manifest["members"].append({**manifest["members"][0], "name": "b"}),
            [f"file {MODEL} is listed twice"],
        ),
    ],
)
def test_load_bundle_names_each_fault_of_the_manifest(copied: Path, change: Change, words: list[str]) -> None:
    message = refusal(rewritten(copied, change))
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("old", "new"),
    [("pituitary", "pituitery"), ('"weight": 1.0', '"weight": 2.0'), ('"single"', '"double"'), ("fp32", "fp16")],
)
def test_load_bundle_refuses_one_change_in_the_manifest(copied: Path, old: str, new: str) -> None:
    text = (copied / MANIFEST).read_text()
    assert old in text
    (copied / MANIFEST).write_text(text.replace(old, new, 1))
    message = refusal(copied)
    assert "does not match its own checksum" in message


def test_load_bundle_reads_another_layout_and_no_checksum(copied: Path) -> None:
    manifest = json.loads((copied / MANIFEST).read_bytes())
    (copied / MANIFEST).write_text(json.dumps(manifest, indent=4, sort_keys=True))
    assert load_bundle(copied).name == "single"
    del manifest["checksum"]
    (copied / MANIFEST).write_text(json.dumps(manifest))
    assert load_bundle(copied).name == "single"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"\xff\xfe\x00",
        b"PK\x03\x04",
        b"[" * 200_000,
        b'{"a":' * 100_000,
        b'{"schema": ' + b"9" * 5000 + b"}",
    ],
    ids=["empty", "cut", "binary", "zip", "nested-lists", "nested-objects", "huge-number"],
)
def test_load_bundle_refuses_a_manifest_that_is_not_json(copied: Path, raw: bytes) -> None:
    (copied / MANIFEST).write_bytes(raw)
    assert "is not JSON" in refusal(copied)


@pytest.mark.parametrize("raw", [b"[]", b"null", b'"braintumor.bundle/1"'])
def test_load_bundle_refuses_json_that_is_not_an_object(copied: Path, raw: bytes) -> None:
    (copied / MANIFEST).write_bytes(raw)
    assert "schema None" in refusal(copied)


def test_load_bundle_refuses_a_huge_manifest(copied: Path) -> None:
    with (copied / MANIFEST).open("r+b") as stream:
        stream.truncate(1 << 33)  # sparse
    assert "8589934592 bytes; must be <= 4194304" in refusal(copied)


def test_load_bundle_refuses_missing_file(copied: Path) -> None:
    (copied / MODEL).unlink()
    assert f"lacks {MODEL}" in refusal(copied)


@pytest.mark.parametrize("name", ["notes.txt", "a/weights.bin", ".hidden", "deep/er/x"])
def test_load_bundle_refuses_unlisted_file(copied: Path, name: str) -> None:
    (copied / name).parent.mkdir(parents=True, exist_ok=True)
    (copied / name).touch()
    message = refusal(copied)
    assert f"holds {name}" in message
    assert "remove it" in message


@pytest.mark.parametrize("at", [0, 1000, -1])
def test_load_bundle_refuses_one_flipped_bit(copied: Path, at: int) -> None:
    raw = bytearray((copied / MODEL).read_bytes())
    raw[at] ^= 1
    (copied / MODEL).write_bytes(raw)
    assert "SHA-256" in refusal(copied)


def test_load_bundle_refuses_a_cut_file(copied: Path) -> None:
    raw = (copied / MODEL).read_bytes()
    (copied / MODEL).write_bytes(raw[:-1])
    assert f"{len(raw) - 1} bytes" in refusal(copied)


def test_load_bundle_checks_the_hash_before_parsing(copied: Path) -> None:
    size = (copied / MODEL).stat().st_size
    (copied / MODEL).write_bytes(b"\xff" * size)
    message = refusal(copied)
    assert "SHA-256" in message
    assert "not a readable ONNX" not in message


@pytest.mark.parametrize("raw", [b"", b"\xff" * 100, b"\x3a\x05\x0a\x03\x2a\x01\xff", b"GIF89a not a model"])
def test_load_bundle_refuses_garbage_under_a_matching_hash(copied: Path, raw: bytes) -> None:
    (copied / MODEL).write_bytes(raw)
    assert "not a readable ONNX file" in refusal(forged(copied))


@pytest.mark.parametrize("what", [MANIFEST, MODEL, "a"])
def test_load_bundle_refuses_links(copied: Path, tmp_path: Path, what: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.move(copied / what, elsewhere)
    (copied / what).symlink_to(elsewhere)
    message = refusal(copied)
    assert "is a link" in message
    assert "copy the bundle" in message


def test_load_bundle_takes_a_link_to_the_folder(copied: Path, tmp_path: Path) -> None:
    (tmp_path / "latest").symlink_to(copied)
    assert load_bundle(tmp_path / "latest").name == "single"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.parametrize("what", ["pipe", MODEL, MANIFEST])
def test_load_bundle_refuses_a_pipe_without_waiting(copied: Path, what: str) -> None:
    (copied / what).unlink(missing_ok=True)
    os.mkfifo(copied / what)
    refusal(copied)


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_choose_bundle_gives_the_command_that_makes_one(tmp_path: Path, what: str) -> None:
    place = tmp_path / what
    if what == "file":
        place.touch()
    if what == "empty":
        place.mkdir()
    message = refusal(place)
    assert "is not a bundle" in message
    assert "bt-export" in message


def external(tensor: onnx.TensorProto) -> onnx.TensorProto:
    """The tensor as ONNX stores one whose values lie in another file."""
    tensor.ClearField("raw_data")
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret.bin")
    return tensor


def floats() -> onnx.TensorProto:
    return helper.make_tensor("w", TensorProto.FLOAT, [2], [1.0, 2.0])


def body_with(node: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph([node], "body", [], [])


def constant(value: onnx.TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["c"], value=value)


def hidden(model: onnx.ModelProto, where: str) -> None:
    tensor = external(floats())
    graph = model.graph
    if where == "initializer":
        graph.initializer.append(tensor)
    elif where == "constant":
        graph.node.append(constant(tensor))
    elif where == "list":
        graph.node.append(helper.make_node("Relu", [], ["c"], values=[floats(), tensor]))
    elif where == "if":
        branches = {"then_branch": body_with(constant(floats())), "else_branch": body_with(constant(tensor))}
        graph.node.append(helper.make_node("If", ["x"], ["c"], **branches))
    elif where == "loop":
        inner = helper.make_node("If", ["x"], ["c"], then_branch=body_with(constant(tensor)))
        graph.node.append(helper.make_node("Loop", ["x"], ["c"], body=body_with(inner)))
    elif where == "graphs":
        graph.node.append(helper.make_node("Relu", [], ["c"], bodies=[body_with(constant(tensor))]))
    elif where == "function":
        opset = [helper.make_opsetid("", 18)]
        model.functions.append(helper.make_function("own", "F", [], ["c"], [constant(tensor)], opset))
    elif where == "sparse":
        indices = helper.make_tensor("i", TensorProto.INT64, [2], [0, 1])
        graph.sparse_initializer.append(helper.make_sparse_tensor(tensor, indices, [4]))
    elif where == "training":
        model.training_info.add().algorithm.initializer.append(tensor)


@pytest.mark.parametrize(
    "where", ["initializer", "constant", "list", "if", "loop", "graphs", "function", "sparse", "training"]
)
def test_load_bundle_refuses_external_data_wherever_it_hides(handmade: Any, graph: Any, where: str) -> None:
    model = graph()
    hidden(model, where)
    # Where it hides in what no bundle may hold, that is the reason.
    reasons = {"if": "'If'", "loop": "'Loop'", "graphs": "control flow", "function": "functions"}
    reasons |= {"sparse": "sparse", "training": "training"}
    assert reasons.get(where, "external data") in refusal(handmade(model))


def test_load_bundle_refuses_external_data_written_by_onnx(copied: Path, tmp_path: Path) -> None:
    model = onnx.load(str(copied / MODEL))
    beside = tmp_path / "saved" / "model.onnx"
    beside.parent.mkdir()
    onnx.save(model, str(beside), save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (beside.parent / "weights.bin").stat().st_size > 0
    shutil.copyfile(beside, copied / MODEL)
    assert "external data" in refusal(forged(copied))


def test_load_bundle_takes_real_exports(three: Path, half: Path) -> None:
    assert len(load_bundle(three).members) == 3
    assert load_bundle(half).precision == "fp16"


def test_load_bundle_points_at_a_bundle_that_a_killed_export_left(copied: Path) -> None:
    # The state between the two renames by which an export replaces a bundle.
    aside = copied.with_name(f".{copied.name}-old-x1y2z3") / "bundle"
    aside.parent.mkdir()
    copied.rename(aside)
    pattern = f"from {re.escape(str(aside))}"
    with pytest.raises(IntegrityError, match=pattern):
        load_bundle(copied)
    with pytest.raises(UsageError, match=pattern):
        choose_bundle(str(copied))
    aside.rename(copied)
    assert choose_bundle(str(copied)) == copied
    assert load_bundle(copied).members
