"""Figures of a report as text."""

from braintumor.bench.metrics.classification import Scores

__all__ = ["decimals", "interval_text", "ms_text", "percent", "share_text"]


def share_text(scores: Scores) -> str:
    """Format how many are right, with the interval: "693 of 703 (98.58 % [97.40, 99.32])"."""
    return f"{scores.correct} of {scores.images} ({percent(scores.accuracy)} {interval_text(scores.interval)})"


def interval_text(interval: tuple[float, float]) -> str:
    """Format an interval of a share, in percent: "[97.40, 99.32]"."""
    low, high = interval
    return f"[{100 * low:.2f}, {100 * high:.2f}]"


def percent(value: float | None, digits: int = 2) -> str:
    """Format a share, 0..1, in percent; a dash for an unknown one."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"  # noqa: RUF001 - a dash


def decimals(value: float | None, digits: int = 4) -> str:
    """Format a figure; a dash for an unknown one."""
    return "–" if value is None else f"{value:.{digits}f}"  # noqa: RUF001 - a dash


def ms_text(value: float) -> str:
    """Format a time in milliseconds with three significant digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - three digits
