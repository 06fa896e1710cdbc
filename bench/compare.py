"""What moved between two measurements of the same benchmarks."""

import json
from dataclasses import dataclass
from pathlib import Path

from braintumor.errors import InputError

__all__ = ["Change", "changes", "read_medians"]


@dataclass(frozen=True, slots=True)
class Change:
    """One benchmark, before and after.

    Attributes:
        name: Of the benchmark.
        old_s: Its median before, in seconds.
        new_s: Its median now, in seconds.
    """

    name: str
    old_s: float
    new_s: float

    @property
    def ratio(self) -> float:
        """New over old: above 1, it became slower."""
        return self.new_s / self.old_s


def read_medians(path: Path) -> dict[str, float]:
    """Benchmark → median in seconds, from the JSON that `pytest --benchmark-json` writes.

    Raises:
        InputError: The file is no such JSON.
    """
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["benchmarks"]
        medians = {str(entry["fullname"]): float(entry["stats"]["median"]) for entry in entries}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no result of pytest --benchmark-json ({type(error).__name__}: {error})"
        ) from error
    if not medians or not all(0 < median < float("inf") for median in medians.values()):
        raise InputError(f"{path} holds no benchmark, or a median that is not above 0; measure again")
    return medians


def changes(old: Path, new: Path) -> tuple[Change, ...]:
    """The benchmarks that both files hold, in the old one's order.

    Raises:
        InputError: A file cannot be read, or they share no benchmark.
    """
    before, after = read_medians(old), read_medians(new)
    found = tuple(Change(name, before[name], after[name]) for name in before if name in after)
    if not found:
        raise InputError(f"{old} and {new} share no benchmark; compare two runs of the same tests")
    return found
