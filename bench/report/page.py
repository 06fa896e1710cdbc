"""A report as one HTML page: the verdict first, then what it rests on."""

import datetime as dt
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from braintumor.bench.accuracy.result import ImagesSummary
from braintumor.bench.metrics.environment import Environment
from braintumor.bench.report.accuracy_view import accuracy_view
from braintumor.bench.report.comparison_view import comparison_view
from braintumor.bench.report.html import TEMPLATES, Table, render
from braintumor.bench.report.latency_view import latency_view
from braintumor.bench.report.result import Report
from braintumor.bench.report.robustness_view import robustness_view

__all__ = ["report_page"]

_VERDICTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "accepted": "✓ Accepted",
        "refused": "✗ Refused",
        "not shown": "? Not shown",
        "unjudged": "Not judged",
        "timed": "Timed only",
    }
)


def report_page(report: Report) -> str:
    """Render the page; it needs nothing from elsewhere.

    Raises:
        UnavailableError: Jinja2 or matplotlib is not installed.
    """
    accuracy, latency = report.accuracy, report.latency
    return render(
        TEMPLATES / "report.html.j2",
        report=report,
        about=_about(report),
        verdicts=_VERDICTS,
        parts=[part for part in (accuracy, latency) if part is not None],
        accuracy=accuracy and accuracy_view(accuracy),
        comparison=accuracy and comparison_view(accuracy),
        robustness=accuracy and robustness_view(accuracy),
        latency=latency and latency_view(latency),
        duration=_duration(report),
        machine=Table(("machine", ""), _machine(report.environment), text_columns=2),
        images=accuracy and Table(("images", ""), _images(accuracy.images), text_columns=2),
        notes=list(_notes(report)),
    )


def _about(report: Report) -> str:
    machine = report.environment.machine
    images = "" if report.accuracy is None else f", {report.accuracy.images.count} labelled images"
    created = dt.datetime.fromisoformat(report.created_utc)
    return f"{created.day} {created:%B %Y, %H:%M} UTC, on {machine.cpu} with {machine.usable_cores} cores{images}"


def _duration(report: Report) -> str:
    if report.wall_s is None or report.inference_s is None or report.wall_over_inference is None:
        return ""
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.seconds.items())
    return (
        f"The report took {report.wall_s:.1f} s ({parts}), {report.wall_over_inference:.3f} times the "
        f"{report.inference_s:.1f} s within the models."
    )


def _notes(report: Report) -> Iterator[str]:
    if report.latency is not None:
        yield from (f"Not timed: {skipped.name}: {skipped.reason}" for skipped in report.latency.skipped)
        yield from (f"{runner.key}: {runner.note}" for runner in report.latency.runners if runner.note)


def _machine(environment: Environment) -> list[tuple[str, str]]:
    machine, nvidia, load = environment.machine, environment.nvidia, environment.load
    flags = [name for name, present in machine.cpu_flags.items() if present]
    memory = "unknown" if machine.memory_mb is None else f"{machine.memory_mb / 1000:.1f} GB"
    gpus = ", ".join(f"{gpu.name} (driver {gpu.driver})" for gpu in nvidia.gpus)
    threads = ", ".join(f"{name}={value}" for name, value in environment.thread_variables.items())
    libraries = ", ".join(f"{name} {version}" for name, version in environment.libraries.items() if version)
    return [
        ("CPU", f"{machine.cpu}, {machine.usable_cores} of {machine.logical_cores} cores usable"),
        ("instructions", ", ".join(flags) or "unknown"),
        ("memory", memory),
        ("GPU", gpus or nvidia.note),
        ("clock", environment.governor or "its governor is unknown"),
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
