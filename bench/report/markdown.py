"""A report as a table for a README."""

from collections.abc import Iterator, Sequence

from braintumor import NOTICE
from braintumor.bench.accuracy.result import AccuracyResult
from braintumor.bench.latency.result import LatencyResult
from braintumor.bench.metrics.classification import Scores
from braintumor.bench.report.format import interval_text, ms_text, percent
from braintumor.bench.report.naming import ensembles_by_key, named_bundles
from braintumor.bench.report.result import Report

__all__ = ["report_markdown"]


def report_markdown(report: Report) -> str:
    """Write the verdicts, a table of decisions, a table of speeds, and on what they were measured."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    for statement in report.summary:
        yield f"**{_cell(statement.name)}: {statement.status}.** {_cell(' '.join(statement.sentences))}"
        yield ""
    if report.accuracy is not None:
        yield from _decisions(report.accuracy)
        yield ""
    if report.latency is not None:
        yield from _speeds(report.latency)
        yield ""
    machine = report.environment.machine
    yield f"Measured on {_cell(machine.cpu)}, {machine.usable_cores} cores, {report.created_utc}. {NOTICE}"


def _decisions(accuracy: AccuracyResult) -> Iterator[str]:
    verdicts = {
        bundle.key: f"{comparison.flips.count} | {bundle.result.verdict.status}"
        for bundle in named_bundles(accuracy)
        if (comparison := bundle.result.comparison) is not None
    }
    free = accuracy.images.near_duplicate_free
    alone = f"the {free} without near-duplicates" if free else "without near-duplicates"
    yield from _head([f"{accuracy.images.count} images", "accuracy [95 %]", alone, "flips", "verdict"])
    for key, ensemble in ensembles_by_key(accuracy).items():
        leak_free = "" if ensemble.near_duplicate_free is None else _share(ensemble.near_duplicate_free)
        yield f"| {_cell(key)} | {_share(ensemble.scores)} | {leak_free} | {verdicts.get(key, ' | ')} |"


def _share(scores: Scores) -> str:
    return f"{percent(scores.accuracy)} {interval_text(scores.interval)}"


def _speeds(latency: LatencyResult) -> Iterator[str]:
    head = ["cold start", *(f"batch {batch}, p50 / p95 ms" for batch in latency.batches), "images/s", "peak MB"]
    yield from _head(["", *head])
    for runner in latency.runners:
        times = " | ".join(f"{ms_text(at.p50_ms)} / {ms_text(at.p95_ms)}" for at in runner.batches)
        last = runner.batches[-1]
        peak = "" if last.peak_rss_mb is None else f"{last.peak_rss_mb:.0f}"
        start = f"{runner.cold_start.p50_ms / 1000:.2f} s"
        yield f"| {_cell(runner.key)} | {start} | {times} | {last.images_per_s:.1f} | {peak} |"


def _head(names: Sequence[str]) -> Iterator[str]:
    yield "| " + " | ".join(names) + " |"
    yield "| --- " * len(names) + "|"


def _cell(text: str) -> str:
    """Take out what would end the cell or the line."""
    return " ".join(text.split()).replace("|", "\\|")
