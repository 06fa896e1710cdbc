"""A report as one HTML page: the verdict first, then what it rests on."""

import datetime as dt
from collections.abc import Iterator
from typing import Final

from braintumor.bench.accuracy.result import ImagesSummary
from braintumor.bench.metrics.environment import Environment
from braintumor.bench.report.accuracy_view import accuracy_sections
from braintumor.bench.report.flips_view import comparison_sections
from braintumor.bench.report.html import Markup, markup, page, paragraph, section, table
from braintumor.bench.report.latency_view import latency_sections
from braintumor.bench.report.result import Report
from braintumor.bench.report.robustness_view import trial_sections
from braintumor.bench.report.summary import Statement

__all__ = ["report_page"]

_VERDICTS: Final = {"accepted": "✓ Accepted", "refused": "✗ Refused", "unjudged": "Not judged", "timed": "Timed only"}

_LIMITS: Final = """\
The networks were trained on public slices of one kind and judge every image as one of their classes, whatever it \
shows: they do not say “none of these”.
The test images come from the collection that the training images come from, and many have a near-duplicate there: \
on images from elsewhere figures may be lower. The column without near-duplicates is the one to plan with.
Intervals say how sure a figure is on images like these, not how it carries over to others.
Times are those of this machine, these versions and these images; ratios carry further than times.
Nothing here has been validated for clinical use."""


def report_page(report: Report) -> str:
    """The page as text; needs nothing from elsewhere."""
    return page("Bench report", _about(report), _parts(report))


def _about(report: Report) -> str:
    machine = report.environment.machine
    images = "" if report.accuracy is None else f", {report.accuracy.images.count} labelled images"
    made = dt.datetime.fromisoformat(report.created_utc)
    return f"{made.day} {made:%B %Y, %H:%M} UTC, on {machine.cpu} with {machine.usable_cores} cores{images}"


def _parts(report: Report) -> Iterator[Markup]:
    for one in report.summary:
        yield _verdict(one)
    for part in (report.accuracy, report.latency):
        if part is not None and part.unfinished:
            yield paragraph(f"Cut short {part.unfinished}, and shown as far as it went: {part.command}")
    if report.accuracy is not None:
        yield from accuracy_sections(report.accuracy)
        yield from comparison_sections(report.accuracy)
        yield from trial_sections(report.accuracy)
    if report.latency is not None:
        yield from latency_sections(report.latency)
    yield section("How it was measured", _measured(report))
    yield section(
        "Limits", [Markup("<ul>" + "".join(f"<li>{markup(one)}</li>" for one in _LIMITS.splitlines()) + "</ul>")]
    )


def _verdict(one: Statement) -> Markup:
    told = "".join(paragraph(sentence) for sentence in one.sentences)
    return Markup(
        f'<div class="verdict {markup(one.status)}"><h3>{markup(_VERDICTS.get(one.status, one.status))}: '
        f"{markup(one.name)}</h3>{told}</div>"
    )


def _measured(report: Report) -> Iterator[Markup]:
    parts = [part for part in (report.accuracy, report.latency) if part is not None]
    for part in parts:
        yield Markup(f"<p><code>{markup(part.command)}</code> ({markup(part.created_utc)})</p>")
    yield from _duration(report)
    yield table(("machine", ""), _machine(report.environment), text_columns=2)
    if report.accuracy is not None:
        yield table(("images", ""), _images(report.accuracy.images), text_columns=2)
    for skipped in () if report.latency is None else report.latency.skipped:
        yield paragraph(f"Not timed: {skipped.name}: {skipped.reason}", "soft")
    for one in () if report.latency is None else report.latency.contenders:
        if one.note:
            yield paragraph(f"{one.key}: {one.note}", "soft")


def _duration(report: Report) -> Iterator[Markup]:
    if report.wall_s is None or report.inference_s is None or report.wall_over_inference is None:
        return
    told = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items())
    yield paragraph(
        f"The report took {report.wall_s:.1f} s ({told}), {report.wall_over_inference:.3f} times the "
        f"{report.inference_s:.1f} s within the models.",
        "soft",
    )


def _machine(environment: Environment) -> list[tuple[str, str]]:
    machine, nvidia, load = environment.machine, environment.nvidia, environment.load
    flags = [name for name, there in machine.cpu_flags.items() if there]
    memory = "unknown" if machine.memory_mb is None else f"{machine.memory_mb / 1000:.1f} GB"
    gpus = ", ".join(f"{gpu.name} (driver {gpu.driver})" for gpu in nvidia.gpus)
    threads = ", ".join(f"{name}={value}" for name, value in environment.thread_variables.items())
    libraries = ", ".join(f"{name} {version}" for name, version in environment.libraries.items() if version)
    return [
        ("CPU", f"{machine.cpu}, {machine.usable_cores} of {machine.logical_cores} cores usable"),
        ("instructions", ", ".join(flags) or "unknown"),
        ("memory", memory),
        ("GPU", gpus or nvidia.note),
        ("clock", environment.governor or "its governor is not told"),
        ("load before", "unknown" if load is None else f"{load:.2f} processes"),
        ("thread variables", threads or "none set"),
        ("system", f"{machine.os}, Python {machine.python}"),
        ("libraries", libraries),
    ]


def _images(images: ImagesSummary) -> list[tuple[str, str]]:
    free, reason = images.near_duplicate_free, images.near_duplicate_free_reason
    supports = ", ".join(f"{count} {name}" for name, count in images.supports.items())
    return [
        ("source", images.source),
        ("count", f"{images.count}: {supports}"),
        ("without near-duplicates", str(free) if free is not None else f"unknown: {reason}"),
        ("SHA-256", images.sha256),
    ]
