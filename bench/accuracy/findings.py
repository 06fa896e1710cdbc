"""Findings about members with swapped classes or wrong scaling, which only the true labels show.

The `.keras` file that a member was exported from gets the same pixels and the same class names: as a reference it
agrees with a member whose names are swapped, and with one whose pixels are scaled wrongly.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from braintumor.bench.accuracy.class_advice import better_order, classes_option, order_of_outputs
from braintumor.bench.accuracy.scalings import Scaling, chance, is_chance
from braintumor.bench.metrics.classification import Scores

__all__ = ["Finding", "chance_findings", "class_findings", "lost_members"]


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check.

    Attributes:
        check: Name of the check, such as "non-inferiority".
        passed: Whether it passed.
        text: The outcome, in a sentence.
    """

    check: str
    passed: bool
    text: str


def class_findings(
    members: Mapping[str, Scores], classes: Sequence[str], sources: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Findings on the order of the classes: it is wrong where predictions fit far better with renamed classes.

    Args:
        members: Member → its scores.
        classes: Names, in the order of the scores.
        sources: Member → the class names that were given at the export, in the order of the model's outputs.
    """
    swapped = {name: better for name, scores in members.items() if (better := better_order(scores, classes))}
    if not swapped:
        yield Finding("classes", True, "no member fits the truth better with its classes in another order")
    for name, better in swapped.items():
        order = order_of_outputs(sources.get(name, classes), classes, better)
        yield Finding(
            "classes",
            False,
            f"{name} fits the truth if its outputs are taken as {','.join(order)}: they are swapped; export it again "
            f"with {classes_option(order)}",
        )


def lost_members(members: Mapping[str, Scores], classes: Sequence[str]) -> list[str]:
    """Names of the members that are no better than chance, and not because of swapped classes."""
    return [name for name, scores in members.items() if is_chance(scores) and not better_order(scores, classes)]


def chance_findings(
    members: Mapping[str, Scores], classes: Sequence[str], scalings: Mapping[str, Scaling | None] | None
) -> Iterator[Finding]:
    """Findings on members that are no better than chance.

    Args:
        members: Member → its scores.
        classes: Names, in the order of the scores.
        scalings: Member no better than chance → a better scaling, or None; None where none was tried.
    """
    lost = lost_members(members, classes)
    if not lost:
        yield Finding("chance", True, "no member is right by chance only")
    for name in lost:
        share, by_chance = members[name].accuracy, chance(members[name])
        text = "no better than chance"
        if share > by_chance:
            text = f"not shown to be better than chance, {100 * by_chance:.0f} %"
        advice = _scaling_advice(scalings, name)
        yield Finding("chance", False, f"{name} is right on {100 * share:.0f} % of the images, {text}; {advice}")


def _scaling_advice(scalings: Mapping[str, Scaling | None] | None, name: str) -> str:
    if scalings is None:
        return "was it exported with the --preprocess of its training? --reference keras tries the others"
    if (better := scalings.get(name)) is None:
        return "no other --preprocess makes it better: are these the images, sizes and classes of its training?"
    return f"with --preprocess {better.preprocess} {100 * better.accuracy:.0f} %: export it again with that"
