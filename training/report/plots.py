"""The charts of the report: readable in print, in grey, and by the colour-blind."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from braintumor.bench.report.chart import ACCENT, CONTRAST, SOFT, Chart, chart_style, new_figure
from braintumor.bench.report.charts import Bin, Curve, confusion_chart, draw_reliability
from braintumor.models.labels import CLASSES
from braintumor.training.fit.checkpoint import EpochRow
from braintumor.training.report.calibration import Calibration
from braintumor.training.report.evaluate import Evaluation
from braintumor.training.report.result import ModelEvaluation
from braintumor.training.report.study import STUDY, STUDY_ENSEMBLE_ACCURACY

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["curves_chart", "errors_chart", "leaderboard_chart", "reliability_chart"]

_PANEL: Final = 190
_LABEL_SIZE: Final = 10


@chart_style()
def leaderboard_chart(evaluations: Mapping[str, ModelEvaluation]) -> Chart:
    """Draw accuracy with its 95 % interval and loss, a row a model, on both parts of the test images.

    Args:
        evaluations: By name; shown from top to bottom in this order, with the study's figures.
    """
    figure = new_figure(900, 110 + 52 * len(evaluations))
    left, right = figure.subplots(1, 2, sharey=True)
    study = {"linestyle": "", "marker": "D", "markerfacecolor": "white", "color": CONTRAST, "markersize": 7}
    for row, (name, evaluation) in enumerate(evaluations.items()):
        _score(left, right, row - 0.16, evaluation.test, ACCENT)
        if evaluation.leak_free:
            _score(left, right, row + 0.2, evaluation.leak_free, SOFT)
        published = STUDY[name].accuracy if name in STUDY else STUDY_ENSEMBLE_ACCURACY
        left.plot(100 * published, row - 0.16, **study)
        if name in STUDY:
            right.plot(STUDY[name].loss, row - 0.16, **study)
    left.plot([], [], "o-", color=ACCENT, label="ours, 95 % interval")
    left.plot([], [], "o-", color=SOFT, label="without near-duplicates")
    left.plot([], [], **study, label="study")
    left.set_yticks(range(len(evaluations)), list(evaluations))
    left.set_ylim(len(evaluations) - 0.5, -0.6)
    left.set_xlabel("test accuracy, %")
    right.set_xlabel("test loss, nats")
    right.set_xlim(
        0, 1.2 * max(part.loss for evaluation in evaluations.values() for part in evaluation.parts().values())
    )
    for axes in (left, right):
        axes.grid(visible=False, axis="y")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return Chart(figure, "accuracy and loss by model")


def _score(left: "Axes", right: "Axes", row: float, scores: Evaluation, colour: str) -> None:
    low, high = scores.interval
    left.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
    left.plot(100 * scores.accuracy, row, "o", color=colour, markersize=6)
    left.annotate(
        f"{100 * scores.accuracy:.2f}", (100 * scores.accuracy, row), (0, 5), textcoords="offset points",
        ha="center", size=_LABEL_SIZE,
    )  # fmt: skip
    right.barh(row, scores.loss, height=0.3, color=colour)
    right.annotate(
        f"{scores.loss:.3f}", (scores.loss, row), (4, 0), textcoords="offset points", va="center", size=_LABEL_SIZE
    )


@chart_style()
def curves_chart(histories: Mapping[str, Sequence[EpochRow]]) -> Chart:
    """Draw accuracy above and loss below over the epochs, a column a model; dotted lines where images grew."""
    figure = new_figure(60 + max(_PANEL * len(histories), 2 * _PANEL), 430)
    grid = figure.subplots(2, len(histories), sharex="col", sharey="row", squeeze=False)
    train, val = {"color": ACCENT, "linestyle": "--"}, {"color": CONTRAST, "marker": "o", "markersize": 3.5}
    for (name, rows), top, bottom in zip(histories.items(), *grid, strict=True):
        epochs = [row.epoch for row in rows]
        top.plot(epochs, [100 * row.train_accuracy for row in rows], label="train", **train)
        top.plot(epochs, [100 * row.val_accuracy for row in rows], label="val", **val)
        bottom.plot(epochs, [row.train_loss for row in rows], **train)
        bottom.plot(epochs, [row.val_loss for row in rows], **val)
        for before, after in pairwise(rows):
            if before.size != after.size:
                for axes in (top, bottom):
                    axes.axvline(after.epoch - 0.5, color=SOFT, linewidth=1, linestyle=":")
                place = (after.epoch - 0.4, 0.04)
                top.annotate(f"{after.size} px", place, xycoords=("data", "axes fraction"), size=_LABEL_SIZE)
        top.set_title(name)
        bottom.set_xlabel("epoch")
        bottom.xaxis.get_major_locator().set_params(integer=True)
    grid[0, 0].set_ylabel("accuracy, %")
    grid[1, 0].set_ylabel("loss, nats")
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return Chart(figure, "learning curves")


def errors_chart(name: str, parts: Mapping[str, Evaluation]) -> Chart:
    """Draw counts by truth (row) and answer (column), a panel a part of the images."""
    panels = {f"{scores.correct} of {part}": scores.confusion for part, scores in parts.items()}
    return confusion_chart(CLASSES, panels, alt=f"confusion of {name}")


@chart_style()
def reliability_chart(evaluations: Mapping[str, ModelEvaluation]) -> Chart:
    """Draw accuracy over confidence before and after the temperature, a column a model.

    The test images above, those without near-duplicates below.
    """
    rows = {"accuracy": [evaluation.test_reliability for evaluation in evaluations.values()]}
    leak_free = [item.leak_free_reliability for item in evaluations.values() if item.leak_free_reliability]
    if leak_free:
        rows["accuracy,\nwithout near-duplicates"] = leak_free
    figure = new_figure(70 + _PANEL * len(evaluations), 40 + (_PANEL + 40) * len(rows))
    grid = figure.subplots(len(rows), len(evaluations), sharex=True, sharey=True, squeeze=False)
    for row, (line, (label, reliabilities)) in enumerate(zip(grid, rows.items(), strict=True)):
        for axes, name, reliability in zip(line, evaluations, reliabilities, strict=True):
            before, after = reliability.before, reliability.after
            draw_reliability(axes, [_curve("as trained", before), _curve("tempered", after)])
            errors = f"{100 * before.ece:.1f} %, tempered {100 * after.ece:.1f} %"
            axes.set_title(f"{name}\n{errors}" if row == 0 else errors, size=_LABEL_SIZE + 1)
            axes.set(xlabel="confidence" if row == len(rows) - 1 else "", ylabel="")
        line[0].set_ylabel(label)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return Chart(figure, "reliability")


def _curve(name: str, state: Calibration) -> Curve:
    return Curve([Bin(item.confidence, item.accuracy, item.count) for item in state.bins], name)
