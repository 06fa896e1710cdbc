"""The report as files: `report.html` (self-contained), `report.json` and one PNG a chart."""

import json
from collections.abc import Mapping
from pathlib import Path

from braintumor.bench.report.chart import Chart
from braintumor.bench.report.html import render
from braintumor.files import atomic_text, output_error
from braintumor.training.report.plots import curves_chart, errors_chart, leaderboard_chart, reliability_chart
from braintumor.training.report.result import ENSEMBLE, Report
from braintumor.training.report.study import STUDY_START
from braintumor.training.report.tables import (
    TEMPLATES,
    calibration_table,
    class_table,
    foreign_table,
    leaderboard_table,
    run_views,
    votes_view,
)

__all__ = ["charts", "report_page", "write_report"]


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the page, its data and its charts; return their paths.

    Raises:
        OutputError: The folder cannot be written.
        UnavailableError: Jinja2 or matplotlib is not installed.
    """
    drawn = charts(report)
    pictures = {f"{name}.png": chart.png() for name, chart in drawn.items()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in pictures.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise output_error(folder, error) from error
    with atomic_text(folder / "report.json") as stream:
        json.dump(report.to_json(), stream, indent=1)
    with atomic_text(folder / "report.html") as stream:
        stream.write(report_page(report, drawn))
    return [folder / name for name in ("report.html", "report.json", *pictures)]


def charts(report: Report) -> dict[str, Chart]:
    """Draw all charts; by the names of their files, without the suffix."""
    ranked = sorted(
        report.evaluations,
        key=lambda name: (report.evaluations[name].test.accuracy, -report.evaluations[name].test.loss),
    )
    drawn = {"leaderboard": leaderboard_chart({name: report.evaluations[name] for name in reversed(ranked)})}
    histories = {name: run.history for name, run in report.runs.items() if run.history}
    if histories:
        drawn["curves"] = curves_chart(histories)
    for name, evaluation in report.evaluations.items():
        drawn[f"confusion-{name}"] = errors_chart(name, evaluation.parts())
    drawn["reliability"] = reliability_chart(report.evaluations)
    return drawn


def report_page(report: Report, drawn: Mapping[str, Chart]) -> str:
    """Render the page with the charts inside.

    Args:
        report: All figures.
        drawn: What `charts` returns for it.
    """
    return render(
        TEMPLATES / "training_report.html.j2",
        summary=_summary(report),
        charts=drawn,
        study_start=STUDY_START,
        leaderboard=leaderboard_table(report),
        runs=run_views(report),
        errors=[drawn[f"confusion-{name}"] for name in report.evaluations],
        classes={name: class_table(evaluation) for name, evaluation in report.evaluations.items()},
        foreign={name: foreign_table(figures) for name, figures in report.foreign.items()},
        votes=votes_view(report),
        calibration=calibration_table(report),
    )


def _summary(report: Report) -> str:
    best = max(report.runs, key=lambda name: report.evaluations[name].test.accuracy)
    summary = f"{len(report.runs)} models; the best single one is {best} with {report.evaluations[best].test.text()}."
    if report.choice:
        summary += (
            f" The soft vote of {' + '.join(report.choice.vote.members)}, chosen on validation images only, reaches "
            f"{report.evaluations[ENSEMBLE].test.text()} on the test images."
        )
    return summary
