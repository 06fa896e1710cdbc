"""Lines of text about the bundle that answered: its verdict, and cautions."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

import click

from braintumor.runtime.bundle.load import Bundle

__all__ = ["caution_lines", "verdict_line"]


def verdict_line(acceptance: Mapping[str, Any]) -> str:
    """The verdict that a bundle carries, in one line."""
    images = acceptance["images"]
    line = (
        f"verdict {acceptance['status']} on {acceptance['engine']}: {100 * acceptance['correct'] / images:.2f} % of "
        f"{images} images right, {acceptance['flips']} labels differ from {acceptance['reference']}"
    )
    return line if acceptance["status"] == "accepted" else click.style(f"{line}; {acceptance['reason']}", fg="red")


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
