"""Augmented batches, prepared by a worker thread while the network computes."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from braintumor.models.labels import CLASSES
from braintumor.training.augment import augment_batch
from braintumor.training.data import Dataset
from braintumor.training.recipe import Augmentation

__all__ = ["Batch", "class_weights", "epoch_batches"]

_AHEAD = 3


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's input.

    Attributes:
        step: Its number in the epoch, from 0.
        images: float32 [n, height, width, 1], 0..255.
        targets: float32 [n, 4], one-hot.
        sample_weights: float32 [n].
        files: File names, so that a failure can say where.
    """

    step: int
    images: np.ndarray
    targets: np.ndarray
    sample_weights: np.ndarray
    files: tuple[str, ...]


def class_weights(labels: np.ndarray) -> np.ndarray:
    """float32 [4]: n / (4 x count), so that each class has the same sum and the mean weight is 1."""
    counts = np.bincount(labels, minlength=len(CLASSES))
    return (len(labels) / (len(CLASSES) * np.maximum(counts, 1))).astype(np.float32)


def epoch_batches(
    data: Dataset,
    options: Augmentation,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int = 0,
    weights: np.ndarray | None = None,
) -> Iterator[Batch]:
    """The batches of one epoch from `first_step` on.

    Order and augmentation depend on (seed, epoch, step) only, so that a resumed run sees what the undisturbed
    one would have seen. Images that do not fill a last batch wait for another epoch's order.

    Args:
        data: Training images at the size of the network.
        options: Random changes.
        batch_size: Images a batch; at most all of them.
        seed: The run's seed.
        epoch: Number of the epoch, from 0.
        first_step: Steps that were done already.
        weights: float32 [4], weight in the loss by class; 1 each when None.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(data))
    steps = len(data) // batch_size
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=_AHEAD)
    stop = threading.Event()
    by_class = np.ones(len(CLASSES), np.float32) if weights is None else weights

    def produce() -> None:
        try:
            for step in range(first_step, steps):
                index = order[step * batch_size : (step + 1) * batch_size]
                if not _put(ready, _batch(data, index, step, options, [seed, epoch, step], by_class), stop):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised again where the batch is awaited
            _put(ready, error, stop)

    worker = threading.Thread(target=produce, name="augmentation", daemon=True)
    worker.start()
    try:
        for _ in range(first_step, steps):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        worker.join()


def _put(ready: "queue.Queue[Batch | BaseException]", item: "Batch | BaseException", stop: threading.Event) -> bool:
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.2)
        except queue.Full:
            continue
        return True
    return False


def _batch(
    data: Dataset, index: np.ndarray, step: int, options: Augmentation, seed: list[int], by_class: np.ndarray
) -> Batch:
    images = augment_batch(data.images[index], options, np.random.default_rng(seed))
    labels = data.labels[index]
    return Batch(
        step=step,
        images=images[..., None].astype(np.float32),
        targets=np.eye(len(CLASSES), dtype=np.float32)[labels],
        sample_weights=by_class[labels],
        files=tuple(data.files[number] for number in index),
    )
