"""The progress line of a training run."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from braintumor.training.fit.progress import Progress

__all__ = ["live_progress", "progress_line"]

_LOG_EVERY_S = 30.0


def progress_line(name: str, progress: Progress) -> str:
    """Write one line about where a run stands."""
    last = progress.last
    validation = f"  val loss {last.val_loss:.3f} acc {last.val_accuracy:.1%}" if last else ""
    return (
        f"{name}  epoch {progress.epoch}  step {progress.step}/{progress.steps}  {progress.size} px  "
        f"{progress.fraction:.1%}  {progress.images_per_s:.1f} images/s  left {_clock(progress.left_s)}  "
        f"loss {progress.loss:.3f} acc {progress.accuracy:.1%}{validation}"
    )


@contextmanager
def live_progress(name: str) -> Iterator[Callable[[Progress], None]]:
    """Make a callback that keeps one line current on a terminal, and logs a line now and then elsewhere."""
    console = Console(stderr=True, soft_wrap=True)
    if console.is_terminal:
        with Live(Text(f"{name}  starting"), console=console, refresh_per_second=2) as live:
            yield lambda progress: live.update(Text(progress_line(name, progress)))
        return
    logged = [-_LOG_EVERY_S]

    def log(progress: Progress) -> None:
        now = time.monotonic()
        if now - logged[0] >= _LOG_EVERY_S or progress.step == progress.steps:
            logged[0] = now
            console.print(progress_line(name, progress), highlight=False)

    yield log


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
