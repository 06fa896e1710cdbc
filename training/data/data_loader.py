"""Augmented batches, prepared by a worker thread while the network computes."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from braintumor.models.labels import CLASSES
from braintumor.training.data.augment import augment_batch
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.targets import ANY_TUMOUR, target_rows
from braintumor.training.recipe import Augmentation

__all__ = ["Batch", "class_weights", "epoch_batches"]

_AHEAD = 3


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One step's input.

    Attributes:
        step: Its number in the epoch, from 0.
        images: float32 [n, height, width, 1], 0..255.
        targets: float32 [n, 4], see `target_rows`.
        sample_weights: float32 [n].
        files: File names, so that a failure can say where.
    """

    step: int
    images: np.ndarray
    targets: np.ndarray
    sample_weights: np.ndarray
    files: tuple[str, ...]


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Weigh classes, float32 [5]: n / (4 x count), so that each class has the same sum and the mean weight is 1.

    The last one, for tumours of unknown type, is 1.
    """
    known = labels[labels != ANY_TUMOUR]
    counts = np.bincount(known, minlength=len(CLASSES))
    return np.append(len(known) / (len(CLASSES) * np.maximum(counts, 1)), 1.0).astype(np.float32)


def epoch_batches(  # noqa: PLR0913 - keywords
    data: Dataset,
    options: Augmentation,
    *,
    batch_size: int,
    seed: int,
    epoch: int,
    first_step: int = 0,
    weights: np.ndarray | None = None,
    size: int | None = None,
    smoothing: float = 0.0,
) -> Iterator[Batch]:
    """Yield the batches of one epoch from `first_step` on.

    Order and augmentation depend on (seed, epoch, step) only, so that a resumed run sees what the undisturbed
    one would have seen. Images that do not fill a last batch wait for another epoch's order.

    Args:
        data: Training images.
        options: Random changes.
        batch_size: Images a batch; at most all of them.
        seed: The run's seed.
        epoch: Number of the epoch, from 0.
        first_step: Steps that were done already.
        weights: float32 [5], weight in the loss by class, see `class_weights`; 1 each when None.
        size: Pixels a side of the batches; None for those of the images.
        smoothing: Label smoothing, 0 to below 1.
    """
    order = np.random.default_rng([seed, epoch]).permutation(len(data))
    steps = len(data) // batch_size
    ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=_AHEAD)
    stop = threading.Event()
    by_class = np.ones(len(CLASSES) + 1, np.float32) if weights is None else weights

    def produce() -> None:
        try:
            for step in range(first_step, steps):
                index = order[step * batch_size : (step + 1) * batch_size]
                rng = np.random.default_rng([seed, epoch, step])
                images = augment_batch(data.images[index], options, rng, size)
                if not _put(ready, _batch(data, index, step, images, smoothing, by_class), stop):
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
    data: Dataset, index: np.ndarray, step: int, images: np.ndarray, smoothing: float, by_class: np.ndarray
) -> Batch:
    labels = data.labels[index]
    return Batch(
        step=step,
        images=images[..., None].astype(np.float32),
        targets=target_rows(labels, smoothing),
        sample_weights=by_class[labels],
        files=tuple(data.files[number] for number in index),
    )
