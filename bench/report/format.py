"""Figures of a report as words."""

from collections.abc import Mapping
from itertools import count
from typing import Any

__all__ = ["decimals", "interval_text", "ms_text", "named", "percent", "share_text"]


def named(accuracy: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of `bt-bench accuracy` with a "key" for every bundle and reference: what it is called in a report.

    As in the JSON of the latencies: "fp32 on onnxruntime-cpu", "keras (fp32)". Of two that would be called alike the
    second becomes "… #2", as two bundles in folders of one name, or the originals of two ensembles.
    """
    taken: dict[str, object] = {}

    def with_key(one: Mapping[str, Any]) -> dict[str, Any]:
        whole = one["sha256"] is not None
        base = f"{one['name']} on {one['engine']['name']}" if whole else f"{one['name']} ({one['precision']})"
        identity = (one["sha256"], one["engine"]["name"]) if whole else (one["name"], one["scores"])
        keys = (base if number == 1 else f"{base} #{number}" for number in count(1))
        return {**one, "key": next(key for key in keys if taken.setdefault(key, identity) == identity)}

    bundles = [with_key(one) for one in accuracy["bundles"]]
    for one in bundles:
        if one["reference"] is not None:
            one["reference"] = with_key(one["reference"])
    return {**accuracy, "bundles": bundles}


def share_text(scores: Mapping[str, Any]) -> str:
    """How many are right, with the interval: "693 of 703 (98.58 % [97.40, 99.32])"."""
    return (
        f"{scores['correct']} of {scores['images']} ({percent(scores['accuracy'])} "
        f"{interval_text(scores['interval'])})"
    )


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
