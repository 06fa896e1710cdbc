"""The files of a run: killed at any moment, it loses minutes and never the result."""

import contextlib
import json
import os
import shutil
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from braintumor.errors import IntegrityError, OutputError
from braintumor.training.fit.learner import Arrays

__all__ = ["EpochRow", "Position", "RunFolder"]

_STATE = "state.npz"
_BEST = "best.npz"


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One line of the learning curves.

    Accuracies are parts of 1, losses nats, sizes pixels a side; the learning rate is that of the epoch's last step.
    """

    epoch: int
    size: int
    train_loss: float
    train_accuracy: float
    val_loss: float
    val_accuracy: float
    tumours_found: float
    learning_rate: float
    images_per_s: float
    elapsed_s: float


@dataclass(slots=True)
class Position:
    """Position of a run in its schedule.

    Attributes:
        epoch: Epochs that are complete.
        step: Steps that are complete in the epoch under way.
        size: Image size in pixels of the epoch under way.
        elapsed_s: Training seconds so far.
        epoch_s: Seconds of steps in the epoch under way.
        loss_sum: Sum of the batch losses of the epoch under way.
        accuracy_sum: Sum of the batch accuracies of the epoch under way.
        best_epoch: The epoch with the lowest validation loss, from 1; 0 before the first.
        best_loss: That validation loss.
        rows: One a complete epoch.
    """

    epoch: int = 0
    step: int = 0
    size: int = 0
    elapsed_s: float = 0.0
    epoch_s: float = 0.0
    loss_sum: float = 0.0
    accuracy_sum: float = 0.0
    best_epoch: int = 0
    best_loss: float = float("inf")
    rows: list[EpochRow] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return values | {"rows": [[getattr(row, name) for name in EpochRow.__slots__] for row in self.rows]}

    @staticmethod
    def from_json(data: dict[str, Any]) -> "Position":
        """Read what `to_json` wrote."""
        return Position(**(data | {"rows": [EpochRow(*row) for row in data["rows"]]}))


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The files of one run; each is replaced as a whole."""

    path: Path

    def create(self, needed_bytes: int) -> None:
        """Make the folder and see that checkpoints will fit.

        Args:
            needed_bytes: What all files of the run take at most; those that lie there already count.

        Raises:
            OutputError: They will not.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(self.path).free + sum(
                (self.path / name).stat().st_size for name in self.weight_files()
            )
        except OSError as error:
            raise OutputError(f"{self.path} cannot be made: {error}", "choose another `out`") from error
        if free < needed_bytes:
            raise OutputError(
                f"{self.path} has room for {free / 1e9:.1f} GB; checkpoints of this model need "
                f"{needed_bytes / 1e9:.1f} GB",
                "choose an `out` on another disk",
            )

    def save_state(self, position: Position, state: Arrays) -> None:
        """Write the checkpoint that a resumed run starts from."""
        meta = np.frombuffer(json.dumps(position.to_json()).encode(), np.uint8)
        self._save(_STATE, [meta, *state])

    def load_state(self) -> tuple[Position, Arrays] | None:
        """Read the last checkpoint; None where there is none.

        Raises:
            IntegrityError: It is damaged.
        """
        arrays = self._load(_STATE)
        if arrays is None:
            return None
        return Position.from_json(json.loads(arrays[0].tobytes())), arrays[1:]

    def save_best(self, weights: Arrays) -> None:
        """Write the weights of the best epoch."""
        self._save(_BEST, weights)

    def load_best(self) -> Arrays | None:
        """Read the weights of the best epoch; None before the first.

        Raises:
            IntegrityError: They are damaged.
        """
        return self._load(_BEST)

    def weight_files(self) -> list[str]:
        """List the files that hold weights, by name."""
        return [name for name in (_STATE, _BEST) if (self.path / name).exists()]

    def clear(self) -> None:
        """Remove what an earlier run left, to start afresh."""
        for name in (_STATE, _BEST, "run.json", "history.csv", "predictions.csv", "result.json"):
            (self.path / name).unlink(missing_ok=True)

    def write_text(self, name: str, text: str) -> None:
        """Write a text file, whole or not at all."""
        temporary = self.path / f".{name}.part"
        try:
            temporary.write_text(text, encoding="utf-8", newline="\n")
            os.replace(temporary, self.path / name)  # noqa: PTH105
        except OSError as error:
            raise OutputError(f"{self.path / name} cannot be written: {error}") from error

    def write_history(self, rows: list[EpochRow]) -> None:
        """Write `history.csv`, one line an epoch."""
        lines = [",".join(EpochRow.__slots__)]
        lines += [",".join(_cell(getattr(row, name)) for name in EpochRow.__slots__) for row in rows]
        self.write_text("history.csv", "\n".join(lines) + "\n")

    def _save(self, name: str, arrays: Arrays) -> None:
        temporary = self.path / f".{name}.part"
        try:
            with temporary.open("wb") as stream:
                np.savez(stream, *arrays)
            os.replace(temporary, self.path / name)  # noqa: PTH105
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise OutputError(
                f"{self.path / name} cannot be written: {error}; the checkpoint before it is unharmed",
                "make room and run the same command again",
            ) from error

    def _load(self, name: str) -> Arrays | None:
        path = self.path / name
        if not path.exists():
            return None
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
                return [stored[f"arr_{number}"] for number in range(len(stored.files))]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise IntegrityError(f"{path} is damaged ({error})", "start again with `restart`") from error


def _cell(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
