"""Lines of text about the bundle that answered: its verdict, and cautions."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import click

from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.bundle.starter import is_starter
from braintumor.runtime.current_verdict import current_verdict

__all__ = ["caution_lines", "table_verdict_lines", "verdict_caution", "verdict_line"]


# Their line has the reason.
_WITH_REASON: Final = frozenset({"refused", "not shown"})


def verdict_line(acceptance: Mapping[str, Any]) -> str:
    """The verdict that a bundle carries, in one line."""
    images = acceptance["images"]
    line = (
        f"verdict {acceptance['status']} on {acceptance['engine']}: {100 * acceptance['correct'] / images:.2f} % of "
        f"{images} images right, {acceptance['flips']} labels differ from {acceptance['reference']}"
    )
    return line if acceptance["status"] == "accepted" else click.style(f"{line}; {acceptance['reason']}", fg="red")


def verdict_caution(bundle: Bundle, engine: Mapping[str, str]) -> str:
    """What is to be said where a bundle answers that is not accepted on the engine; empty for nothing.

    Nothing is said about the models that come with the package, which no user could have judged.

    Args:
        bundle: That answers.
        engine: Its name and version, as in a prediction.
    """
    verdict = current_verdict(bundle, engine)
    if verdict.status == "accepted" or (verdict.status == "not judged" and is_starter(bundle)):
        return ""
    if verdict.status in _WITH_REASON:
        return verdict.text
    chosen = f" --engine {engine['name']}" if engine else ""
    return f"{verdict.text}; judge it with: bt-bench accuracy {_typed(bundle.folder)} --data IMAGES{chosen}"


def _typed(folder: Path) -> str:
    """A folder as one would type it here."""
    here = Path.cwd()
    return shlex.quote(str(folder.relative_to(here) if folder.is_relative_to(here) else folder))


def table_verdict_lines(bundle: Bundle, engine: Mapping[str, str]) -> Iterator[str]:
    """The verdict on the bundle that answered, in colour: one line, or two where it does not hold for the engine."""
    if bundle.acceptance is not None:
        yield verdict_line(bundle.acceptance)
    elif is_starter(bundle):
        yield click.style("the models that come with the package; not judged here", dim=True)
    if (caution := verdict_caution(bundle, engine)) and current_verdict(bundle, engine).status not in _WITH_REASON:
        yield click.style(caution, fg="yellow")


def caution_lines(bundle: Bundle) -> Iterator[str]:
    """An unsigned verdict, and what its export left out: parity with Keras, class orders that nobody stated."""
    if bundle.signature is not None and bundle.signature.unsigned_verdict:
        yield (
            "its verdict is not signed, and was left out; whoever has the private key signs it with: "
            f"bt-bundle sign {shlex.quote(str(bundle.folder))} --key KEY"
        )
    if bundle.unverified:
        yield (
            f"not verified against Keras: {', '.join(bundle.unverified)}; where Keras is installed, "
            f"bt-export --verify {shlex.quote(str(bundle.folder))} does it"
        )
    for member in bundle.members:
        if member.name in bundle.assumed:
            order = ", ".join(member.details["source"]["classes"])
            yield f"{member.name}: class order assumed, not stated: {order}"
