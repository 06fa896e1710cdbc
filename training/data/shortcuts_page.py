"""The audit of shortcuts as a part of the audit's page."""

from collections.abc import Iterator

from braintumor.bench.metrics.intervals import Share
from braintumor.bench.report.charts import Bar, bar_chart
from braintumor.bench.report.html import Markup, figure, page, paragraph, section, table
from braintumor.training.data.shortcuts import ShortcutAudit

__all__ = ["shortcuts_page", "shortcuts_section"]

_ABOUT = """\
A classifier that has never seen a brain was given one property of the images at a time: how large the file is, how \
wide the black border is, how the file is named. Where it tells the classes apart far better than chance, so can a \
network, without looking at the tumour. Its figures on a test split of the same collection then say little about \
scans from elsewhere. Compare each figure with chance: what one gets by always naming the most frequent class."""


def shortcuts_page(found: ShortcutAudit) -> str:
    """A page of its own, for a folder of classes."""
    counts = ", ".join(f"{name} {count:,}" for name, count in found.classes.items())
    return page("Data audit", f"{found.images:,} images: {counts}", [shortcuts_section(found)])


def shortcuts_section(found: ShortcutAudit) -> Markup:
    """The chapter: words, a picture, the table."""
    return section("What gives the class away without anatomy", _parts(found))


def _parts(found: ShortcutAudit) -> Iterator[Markup]:
    yield paragraph(_ABOUT)
    shown, chance = _shown(found)
    what = "healthy or not" if found.healthy_chance else "the class"
    axis = f"images whose answer ({what}) is told from it, %; chance is {100 * chance.share:.1f} %"
    bars = [Bar(name, 100 * share.share, f"{100 * share.share:.1f} %") for name, share in shown]
    yield figure(
        bar_chart([*bars, Bar("chance", 100 * chance.share, f"{100 * chance.share:.1f} %")], axis=axis, alt=axis)
    )
    healthy = found.healthy_chance is not None
    head = ("told from", "class", *(("healthy or not",) if healthy else ()))
    rows = [(cue.name, _cell(cue.classes), *((_cell(cue.healthy),) if cue.healthy else ())) for cue in found.cues]
    last = ("chance", _cell(found.chance), *((_cell(found.healthy_chance),) if found.healthy_chance else ()))
    yield table(head, [*rows, last], caption="Right answers with 95 % intervals, 5-fold cross-validation")
    if found.unreadable:
        yield paragraph(f"{len(found.unreadable)} files could not be read and are left out.", "soft")


def _shown(found: ShortcutAudit) -> tuple[list[tuple[str, Share]], Share]:
    """What the picture shows: healthy or not where there is such a class, else the class."""
    if found.healthy_chance is None:
        return [(cue.name, cue.classes) for cue in found.cues], found.chance
    return [(cue.name, cue.healthy) for cue in found.cues if cue.healthy], found.healthy_chance


def _cell(share: Share) -> str:
    low, high = share.interval
    return f"{100 * share.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
