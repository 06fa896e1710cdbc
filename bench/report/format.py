"""Figures of a report as words."""

from braintumor.bench.metrics.classification import Scores

__all__ = ["decimals", "interval_text", "ms_text", "percent", "share_text"]


def share_text(scores: Scores) -> str:
    """How many are right, with the interval: "693 of 703 (98.58 % [97.40, 99.32])"."""
    return f"{scores.correct} of {scores.images} ({percent(scores.accuracy)} {interval_text(scores.interval)})"


def interval_text(interval: tuple[float, float]) -> str:
    """An interval of a share, in percent."""
    low, high = interval
    return f"[{100 * low:.2f}, {100 * high:.2f}]"


def percent(value: float | None, digits: int = 2) -> str:
    """A share; a dash for what is not known."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"  # noqa: RUF001 - a dash


def decimals(value: float | None, digits: int = 4) -> str:
    """A figure; a dash for what is not known."""
    return "–" if value is None else f"{value:.{digits}f}"  # noqa: RUF001 - a dash


def ms_text(value: float) -> str:
    """A time with three digits that count."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004 - three digits
