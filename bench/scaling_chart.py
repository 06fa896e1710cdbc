"""Time and memory against the number of images, drawn."""

from pathlib import Path

from braintumor.bench.scaling_result import Scaling
from braintumor.optional import require

__all__ = ["draw"]


def draw(scaling: Scaling, path: Path) -> None:
    """Two panels, time and memory against the number of images; readable in black and white.

    Raises:
        UnavailableError: matplotlib is not installed.
    """
    figure_module = require("matplotlib.figure", extra="bench", purpose="drawing a chart")
    figure = figure_module.Figure(figsize=(9, 3.8), layout="constrained")
    time, memory = figure.subplots(1, 2)
    styles = ("o-", "s--", "^:", "D-.")
    for threads, style in zip(scaling.threads, styles * len(scaling.threads), strict=False):
        points = scaling.of_threads(threads)
        images = [point.images for point in points]
        label = f"{threads} thread" + ("s" if threads > 1 else "")
        time.plot(images, [point.wall_s for point in points], style, label=label)
        memory.plot(images, [point.peak_rss_mb for point in points], style, label=label)
    time.set(xscale="log", yscale="log", xlabel="images", ylabel="seconds, start-up included", title="Time")
    memory.set(xscale="log", xlabel="images", ylabel="peak memory (MB)", title="Memory")
    memory.set_ylim(bottom=0)
    for axes in (time, memory):
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    figure.suptitle(f"bt-infer with {scaling.bundle} on {scaling.engine}")
    figure.savefig(path, dpi=150)
