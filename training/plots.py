"""The charts of the report: readable in print, in grey, and by the colour-blind."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from braintumor.models.labels import CLASSES
from braintumor.optional import require
from braintumor.training.calibration import Calibration
from braintumor.training.evaluate import Evaluation
from braintumor.training.state import EpochRow
from braintumor.training.study import STUDY, STUDY_ENSEMBLE_ACCURACY

__all__ = ["DPI", "confusion_chart", "curves_chart", "leaderboard_chart", "reliability_chart"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"  # Okabe & Ito's, told apart by everyone
DPI = 160
"""Pixels an inch of every chart."""

_ENOUGH = 10


def leaderboard_chart(tests: Mapping[str, Evaluation]) -> bytes:
    """PNG: accuracy with its 95 % interval and loss on the test images, a row a model, the study's beside.

    Args:
        tests: By name; shown from top to bottom as they come.
    """
    figure, (left, right) = _figure(1, 2, width=9.5, height=1.3 + 0.5 * len(tests), sharey=True)
    names = list(tests)
    rows = np.arange(len(names))[::-1]
    for row, name in zip(rows, names, strict=True):
        found = tests[name]
        low, high = found.interval
        left.plot([100 * low, 100 * high], [row, row], color=_BLUE, linewidth=2.5, solid_capstyle="butt")
        left.plot(100 * found.accuracy, row, "o", color=_BLUE, markersize=8)
        left.annotate(
            f"{100 * found.accuracy:.2f}", (100 * found.accuracy, row), (0, 7), textcoords="offset points",
            ha="center", fontsize=8.5,
        )  # fmt: skip
        right.barh(row, found.loss, height=0.45, color=_BLUE)
        right.annotate(
            f"{found.loss:.3f}", (found.loss, row), (4, 0), textcoords="offset points", va="center", fontsize=8.5
        )
        published = STUDY[name].accuracy if name in STUDY else STUDY_ENSEMBLE_ACCURACY
        left.plot(100 * published, row, "D", markerfacecolor="white", markeredgecolor=_ORANGE, markersize=7)
        if name in STUDY:
            right.plot(STUDY[name].loss, row, "D", markerfacecolor="white", markeredgecolor=_ORANGE, markersize=7)
    left.plot([], [], "o-", color=_BLUE, label="ours, 95 % interval")
    left.plot([], [], "D", markerfacecolor="white", markeredgecolor=_ORANGE, linestyle="", label="study")
    left.set_yticks(rows, names)
    left.set_ylim(-0.6, len(names) - 0.3)
    left.set_xlabel("test accuracy, %")
    right.set_xlabel("test loss, nats")
    right.set_xlim(0, 1.2 * max(found.loss for found in tests.values()))
    figure.legend(*left.get_legend_handles_labels(), loc="upper center", ncols=2, frameon=False, fontsize=9)
    figure.tight_layout(w_pad=2.5, rect=(0, 0, 1, 1 - 0.32 / figure.get_figheight()))
    return _png(figure)


def curves_chart(histories: Mapping[str, Sequence[EpochRow]]) -> bytes:
    """PNG: accuracy above and loss below over the epochs, a column a model; grey lines where images grew."""
    width = 1.2 + 2.6 * len(histories)
    figure, axes = _figure(2, len(histories), width=width, height=4.8, sharex="col", sharey="row")
    axes = np.reshape(axes, (2, len(histories)))
    for column, (name, rows) in enumerate(histories.items()):
        epochs = [row.epoch for row in rows]
        train, val = {"color": _BLUE, "linestyle": "--"}, {"color": _ORANGE, "marker": "o", "markersize": 3.5}
        top, bottom = axes[:, column]
        top.plot(epochs, [100 * row.train_accuracy for row in rows], label="train", **train)
        top.plot(epochs, [100 * row.val_accuracy for row in rows], label="val", **val)
        bottom.plot(epochs, [row.train_loss for row in rows], **train)
        bottom.plot(epochs, [row.val_loss for row in rows], **val)
        for before, after in pairwise(rows):
            if before.size != after.size:
                for axis in (top, bottom):
                    axis.axvline(after.epoch - 0.5, color=_GREY, linewidth=0.8, linestyle=":")
                top.annotate(
                    f"{after.size} px", (after.epoch - 0.4, 0.04), xycoords=("data", "axes fraction"), fontsize=8
                )
        top.set_title(name, fontsize=10)
        bottom.set_xlabel("epoch")
        bottom.xaxis.get_major_locator().set_params(integer=True)
    axes[0, 0].set_ylabel("accuracy, %")
    axes[1, 0].set_ylabel("loss, nats")
    axes[0, 0].legend(frameon=False, fontsize=9, loc="lower right")
    figure.tight_layout()
    return _png(figure)


def confusion_chart(name: str, found: Evaluation) -> bytes:
    """PNG: counts by truth (row) and answer (column)."""
    figure, axis = _figure(1, 1, width=4.3, height=4.0)
    counts = np.array(found.confusion)
    # By row, so that the small classes are as easy to read as the large one.
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1.15)
    for row in range(len(CLASSES)):
        for column in range(len(CLASSES)):
            colour = "white" if share[row, column] > 0.4 else "black"  # noqa: PLR2004 - where the blue gets dark
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=12)
    axis.set_xticks(range(len(CLASSES)), CLASSES, fontsize=9)
    axis.set_yticks(range(len(CLASSES)), CLASSES, fontsize=9)
    axis.set_xlabel("answer")
    axis.set_ylabel("truth")
    axis.spines[:].set_visible(False)
    axis.set_title(f"{name}: {found.correct} of {found.images}", fontsize=10)
    figure.tight_layout()
    return _png(figure)


def reliability_chart(found: Mapping[str, tuple[Calibration, Calibration]]) -> bytes:
    """PNG: accuracy over confidence before and after the temperature, a panel a model; hollow under 10 images."""
    figure, axes = _figure(1, len(found), width=0.8 + 2.7 * len(found), height=3.4, sharey=True)
    for axis, (name, (before, after)) in zip(np.reshape(axes, -1), found.items(), strict=True):
        axis.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
        for state, colour, mark in ((before, _BLUE, "o"), (after, _ORANGE, "D")):
            label = f"{'as trained' if state is before else 'tempered'}, ECE {100 * state.ece:.1f} %"
            axis.plot([], [], mark, color=colour, label=label)
            for item in state.bins:
                # A bin of a few images says little: it is drawn hollow.
                fill = colour if item.count >= _ENOUGH else "white"
                size = 4 + 0.35 * item.count**0.5
                axis.plot(item.confidence, item.accuracy, mark, color=colour, markerfacecolor=fill, markersize=size)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("confidence")
        axis.set_xlim(0.2, 1.06)
        axis.set_ylim(-0.03, 1.06)
        axis.legend(frameon=False, fontsize=8, loc="lower right")
    np.reshape(axes, -1)[0].set_ylabel("accuracy")
    figure.tight_layout()
    return _png(figure)


def _figure(rows: int, columns: int, *, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    # The object interface, not pyplot: nothing global, no window system.
    matplotlib = require("matplotlib.figure", extra="train", purpose="drawing charts")
    figure = matplotlib.Figure(figsize=(width, height), dpi=DPI)
    axes = figure.subplots(rows, columns, **options)
    for axis in np.reshape(axes, -1):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="x" if rows == 1 and columns == 2 else "both", color="#e5e5e5", linewidth=0.6)  # noqa: PLR2004
        axis.set_axisbelow(True)
    if rows == columns == 1:
        axes.grid(visible=False)
    return figure, axes


def _png(figure: Any) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
