"""The base of baselines that run the members of a bundle: decoding, and the mean of the members."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.latency.runners.base import BatchPrediction, stages_ms
from braintumor.bench.metrics.timing import now_ms
from braintumor.models.labels import class_permutation, usual_order
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.geometry import apply_geometry
from braintumor.runtime.vote import soft_vote

__all__ = ["PlainRunner"]


class PlainRunner(ABC):
    """A baseline with the decoder of this package, so that all get the same pixels, and the bundle's weights.

    Attributes:
        bundle: The bundle whose members run.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._geometries = tuple(member.geometry for member in bundle.members)
        self._weights = bundle.weights
        self._order = class_permutation(bundle.classes, usual_order(bundle.classes))

    @abstractmethod
    def infer(self, index: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Run one member: float32 [batch, classes] in the bundle's class order, of uint8 [batch, H, W]."""

    def predict(self, paths: Sequence[Path]) -> BatchPrediction:
        """Run image files as one batch.

        Raises:
            InputError: An image cannot be read.
        """
        start = now_ms()
        grey = [read_grey(path).pixels for path in paths]
        pixels = {geometry: [apply_geometry(image, geometry) for image in grey] for geometry in set(self._geometries)}
        decoded = now_ms()
        batch = {geometry: np.stack(images) for geometry, images in pixels.items()}
        assembled = now_ms()
        probabilities, members_ms = [], {}
        for index, geometry in enumerate(self._geometries):
            member_start = now_ms()
            probabilities.append(self.infer(index, batch[geometry]))
            members_ms[self.bundle.members[index].name] = now_ms() - member_start
        computed = now_ms()
        members = np.stack(probabilities)[..., self._order]
        vote = soft_vote(members, self._weights)
        voted = now_ms()
        return BatchPrediction(vote, stages_ms(start, decoded, assembled, computed, voted), members, members_ms)
