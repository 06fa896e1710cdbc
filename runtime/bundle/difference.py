"""What differs between two bundles."""

from collections.abc import Iterator
from dataclasses import dataclass

from braintumor.runtime.bundle.load import Bundle, Member
from braintumor.runtime.bundle.summary import summarise

__all__ = ["Difference", "differences"]

_NONE = "none"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that two bundles do not share.

    Attributes:
        what: What it is, as "DenseNet121: precision".
        first: Of the first bundle; "none" where it has none.
        second: Of the second bundle.
    """

    what: str
    first: str
    second: str


def differences(first: Bundle, second: Bundle) -> tuple[Difference, ...]:
    """Compare two bundles: what answers first, then what is said about it.

    Returns:
        Empty for two bundles of the same identity, verdict and signature.
    """
    listed = [*_between(_facts(first), _facts(second)), *_members(first, second)]
    if not listed and first.sha256 != second.sha256:
        listed = [Difference("fields of bundle.json that decide nothing known here", first.sha256, second.sha256)]
    return (*listed, *_between(_about(first), _about(second)))


def _between(first: dict[str, str], second: dict[str, str], where: str = "") -> Iterator[Difference]:
    for name in dict.fromkeys((*first, *second)):
        values = first.get(name, _NONE), second.get(name, _NONE)
        if values[0] != values[1]:
            yield Difference(f"{where}{name}", *values)


def _members(first: Bundle, second: Bundle) -> Iterator[Difference]:
    ours, theirs = ({member.name: member for member in bundle.members} for bundle in (first, second))
    for name in dict.fromkeys((*ours, *theirs)):
        if name in ours and name in theirs:
            yield from _between(_member_facts(ours[name]), _member_facts(theirs[name]), f"{name}: ")
        else:
            here = "a member"
            yield Difference(name, here if name in ours else _NONE, here if name in theirs else _NONE)
    if set(ours) == set(theirs) and list(ours) != list(theirs):
        yield Difference("order of the members", ", ".join(ours), ", ".join(theirs))


def _facts(bundle: Bundle) -> dict[str, str]:
    """What decides the answers of a bundle besides its members."""
    cascade = bundle.cascade
    return {
        "name": bundle.name,
        "classes": ", ".join(bundle.classes),
        "temperature of the vote": f"{bundle.temperature:g}",
        "decoding of images": str(bundle.details["decode_version"]),
        "cascade": _NONE
        if cascade is None
        else f"{' > '.join(cascade.order)} at {cascade.threshold:.4g}, risk {cascade.risk:.2%}",
    }


def _member_facts(member: Member) -> dict[str, str]:
    details, source = member.details, member.details["source"]
    quantisation = details.get("quantisation") or {}
    tools = {f"exported with {tool}": str(version) for tool, version in sorted(details["tools"].items())}
    return {
        "precision": member.precision,
        "precision of what is not quantised": member.float_precision,
        "weight in the vote": f"{member.weight:g}",
        "input": f"{member.height}x{member.width} pixels, crop {member.crop}, resize {member.resize}",
        "Keras file": _short(source.get("sha256")),
        "scaling of the pixels": str(source.get("preprocess", _NONE)),
        "order of the model's classes": ", ".join(source.get("classes", ())) or _NONE,
        "INT8 plan": _short(quantisation.get("plan_sha256")),
        **tools,
        "ONNX file": _short(member.sha256),
    }


def _about(bundle: Bundle) -> dict[str, str]:
    """What is said about a bundle; its identity stays without."""
    summary = summarise(bundle)
    verdict, signature = summary.verdict, summary.signature
    return {
        "verdict": _NONE
        if verdict is None
        else f"{verdict['status']} on {verdict['engine']}, {verdict['correct']} of {verdict['images']} images right",
        "signature": _NONE if signature is None else f"by the key {_short(signature.key_sha256)}",
    }


def _short(sha256: object) -> str:
    return f"{sha256:.12}" if isinstance(sha256, str) else _NONE
