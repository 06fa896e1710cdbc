"""The parts of a report: read from ready files, or measured now."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from braintumor.bench.report.accuracy_view import accuracy_sections
from braintumor.bench.report.flips_view import comparison_sections
from braintumor.bench.report.html import Markup
from braintumor.bench.report.latency_view import latency_sections
from braintumor.bench.report.robustness_view import trial_sections
from braintumor.errors import IntegrityError, UsageError

__all__ = ["SCHEMAS", "read_part"]

SCHEMAS: Final[Mapping[str, str]] = MappingProxyType(
    {"accuracy": "braintumor.accuracy/1", "latency": "braintumor.latency/1"}
)
"""Part → schema of its file."""

_CHAPTERS: Final[Mapping[str, tuple[Callable[[Mapping[str, Any]], Iterator[Markup]], ...]]] = MappingProxyType(
    {"accuracy": (accuracy_sections, comparison_sections, trial_sections), "latency": (latency_sections,)}
)


def read_part(path: Path, part: str) -> Mapping[str, Any]:
    """Read what `bt-bench accuracy --json` or `bt-bench latency --json` has written.

    Args:
        path: The file.
        part: "accuracy" or "latency".

    Raises:
        UsageError: It is not there.
        IntegrityError: It is no JSON, of another schema, or lacks what a report shows.
    """
    remedy = f"write it with: bt-bench {part} BUNDLE --json {path}"
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{path} is not there; {remedy}") from error
    except (OSError, ValueError) as error:
        raise IntegrityError(f"{path} is no readable JSON ({error}); {remedy}") from error
    schema = told.get("schema") if isinstance(told, dict) else None
    if schema != SCHEMAS[part]:
        raise IntegrityError(f"{path} is of schema {schema!r}; --{part} takes {SCHEMAS[part]!r}: {remedy}")
    try:
        for chapter in _CHAPTERS[part]:
            for _ in chapter(told):
                pass
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{path} is no whole {schema} ({type(error).__name__}: {error}); {remedy}") from error
    assert isinstance(told, dict)  # noqa: S101 - narrows the type: its schema was read
    return told
