"""What a person should know of the bundle that answered, as lines of text."""

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
    """What was taken for granted at its export: parity with Keras, and class orders that nobody stated."""
    if bundle.unverified:
        yield (
            f"not verified against Keras: {', '.join(bundle.unverified)}; where Keras is installed, "
            "bt-export --verify BUNDLE does it"
        )
    for member in bundle.members:
        if member.name in bundle.assumed:
            order = ", ".join(member.details["source"]["classes"])
            yield f"{member.name}: class order assumed, not stated: {order}"
