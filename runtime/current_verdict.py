"""The verdict that a bundle carries, beside the engine that answers now: it holds for the engine that was judged."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from braintumor.errors import UsageError, VerdictError
from braintumor.runtime.bundle.load import Bundle

__all__ = ["REQUIREMENTS", "CurrentVerdict", "Requirement", "check_requirement", "current_verdict"]

Requirement = Literal["accepted"]
"""What a verdict must be for a bundle to answer."""

REQUIREMENTS: Final[tuple[Requirement, ...]] = get_args(Requirement)

_OTHER: Final = "use another bundle, or export it again with other options"


@dataclass(frozen=True, slots=True)
class CurrentVerdict:
    """A verdict, as far as it holds now.

    Attributes:
        status: "accepted" or "refused"; "not shown" where too few images were judged; "stale" for a bundle that was
            accepted on another engine, or another version of its library; "not judged" for one without a verdict.
        judged_on: The engine and the version of its library that were judged, such as "onnxruntime-cpu (onnxruntime
            1.32.0)"; None where nothing was.
        text: What is to be said about it; empty for "accepted".
    """

    status: Literal["accepted", "refused", "not shown", "stale", "not judged"]
    judged_on: str | None = None
    text: str = ""


def current_verdict(bundle: Bundle, engine: Mapping[str, str]) -> CurrentVerdict:
    """The verdict on a bundle, as far as it holds for an engine.

    Args:
        bundle: With a verdict or without.
        engine: Name and version of what answers, as in a prediction; empty where nothing was loaded yet: then no
            verdict is stale.
    """
    verdict = bundle.acceptance
    if verdict is None:
        return CurrentVerdict("not judged", None, f"the bundle {bundle.name!r} was never judged by bt-bench accuracy")
    name, version = verdict["engine"], verdict.get("engine_version")
    judged_on = f"{name} ({version})" if isinstance(version, str) and version.isprintable() else name
    if verdict["status"] == "refused":
        text = f"bt-bench accuracy refused the bundle {bundle.name!r}: {verdict['reason']}"
        return CurrentVerdict("refused", judged_on, text)
    if verdict["status"] == "not shown":
        text = f"too few images were judged to accept the bundle {bundle.name!r}: {verdict['reason']}"
        return CurrentVerdict("not shown", judged_on, text)
    # Verdicts of the first versions lack the library's version.
    if engine and (name, version or engine["version"]) != (engine["name"], engine["version"]):
        text = (
            f"the bundle {bundle.name!r} was accepted on {judged_on}, and {engine['name']} ({engine['version']}) "
            "answers now"
        )
        return CurrentVerdict("stale", judged_on, text)
    return CurrentVerdict("accepted", judged_on)


def check_requirement(require: str | None, bundle: Bundle, engine: Mapping[str, str]) -> None:
    """Refuse a bundle whose verdict is not the required one.

    Args:
        require: "accepted"; None for any bundle.
        bundle: With a verdict or without.
        engine: As for `current_verdict`.

    Raises:
        VerdictError: It was refused or never judged, or was accepted on another engine or version.
        UsageError: Nothing that can be required.
    """
    if require is None:
        return
    if require not in REQUIREMENTS:
        raise UsageError(f"`require` is {require!r}; allowed are {', '.join(REQUIREMENTS)}", "leave it out for any")
    verdict = current_verdict(bundle, engine)
    if verdict.status == require:
        return
    judge = f"judge it with: bt-bench accuracy {shlex.quote(str(bundle.folder))}"
    if engine:
        judge += f" `engine='{engine['name']}'`"
    if verdict.status == "stale" and bundle.acceptance is not None and bundle.acceptance["engine"] != engine["name"]:
        judge = f"use `engine='{bundle.acceptance['engine']}'`, or {judge}"
    raise VerdictError(f"{verdict.text}; required is {require!r}", judge if verdict.status != "refused" else _OTHER)
