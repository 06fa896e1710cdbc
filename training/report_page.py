"""The report as files: `report.html` (self-contained), `report.json` and one PNG a chart."""

import base64
import html
import json
from collections.abc import Iterable
from pathlib import Path

from braintumor import NOTICE
from braintumor.models.labels import CLASSES
from braintumor.runtime.files import atomic_text, output_error
from braintumor.training.evaluate import Evaluation
from braintumor.training.plots import confusion_chart, curves_chart, leaderboard_chart, reliability_chart
from braintumor.training.report import ENSEMBLE, Judged, Report
from braintumor.training.study import STUDY, STUDY_ENSEMBLE, STUDY_ENSEMBLE_ACCURACY, STUDY_START

__all__ = [
    "calibration_table",
    "charts",
    "class_table",
    "leaderboard_table",
    "page",
    "runs_table",
    "votes_table",
    "write_report",
]

_STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24 }
h2 { margin-top: 2.4rem } img { max-width: 100%; height: auto }
.wide { overflow-x: auto }
table { border-collapse: collapse; margin: 1rem 0; font-size: 14px }
th, td { border-bottom: 1px solid #d0d7de; padding: .3rem .9rem .3rem 0; text-align: left; vertical-align: top }
td.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.side { display: flex; flex-wrap: wrap; gap: 1rem } .side img { width: 20rem }
code { background: #f3f4f6; padding: .1rem .3rem; overflow-wrap: anywhere }
@media print { h2 { break-after: avoid } img, table { break-inside: avoid } }
"""


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
        stream.write(page(report, pictures))
    return [folder / name for name in ("report.html", "report.json", *pictures)]


def charts(report: Report) -> dict[str, bytes]:
    """PNGs by file name."""
    ranked = sorted(
        report.judged, key=lambda name: (report.judged[name].test.accuracy, -report.judged[name].test.loss)
    )
    found = {"leaderboard.png": leaderboard_chart({name: report.judged[name].test for name in reversed(ranked)})}
    histories = {name: run.history for name, run in report.runs.items() if run.history}
    if histories:
        found["curves.png"] = curves_chart(histories)
    for name, judged in report.judged.items():
        found[f"confusion-{name}.png"] = confusion_chart(name, judged.test)
    found["reliability.png"] = reliability_chart(
        {name: (judged.before, judged.after) for name, judged in report.judged.items()}
    )
    return found


def page(report: Report, pictures: dict[str, bytes]) -> str:
    """The page as text, with the charts inside."""
    curves = _picture(pictures, "curves.png", "learning curves") if "curves.png" in pictures else ""
    confusion = "\n".join(
        _picture(pictures, f"confusion-{name}.png", f"confusion of {name}") for name in report.judged
    )
    reports = "\n".join(f"<h3>{name}</h3>{class_table(judged.test)}" for name, judged in report.judged.items())
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Training report</title><style>{_STYLE}</style></head><body>
<h1>Training report</h1>
<p>{_summary(report)}</p>
<h2>Leaderboard</h2>
{_picture(pictures, "leaderboard.png", "accuracy and loss by model")}
{leaderboard_table(report)}
<p>Brackets are Clopper-Pearson 95 % intervals. The last column leaves out the test images that have a
near-duplicate (4 bits of pHash or fewer) in train or val. The study started from {STUDY_START}; the runs here say
below what they started from. Its draw of 703 test images was never published: ours has the same supports.</p>
<h2>Learning curves</h2>
{curves}
<p>Training figures are of augmented images, with dropout, and the training loss with label smoothing: it lies above
the validation loss. Dotted lines are where the images grew.</p>
{runs_table(report)}
<h2>Errors</h2>
<div class="side">{confusion}</div>
<h2>By class</h2>
{reports}
<h2>Ensemble</h2>
{votes_table(report)}
<h2>Calibration</h2>
{_picture(pictures, "reliability.png", "reliability")}
{calibration_table(report)}
<p>{html.escape(NOTICE)}</p></body></html>
"""


def _summary(report: Report) -> str:
    best = max((name for name in report.runs), key=lambda name: report.judged[name].test.accuracy)
    text = f"{len(report.runs)} models; the best single one is {best} with {report.judged[best].test.text()}."
    if ENSEMBLE in report.judged:
        vote = report.votes[0]
        text += (
            f" The soft vote of {' + '.join(vote.members)}, chosen on validation images only, reaches "
            f"{report.judged[ENSEMBLE].test.text()} on the test images."
        )
    return html.escape(text)


def leaderboard_table(report: Report) -> str:
    """HTML: validation, test and near-duplicate-free test by model, the study's figures beside."""
    head = ("model", "validation", "test", "loss", "study", "study loss", "near-duplicate-free test")
    rows = []
    for name, found in sorted(report.judged.items(), key=lambda item: -item[1].test.accuracy):
        study = STUDY.get(name)
        published = f"{study.accuracy:.2%}" if study else f"{STUDY_ENSEMBLE_ACCURACY:.0%}"
        rows.append((
            name,
            f"{found.val.accuracy:.2%}",
            found.test.text(),
            f"{found.test.loss:.4f}",
            published,
            f"{study.loss:.4f}" if study else "",
            found.free.text() if found.free else "none",
        ))  # fmt: skip
    return _table(head, rows)


def runs_table(report: Report) -> str:
    """HTML: how each model was trained."""
    parts = []
    for name, run in report.runs.items():
        if not run.about:
            parts.append(f"<p><b>{name}</b>: evaluated from a file; no learning curve.</p>")
            continue
        start = run.about["recipe"]["initial"] or "random weights"
        versions = ", ".join(f"{key} {value}" for key, value in run.about["versions"].items())
        minutes = run.history[-1].elapsed_s / 60 if run.history else 0.0
        parts.append(
            f"<p><b>{name}</b>: from {html.escape(str(start))}, {len(run.history)} epochs, {minutes:.0f} minutes, "
            f"seed {run.about['recipe']['seed']}; {html.escape(versions)}; "
            f"<code>{html.escape(run.about['command'])}</code></p>"
        )
    return "\n".join(parts)


def class_table(found: Evaluation) -> str:
    """HTML: precision, recall, F1 and support by class."""
    head = ("class", "precision", "recall", "F1", "support")
    rows = [
        (name, *(f"{found.per_class[name][key]:.4f}" for key in ("precision", "recall", "f1")),
         str(found.per_class[name]["support"]))
        for name in CLASSES
    ]  # fmt: skip
    return _table(head, rows)


def votes_table(report: Report) -> str:
    """HTML: the best vote of each subset by validation, and what the first one does on test."""
    if not report.votes:
        return "<p>One model is no ensemble.</p>"
    rows = [
        (
            " + ".join(vote.members),
            " : ".join(f"{weight:.2f}" for weight in vote.weights),
            f"{vote.val_accuracy:.2%}",
            f"{vote.val_loss:.4f}",
        )
        for vote in report.votes
    ]
    text = _table(("members", "weights", "validation", "loss"), rows)
    text += f"<p>The first row is the ensemble of this report. On test: {_both(report.judged[ENSEMBLE])}.</p>"
    if report.study_vote:
        names = " + ".join(STUDY_ENSEMBLE)
        text += f"<p>The study's vote, {names} with equal weights: {_both(report.study_vote)}; published: 100 %.</p>"
    return text


def _both(judged: Judged) -> str:
    free = f"; without near-duplicates {judged.free.text()}" if judged.free else ""
    return html.escape(judged.test.text() + free)


def calibration_table(report: Report) -> str:
    """HTML: temperature and expected calibration error by model."""
    rows = [
        (name, f"{found.temperature:.3f}", f"{found.before.ece:.2%}", f"{found.after.ece:.2%}")
        for name, found in report.judged.items()
    ]
    return _table(("model", "temperature (fitted on validation)", "test ECE", "test ECE, tempered"), rows)


def _table(head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{html.escape(cell)}</th>" for cell in head)
    body = "\n".join(
        "<tr>" + "".join(_cell(cell, first=not number) for number, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="wide"><table><tr>{top}</tr>\n{body}</table></div>'


def _cell(text: str, *, first: bool) -> str:
    return f"<td>{html.escape(text)}</td>" if first else f'<td class="n">{html.escape(text)}</td>'


def _picture(pictures: dict[str, bytes], name: str, alt: str) -> str:
    return f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{base64.b64encode(pictures[name]).decode()}">'
