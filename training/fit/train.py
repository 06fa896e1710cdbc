"""The training run: epochs, validation, checkpoints, and the end of it."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NoReturn

import numpy as np

from braintumor.bench.data.manifest import Split
from braintumor.errors import UsageError
from braintumor.models.catalog import model_spec
from braintumor.training.data.data_loader import Batch, class_weights, epoch_batches
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.targets import allowed, label_losses
from braintumor.training.fit.checkpoint import EpochRow, Position, RunFolder
from braintumor.training.fit.learner import Learner, StepResult
from braintumor.training.fit.progress import Progress, ProgressCallback, no_progress
from braintumor.training.fit.run_record import check_or_write_record
from braintumor.training.fit.schedule import BudgetClock, one_cycle
from braintumor.training.keras_package import keras_module
from braintumor.training.recipe import Recipe

__all__ = ["DivergedError", "learning_images", "train_model"]


_LEARNING: Final[tuple[Split, Split]] = ("train", "tumour-train")
_CHOOSING: Final[tuple[Split, ...]] = ("val", "tumour-dev")

_COPIES: Final = 12
"""Of all weights in float32: up to four in the checkpoint (AdamW's two moments, the average), one each in the best
weights and in the `.keras` file; and the old file lies beside the new one until that is whole."""


class DivergedError(UsageError):
    """The loss is no longer a number; the last good checkpoint is kept."""


def train_model(
    recipe: Recipe,
    parts: Mapping[Split, Dataset],
    folder: RunFolder,
    progress: ProgressCallback = no_progress,
    *,
    checkpoint_every_s: float = 240.0,
) -> Position:
    """Train, or go on with what the folder holds, until the schedule ends.

    Args:
        recipe: What to do. A folder that was begun with another recipe is refused.
        parts: Images to learn from (train, tumour-train), at least a batch of them, and images that choose the best
            epoch (val, tumour-dev); those of tumours of unknown type may be missing.
        folder: Gets `run.json`, `history.csv`, `state.npz` (to resume) and `best.npz` (the best epoch).
        progress: Called after each step.
        checkpoint_every_s: Seconds between checkpoints within an epoch; each epoch ends with one in any case.

    Returns:
        The final position, with the learning curves.

    Raises:
        UsageError: Another recipe's folder, or fewer images than a batch.
        OutputError: The folder cannot be written.
        DivergedError: The loss is no longer a number.
    """
    images = sum(len(parts[split]) for split in _LEARNING if split in parts)
    if images < recipe.batch_size:
        raise UsageError(
            f"{images} training images are fewer than a batch of {recipe.batch_size}", "reduce `batch_size`"
        )
    folder.create(needed_bytes=model_spec(recipe.model).parameters * 4 * _COPIES)
    check_or_write_record(folder, recipe)
    keras_module().utils.set_random_seed(recipe.seed)
    return _Run(recipe, parts, folder, progress, checkpoint_every_s).to_the_end()


def learning_images(recipe: Recipe, parts: Mapping[Split, Dataset]) -> Dataset:
    """The images that a run learns from, cropped as the recipe says, at the size that they are stored at."""
    known, unknown = _LEARNING
    data = parts[known].joined(parts.get(unknown))
    return data.resized(max(data.images.shape[1], recipe.final_size), recipe.crop)


class _Run:
    """One process's part of a run."""

    def __init__(
        self,
        recipe: Recipe,
        parts: Mapping[Split, Dataset],
        folder: RunFolder,
        progress: ProgressCallback,
        checkpoint_every_s: float,
    ) -> None:
        self._recipe, self._folder, self._progress = recipe, folder, progress
        self._checkpoint_every_s = checkpoint_every_s
        # Augmentation starts from the stored size: a picture that is small already has one sharpness only.
        self._train = learning_images(recipe, parts)
        self._choosing = {split: parts[split] for split in _CHOOSING if split in parts}
        self._sized: dict[Split, Dataset] = {}
        self._steps = len(self._train) // recipe.batch_size
        self._weights = class_weights(self._train.labels) if recipe.class_weights else None
        self._at = Position()
        self._learner: Learner | None = None
        self._saved_s = 0.0

    def to_the_end(self) -> Position:
        stored = self._folder.load_state()
        if stored is not None:
            self._at, state = stored
            self._use_size(self._at.size).restore(state)
        self._clock = BudgetClock(self._at.elapsed_s)
        self._saved_s = self._at.elapsed_s
        while not self._finished():
            if self._at.step == 0:
                self._at.size = self._recipe.size_at(self._fraction())
            learner = self._use_size(self._at.size)
            rate = self._train_epoch(learner)
            self._end_epoch(learner, rate)
        return self._at

    def _finished(self) -> bool:
        at, patience = self._at, self._recipe.patience
        waited = at.epoch - at.best_epoch if at.best_epoch else 0
        # An epoch under way is always brought to its validation, so that no step is thrown away; and a budget that
        # was too short for the last size still gets one step there, so that there is something to keep.
        over = self._fraction() >= 1 or bool(patience and waited >= patience)
        return at.step == 0 and at.best_epoch > 0 and over

    def _fraction(self) -> float:
        """Part of the schedule that is used up, by steps or by time."""
        done = (self._at.epoch * self._steps + self._at.step) / (self._recipe.epochs * self._steps)
        if self._recipe.minutes is not None:
            done = max(done, self._at.elapsed_s / (60 * self._recipe.minutes))
        return min(done, 1.0)

    def _use_size(self, size: int) -> Learner:
        if self._learner is None or self._learner.size != size:
            state = self._learner.state() if self._learner else None
            self._learner = None
            self._learner = Learner(self._recipe, size)
            if state is not None:
                self._learner.restore(state)
            self._sized = {split: data.resized(size, self._recipe.crop) for split, data in self._choosing.items()}
        return self._learner

    def _train_epoch(self, learner: Learner) -> float:
        """Do the rest of the epoch; return the last learning rate."""
        at, recipe = self._at, self._recipe
        rate = 0.0
        batches = epoch_batches(
            self._train,
            recipe.augmentation,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            epoch=at.epoch,
            first_step=at.step,
            weights=self._weights,
            size=at.size,
            smoothing=recipe.label_smoothing,
        )
        for batch in batches:
            rate = one_cycle(self._fraction(), peak=recipe.peak_learning_rate, warmup=recipe.warmup)
            result = learner.step(batch, rate)
            self._check(result, batch)
            at.step += 1
            at.loss_sum += result.loss
            at.accuracy_sum += result.accuracy
            at.epoch_s += self._clock.tick()
            at.elapsed_s = self._clock.elapsed_s
            self._report_progress()
            if at.elapsed_s - self._saved_s > self._checkpoint_every_s and at.step < self._steps:
                self._save(learner)
            if recipe.minutes is not None and self._fraction() >= 1:
                break  # the budget is used up in the middle of an epoch
        return rate

    def _check(self, result: StepResult, batch: Batch) -> None:
        if not math.isfinite(result.loss):
            where = f"epoch {self._at.epoch + 1}, batch {batch.step + 1} of {self._steps}"
            self._give_up(f"the loss became {result.loss} in {where} ({', '.join(batch.files[:3])}, ...)")

    def _give_up(self, why: str) -> NoReturn:
        files = " and ".join(self._folder.weight_files())
        state = f"{self._folder.path} keeps {files} from before" if files else "there is no checkpoint yet"
        raise DivergedError(
            f"{why}; {state}",
            f"try `restart` with a lower `learning_rate` (now {self._recipe.peak_learning_rate:g}) or "
            "`precision='float32'`",
        )

    def _end_epoch(self, learner: Learner, rate: float) -> None:
        at, steps = self._at, max(self._at.step, 1)
        weights = learner.weights()
        loss, accuracy, detected = self._validate(learner, weights)
        if not math.isfinite(loss):
            self._give_up(f"the validation loss became {loss} in epoch {at.epoch + 1}")
        self._clock.lap()
        at.elapsed_s = self._clock.elapsed_s
        row = EpochRow(
            epoch=at.epoch + 1,
            size=at.size,
            train_loss=at.loss_sum / steps,
            train_accuracy=at.accuracy_sum / steps,
            val_loss=loss,
            val_accuracy=accuracy,
            tumours_found=detected,
            learning_rate=rate,
            images_per_s=steps * self._recipe.batch_size / max(at.epoch_s, 1e-9),
            elapsed_s=at.elapsed_s,
        )
        at.rows = [*at.rows, row]
        at.epoch, at.step, at.loss_sum, at.accuracy_sum, at.epoch_s = at.epoch + 1, 0, 0.0, 0.0, 0.0
        # Only an epoch at the final size can be the one that is kept: the others answer another question.
        if at.size == self._recipe.final_size and loss < at.best_loss:
            at.best_loss, at.best_epoch = loss, at.epoch
            self._folder.save_best(weights)
        self._save(learner)
        self._folder.write_history(at.rows)

    def _validate(self, learner: Learner, weights: list[np.ndarray]) -> tuple[float, float, float]:
        """Mean loss of all images that choose, in nats; accuracy of val; part of tumour-dev not called healthy."""
        live = learner.state() if self._recipe.ema else None
        if live is not None:
            learner.assign_weights(weights)
        results = {
            split: (learner.predict(data.images).astype(np.float64), data.labels)
            for split, data in self._sized.items()
        }
        if live is not None:
            learner.restore(live)
        loss = np.concatenate([label_losses(*pair) for pair in results.values()]).mean()
        right = {split: float(allowed(*pair).mean()) for split, pair in results.items()}
        return float(loss), right["val"], right.get("tumour-dev", math.nan)

    def _save(self, learner: Learner) -> None:
        state = learner.state()
        # The loss of a step is that of the weights before it: they can be spoilt while it still looks well.
        if not all(np.isfinite(value).all() for value in state if value.dtype.kind == "f"):
            self._give_up(f"a weight is no longer a number after step {self._at.step} of epoch {self._at.epoch + 1}")
        self._folder.save_state(replace(self._at), state)
        self._clock.lap()
        self._at.elapsed_s = self._saved_s = self._clock.elapsed_s

    def _report_progress(self) -> None:
        at = self._at
        self._progress(
            Progress(
                epoch=at.epoch + 1,
                step=at.step,
                steps=self._steps,
                fraction=self._fraction(),
                size=at.size,
                loss=at.loss_sum / at.step,
                accuracy=at.accuracy_sum / at.step,
                images_per_s=at.step * self._recipe.batch_size / max(at.epoch_s, 1e-9),
                elapsed_s=at.elapsed_s,
                last=at.rows[-1] if at.rows else None,
            )
        )
