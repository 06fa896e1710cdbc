"""The charts of the report: readable in print, in grey, and by the colour-blind."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor.models.labels import CLASSES
from braintumor.optional import require
from braintumor.training.fit.checkpoint import EpochRow
from braintumor.training.report.calibration import Reliability
from braintumor.training.report.evaluate import Evaluation
from braintumor.training.report.result import Judged
from braintumor.training.report.study import STUDY, STUDY_ENSEMBLE_ACCURACY

__all__ = ["DPI", "confusion_chart", "curves_chart", "leaderboard_chart", "reliability_chart"]

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#666666"  # Okabe & Ito's, told apart by everyone
DPI = 160
"""Pixels an inch of every chart."""

_ENOUGH = 10


def leaderboard_chart(judged: Mapping[str, Judged]) -> bytes:
    """PNG: accuracy with its 95 % interval and loss, a row a model, on both parts of the test images.

    Args:
        judged: By name; shown from top to bottom as they come, the study's figures beside them.
    """
    figure, (left, right) = _figure(1, 2, width=9.5, height=1.3 + 0.62 * len(judged), sharey=True)
    rows = np.arange(len(judged))[::-1]
    diamond = {"linestyle": "", "markerfacecolor": "white", "markeredgecolor": _ORANGE, "markersize": 7}
    for row, (name, found) in zip(rows, judged.items(), strict=True):
        _score(left, right, row + 0.13, found.test, _BLUE)
        if found.free:
            _score(left, right, row - 0.2, found.free, _GREY)
        published = STUDY[name].accuracy if name in STUDY else STUDY_ENSEMBLE_ACCURACY
        left.plot(100 * published, row + 0.13, "D", **diamond)
        if name in STUDY:
            right.plot(STUDY[name].loss, row + 0.13, "D", **diamond)
    left.plot([], [], "o-", color=_BLUE, label="ours, 95 % interval")
    left.plot([], [], "o-", color=_GREY, label="without near-duplicates")
    left.plot([], [], "D", **diamond, label="study")
    left.set_yticks(rows, list(judged))
    left.set_ylim(-0.6, len(judged) - 0.3)
    left.set_xlabel("test accuracy, %")
    right.set_xlabel("test loss, nats")
    right.set_xlim(0, 1.2 * max(part.loss for found in judged.values() for part in found.parts().values()))
    for axis in (left, right):
        axis.grid(visible=False, axis="y")
    figure.legend(*left.get_legend_handles_labels(), loc="upper center", ncols=3, frameon=False, fontsize=9)
    figure.tight_layout(w_pad=2.5, rect=(0, 0, 1, 1 - 0.32 / figure.get_figheight()))
    return _png(figure)


def _score(left: Any, right: Any, row: float, found: Evaluation, colour: str) -> None:
    low, high = found.interval
    left.plot([100 * low, 100 * high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
    left.plot(100 * found.accuracy, row, "o", color=colour, markersize=6.5)
    left.annotate(
        f"{100 * found.accuracy:.2f}", (100 * found.accuracy, row), (0, 5), textcoords="offset points",
        ha="center", fontsize=8,
    )  # fmt: skip
    right.barh(row, found.loss, height=0.26, color=colour)
    right.annotate(
        f"{found.loss:.3f}", (found.loss, row), (4, 0), textcoords="offset points", va="center", fontsize=8
    )


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


def confusion_chart(name: str, parts: Mapping[str, Evaluation]) -> bytes:
    """PNG: counts by truth (row) and answer (column), a panel a part of the images."""
    figure, axes = _figure(1, len(parts), width=0.6 + 3.9 * len(parts), height=4.2, sharey=True)
    for axis, (part, found) in zip(np.reshape(axes, -1), parts.items(), strict=True):
        _confusion(axis, np.array(found.confusion))
        axis.set_title(f"{name}\n{found.correct} of {part}", fontsize=10)
    np.reshape(axes, -1)[0].set_ylabel("truth")
    figure.tight_layout()
    return _png(figure)


def _confusion(axis: Any, counts: NDArray[np.int64]) -> None:
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
    axis.spines[:].set_visible(False)
    axis.grid(visible=False)


def reliability_chart(judged: Mapping[str, Judged]) -> bytes:
    """PNG: accuracy over confidence before and after the temperature, a column a model; hollow under 10 images.

    The test images above, those without near-duplicates below.
    """
    rows = {"accuracy": [found.test_reliability for found in judged.values()]}
    free = [found.free_reliability for found in judged.values() if found.free_reliability]
    if free:
        rows["accuracy, without near-duplicates"] = free
    size = {"width": 0.8 + 2.7 * len(judged), "height": 0.4 + 3.0 * len(rows)}
    figure, axes = _figure(len(rows), len(judged), **size, sharex=True, sharey=True)
    axes = np.reshape(axes, (len(rows), len(judged)))
    for line, (label, found) in zip(axes, rows.items(), strict=True):
        for axis, one in zip(line, found, strict=True):
            _reliability(axis, one)
        line[0].set_ylabel(label)
    for axis, name in zip(axes[0], judged, strict=True):
        axis.set_title(name, fontsize=10)
    for axis in axes[-1]:
        axis.set_xlabel("confidence")
    figure.tight_layout()
    return _png(figure)


def _reliability(axis: Any, found: Reliability) -> None:
    axis.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle=":")
    for state, told, colour, mark in (
        (found.before, "as trained", _BLUE, "o"),
        (found.after, "tempered", _ORANGE, "D"),
    ):
        axis.plot([], [], mark, color=colour, label=f"{told}, ECE {100 * state.ece:.1f} %")
        for item in state.bins:
            # A bin of a few images says little: it is drawn hollow.
            fill = colour if item.count >= _ENOUGH else "white"
            size = 4 + 0.35 * item.count**0.5
            axis.plot(item.confidence, item.accuracy, mark, color=colour, markerfacecolor=fill, markersize=size)
    axis.set_xlim(0.2, 1.06)
    axis.set_ylim(-0.03, 1.06)
    axis.legend(frameon=False, fontsize=8, loc="lower right")


def _figure(rows: int, columns: int, *, width: float, height: float, **options: Any) -> tuple[Any, Any]:
    # The object interface, not pyplot: nothing global, no window system.
    matplotlib = require("matplotlib.figure", extra="train", purpose="drawing charts")
    figure = matplotlib.Figure(figsize=(width, height), dpi=DPI)
    axes = figure.subplots(rows, columns, **options)
    for axis in np.reshape(axes, -1):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e5e5e5", linewidth=0.6)
        axis.set_axisbelow(True)
    return figure, axes


def _png(figure: Any) -> bytes:
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    # A chart has few colours: with a palette it takes a third of the bytes, in a page as in a notebook.
    palette = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    palette.save(packed, format="png", optimize=True, dpi=(DPI, DPI))
    return packed.getvalue()
