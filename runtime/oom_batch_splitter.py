"""Batches split in halves when a device's memory does not hold them."""

import logging

import numpy as np

from braintumor.errors import OutOfMemoryError
from braintumor.runtime.members import Images, InferBatch, MemberPredictions

__all__ = ["OomBatchSplitter"]

_LOG = logging.getLogger("braintumor")


class OomBatchSplitter:
    """Runs batches in parts that fit into memory, and remembers the size that fitted.

    Attributes:
        limit: Images that go through the members together; None while every batch has fitted.
    """

    def __init__(self) -> None:
        self.limit: int | None = None

    def infer(self, infer_batch: InferBatch, images: Images) -> MemberPredictions:
        """The predictions for a batch, put together from parts where the whole does not fit.

        A batch that does not fit is halved, with a warning on the logger "braintumor", until it does; later batches
        begin with what fitted.

        Args:
            infer_batch: Runs the members on a batch, or on a part of it.
            images: The batch.

        Raises:
            OutOfMemoryError: Not even one image fits.
        """
        count = len(next(iter(images.values())))
        limit = count if self.limit is None else min(self.limit, count)
        parts: list[MemberPredictions] = []
        start = 0
        while start < count:
            part = {geometry: pixels[start : start + limit] for geometry, pixels in images.items()}
            try:
                parts.append(infer_batch(part))
            except OutOfMemoryError as error:
                if limit == 1:
                    raise
                self.limit = limit = -(-limit // 2)
                _LOG.warning("%s; going on with %d images at a time", error, limit)
            else:
                start += limit
        if len(parts) == 1:
            return parts[0]
        return MemberPredictions(
            np.concatenate([part.probabilities for part in parts], axis=1),
            np.concatenate([part.ran for part in parts], axis=1),
        )
