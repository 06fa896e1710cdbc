"""The audit of shortcuts as a chapter of the audit's page, or as a page of its own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.bench.metrics.intervals import Share
from braintumor.bench.report.chart import Chart
from braintumor.bench.report.charts import Bar, bar_chart
from braintumor.bench.report.html import Table, render
from braintumor.training.data.shortcuts import ShortcutAudit

__all__ = ["TEMPLATES", "ShortcutsView", "shortcuts_page", "shortcuts_view"]

TEMPLATES: Final = Path(__file__).with_name("templates")


@dataclass(frozen=True, slots=True, eq=False)
class ShortcutsView:
    """Contents of shortcuts.html.j2.

    Attributes:
        chart: Right answers by cue; healthy or not where there is such a class, else the class.
        table: The same with intervals, and the class.
        unreadable: So many files are left out.
    """

    chart: Chart
    table: Table
    unreadable: int


def shortcuts_page(audit: ShortcutAudit) -> str:
    """Render a page of its own, for a folder of classes.

    Raises:
        UnavailableError: Jinja2 or matplotlib is not installed.
    """
    counts = ", ".join(f"{name} {count:,}" for name, count in audit.classes.items())
    about = f"{audit.images:,} images: {counts}"
    return render(TEMPLATES / "shortcuts_page.html.j2", about=about, shortcuts=shortcuts_view(audit))


def shortcuts_view(audit: ShortcutAudit) -> ShortcutsView:
    """Draw and tabulate an audit."""
    return ShortcutsView(_chart(audit), _table(audit), len(audit.unreadable))


def _chart(audit: ShortcutAudit) -> Chart:
    if audit.healthy_chance is None:
        answer, chance = "the class", audit.chance
        shares = {cue.name: cue.classes for cue in audit.cues}
    else:
        answer, chance = "healthy or not", audit.healthy_chance
        shares = {cue.name: cue.healthy for cue in audit.cues if cue.healthy}
    axis = f"images whose answer ({answer}) is told from it, %; chance is {100 * chance.share:.1f} %"
    bars = [
        Bar(name, 100 * share.share, f"{100 * share.share:.1f} %")
        for name, share in [*shares.items(), ("chance", chance)]
    ]
    return bar_chart(bars, axis=axis, alt=axis)


def _table(audit: ShortcutAudit) -> Table:
    healthy = audit.healthy_chance is not None
    head = ("told from", "class", *(("healthy or not",) if healthy else ()))
    rows = [(cue.name, _cell(cue.classes), *((_cell(cue.healthy),) if cue.healthy else ())) for cue in audit.cues]
    last = ("chance", _cell(audit.chance), *((_cell(audit.healthy_chance),) if audit.healthy_chance else ()))
    return Table(head, [*rows, last], caption="Right answers with 95 % intervals, 5-fold cross-validation")


def _cell(share: Share) -> str:
    low, high = share.interval
    return f"{100 * share.share:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
