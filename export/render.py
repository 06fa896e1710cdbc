"""Text of `bt-export`: exported members, agreement, reproductions, the summary."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from braintumor.export.origin import origin_lines

if TYPE_CHECKING:
    from braintumor.export.verify.reproduce import Reproduction
    from braintumor.runtime.bundle.load import Bundle
    from braintumor.runtime.cascade import Cascade

__all__ = ["agreement", "gain_line", "member_lines", "reproduction_line", "summary_line"]

# At these, a label may differ where Keras itself has a small margin.
_CLEAR_ONLY: Final = ("bf16", "int8")


def member_lines(entry: Mapping[str, Any]) -> list[str]:
    """A member that was exported.

    Args:
        entry: Its entry in `bundle.json`.
    """
    added = "sigmoid" if entry["source"].get("unit") else "softmax"
    softmax = f", ends in logits, {added} added" if entry["softmax_added"] else ""
    size, nodes = f"{entry['height']}x{entry['width']}", entry["nodes"]["simplified"]
    lines = [f"{entry['name']}: {entry['precision']}, {size} pixels, nodes {nodes}{softmax}, {agreement(entry)}"]
    if not entry["parity"]["against_keras"]:
        lines.append(
            f"  not verified against Keras: {entry['parity']['missing']}; later: bt-export `verified=BUNDLE`"
        )
    if entry["route"]["reason"]:
        lines.append(f"  converted by Keras and tf2onnx: {entry['route']['reason']}")
    lines += [f"  {line}" for line in origin_lines(entry)]
    if "mixed" in entry:
        lines.append(f"  {'int8' if entry['mixed']['int8'] else 'not int8'}: {entry['mixed']['reason']}")
    if entry["quantisation"]:
        lines += [f"  {line}" for line in _quantisation_lines(entry["quantisation"])]
    return lines


def agreement(entry: Mapping[str, Any]) -> str:
    """The distance of a member from its reference."""
    parity = entry["parity"]
    by_batch = parity["by_batch"].values()
    largest = max(figures["max_abs_difference"] for figures in by_batch)
    count = max(figures["images"] for figures in by_batch)
    kind = "phantoms" if parity["images"] == "phantoms" else "images"
    reference = "Keras" if parity["against_keras"] else "its own FP32 graph"
    clear = "clear " if entry["precision"] in _CLEAR_ONLY else ""
    return f"answers {count} {kind} as {reference} does (max |dp| {largest:.1e}, no {clear}label differs)"


def reproduction_line(reproduction: "Reproduction") -> str:
    """A member that was exported again."""
    state = f"{', '.join(reproduction.different)} differs" if reproduction.different else "the same"
    tools = ", ".join(
        f"{change.tool} {change.then}, here {change.now or 'not installed'}" for change in reproduction.tools
    )
    return f"{reproduction.member}: {state}" + (f"; made with {tools}" if tools else "")


def summary_line(folder: Path, bundle: "Bundle", replaced: str | None) -> str:
    """The bundle that was written, and the one that it replaced."""
    megabytes = sum(member.details["size_bytes"] for member in bundle.members) / 1e6
    names = " + ".join(member.name for member in bundle.members)
    replacement = f"; replaced {folder} ({replaced})" if replaced else ""
    line = f"{folder}: {names}, {bundle.precision}, {megabytes:.1f} MB, sha256 {bundle.sha256[:12]}{replacement}"
    return line if bundle.cascade is None else f"{line}\n  {_cascade_line(bundle.cascade)}"


def _cascade_line(cascade: "Cascade") -> str:
    """The threshold of a cascade, and what it was chosen on."""
    return (
        f"cascade: {' then '.join(cascade.order)}, sure from {cascade.threshold:.4f}; on {cascade.images} validation "
        f"images {cascade.members_run_mean:.2f} of {len(cascade.order)} models ran and {cascade.labels_differing} "
        f"labels differ: with {cascade.confidence:.0%} confidence fewer than {cascade.risk:.2%} do"
    )


def gain_line(quantisation: Mapping[str, Any]) -> str | None:
    """A warning that int8 gains little, where most of a member has to stay float; None otherwise."""
    nodes = {entry["group"]: int(entry["nodes"]) for entry in quantisation["ranking"]}
    in_float = sum(nodes.get(group, 0) for group in quantisation["float_groups"])
    if 2 * in_float <= sum(nodes.values()):
        return None
    return (
        f"{in_float} of its {sum(nodes.values())} weighted nodes stay float to keep its decisions: hardly faster "
        f"than {quantisation['rest']}; `precision=mixed` takes int8 only where it was measured to be faster"
    )


def _quantisation_lines(quantisation: Mapping[str, Any]) -> list[str]:
    """The search: naive against searched on the validation images, and the groups by the damage they do."""
    in_float = ", ".join(quantisation["float_groups"]) or "nothing"
    naive, searched, vote = quantisation["naive"], quantisation["searched"], quantisation["vote"]
    ranking = ", ".join(f"{entry['group']} {entry['divergence_nats']:.1e}" for entry in quantisation["ranking"][:4])
    calibration = quantisation["calibration"]["images"]
    method = (
        f"int8 by {quantisation['method']} on {calibration} training images; float stays {in_float}; float precision "
        f"{quantisation['rest']}"
    )
    search = (
        f"{searched['images']} validation images: naive {naive['flips']} labels differ from FP32 "
        f"({naive['accuracy']:.2%} right), searched {searched['flips']} ({searched['accuracy']:.2%}), FP32 "
        f"{searched['accuracy_fp32']:.2%}; in the vote of {' + '.join(quantisation['members'])} {vote['flips']} "
        f"({vote['accuracy']:.2%}, FP32 {vote['accuracy_fp32']:.2%})"
    )
    lines = [method, search, f"most sensitive, in nats: {ranking}"]
    gain = gain_line(quantisation)
    return lines if gain is None else [*lines, gain]
