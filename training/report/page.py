"""The report as files: `report.html` (self-contained), `report.json` and one PNG a chart."""

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from braintumor.bench.report.html import Markup, figure, markup, page, paragraph, section
from braintumor.files import atomic_text, output_error
from braintumor.training.report.plots import DPI, confusion_chart, curves_chart, leaderboard_chart, reliability_chart
from braintumor.training.report.result import ENSEMBLE, Report
from braintumor.training.report.study import STUDY_START
from braintumor.training.report.tables import (
    calibration_table,
    class_table,
    foreign_table,
    leaderboard_table,
    runs_table,
    votes_table,
)

__all__ = ["charts", "report_page", "write_report"]

_CSS_DPI: Final = 96
_PNG_WIDTH: Final = slice(16, 20)
"""Where the header of a PNG holds the width in pixels, most significant byte first (RFC 2083, 4.1.1)."""


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the page, its data and its charts; return their paths.

    Raises:
        OutputError: The folder cannot be written.
    """
    pictures = charts(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in pictures.items():
            (folder / name).write_bytes(data)
    except OSError as error:
        raise output_error(folder, error) from error
    with atomic_text(folder / "report.json") as stream:
        json.dump(report.to_json(), stream, indent=1)
    with atomic_text(folder / "report.html") as stream:
        stream.write(report_page(report, pictures))
    return [folder / name for name in ("report.html", "report.json", *pictures)]


def charts(report: Report) -> dict[str, bytes]:
    """PNGs by file name."""
    ranked = sorted(
        report.judged, key=lambda name: (report.judged[name].test.accuracy, -report.judged[name].test.loss)
    )
    found = {"leaderboard.png": leaderboard_chart({name: report.judged[name] for name in reversed(ranked)})}
    histories = {name: run.history for name, run in report.runs.items() if run.history}
    if histories:
        found["curves.png"] = curves_chart(histories)
    for name, judged in report.judged.items():
        found[f"confusion-{name}.png"] = confusion_chart(name, judged.parts())
    found["reliability.png"] = reliability_chart(report.judged)
    return found


def report_page(report: Report, pictures: Mapping[str, bytes]) -> str:
    """The page as text, with the charts inside."""
    return page("Training report", _summary(report), _sections(report, pictures))


def _summary(report: Report) -> str:
    best = max(report.runs, key=lambda name: report.judged[name].test.accuracy)
    told = f"{len(report.runs)} models; the best single one is {best} with {report.judged[best].test.text()}."
    if report.choice:
        told += (
            f" The soft vote of {' + '.join(report.choice.vote.members)}, chosen on validation images only, reaches "
            f"{report.judged[ENSEMBLE].test.text()} on the test images."
        )
    return told


def _sections(report: Report, pictures: Mapping[str, bytes]) -> Iterator[Markup]:
    def picture(name: str, alt: str) -> Markup:
        return _picture(pictures[name], alt) if name in pictures else Markup("")

    yield section(
        "Leaderboard",
        [
            picture("leaderboard.png", "accuracy and loss by model"),
            leaderboard_table(report),
            paragraph(
                "Brackets are Clopper-Pearson 95 % intervals. The last column leaves out the test images that have a "
                "near-duplicate (4 bits of pHash or fewer) in train or val. The study started from "
                f"{STUDY_START}; the runs here say below what they started from. Its draw of 703 test images was "
                "never published: ours has the same supports.",
                "soft",
            ),
        ],
    )
    yield section(
        "Learning curves",
        [
            picture("curves.png", "learning curves"),
            paragraph(
                "Training figures are of augmented images, with dropout, and the training loss with label smoothing: "
                "it lies above the validation loss. Dotted lines are where the images grew.",
                "soft",
            ),
            runs_table(report),
        ],
    )
    yield section("Errors", (picture(f"confusion-{name}.png", f"confusion of {name}") for name in report.judged))
    yield section(
        "By class",
        (Markup(f"<h3>{markup(name)}</h3>{class_table(judged)}") for name, judged in report.judged.items()),
    )
    yield section("Collections that no model was made from", _foreign(report))
    yield section("Ensemble", [votes_table(report)])
    yield section("Calibration", [picture("reliability.png", "reliability"), calibration_table(report)])


def _foreign(report: Report) -> Iterator[Markup]:
    for name, figures in report.foreign.items():
        yield Markup(f"<h3>{markup(name)}</h3>{foreign_table(figures)}")
    if report.foreign:
        yield paragraph(
            "What a model finds on its own data set's test images says little about images from elsewhere; these "
            "figures say more. Brackets are Clopper-Pearson 95 % intervals.",
            "soft",
        )


def _picture(png: bytes, alt: str) -> Markup:
    """A chart as large as it was drawn, or as wide as there is room."""
    width = int.from_bytes(png[_PNG_WIDTH], "big") * _CSS_DPI // DPI
    data = base64.b64encode(png).decode("ascii")
    return figure(Markup(f'<img alt="{markup(alt)}" width="{width}" src="data:image/png;base64,{data}">'))
