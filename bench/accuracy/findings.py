"""What a verdict rests on: findings, and those about members that a fitting reference hides.

A reference that is the original of a member gets the same pixels and the same class names: it agrees with a member
whose names are swapped, and with one whose pixels are scaled wrongly. Only the truth tells.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from braintumor.bench.accuracy.class_advice import better_order, classes_option, order_of_outputs
from braintumor.bench.accuracy.scalings import Scaling, chance, is_chance
from braintumor.bench.metrics.classification import Scores

__all__ = ["Finding", "chance_findings", "class_findings", "lost_members"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: Its name, such as "non-inferiority".
        passed: Whether it is as it must be.
        text: What was found, in a sentence.
    """

    check: str
    passed: bool
    text: str


def class_findings(
    members: Mapping[str, Scores], classes: Sequence[str], sources: Mapping[str, Sequence[str]]
) -> Iterator[Finding]:
    """Whether answers fit the truth far better when their classes are renamed: then their order is wrong.

    Args:
        members: Scores by name.
        classes: Names, in the order of the scores.
        sources: By name, the class names that were given at the export, in the order of the model's outputs.
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
    """Names of the members that are right no more often than chance, and not because of swapped classes."""
    return [name for name, scores in members.items() if is_chance(scores) and not better_order(scores, classes)]


def chance_findings(
    members: Mapping[str, Scores], classes: Sequence[str], scalings: Mapping[str, Scaling | None] | None
) -> Iterator[Finding]:
    """Whether there is anything that could be kept.

    Args:
        members: Scores by name.
        classes: Names, in the order of the scores.
        scalings: By name of a lost member, what other scaling suits it; None where none was tried.
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


def _scaling_advice(tried: Mapping[str, Scaling | None] | None, name: str) -> str:
    if tried is None:
        return "was it exported with the --preprocess of its training? --reference keras tries the others"
    if (better := tried.get(name)) is None:
        return "no other --preprocess makes it better: are these the images, sizes and classes of its training?"
    return f"with --preprocess {better.preprocess} {100 * better.accuracy:.0f} %: export it again with that"
