"""When a device's memory does not hold a batch: the same images in halves."""

import logging

import numpy as np

from braintumor.errors import OutOfMemoryError
from braintumor.runtime.members import Answers, Asks, Images

__all__ = ["Halving"]

_LOG = logging.getLogger("braintumor")


class Halving:
    """Asks in batches that fit, and remembers what fitted.

    Attributes:
        limit: Images that go through the members together; None while every batch has fitted.
    """

    def __init__(self) -> None:
        self.limit: int | None = None

    def ask(self, ask: Asks, images: Images) -> Answers:
        """What `ask` answers to a batch, put together from parts where the whole does not fit.

        A batch that does not fit is halved, with a warning on the logger "braintumor", until it does; later batches
        begin with what fitted.

        Raises:
            OutOfMemoryError: Not even one image fits.
        """
        count = len(next(iter(images.values())))
        limit = count if self.limit is None else min(self.limit, count)
        parts: list[Answers] = []
        start = 0
        while start < count:
            part = {geometry: pixels[start : start + limit] for geometry, pixels in images.items()}
            try:
                parts.append(ask(part))
            except OutOfMemoryError as error:
                if limit == 1:
                    raise
                self.limit = limit = -(-limit // 2)
                _LOG.warning("%s; going on with %d images at a time", error, limit)
            else:
                start += limit
        if len(parts) == 1:
            return parts[0]
        return Answers(
            np.concatenate([part.probabilities for part in parts], axis=1),
            np.concatenate([part.asked for part in parts], axis=1),
        )
