"""What the peers that answer with a bundle's members share: decoding, and the mean of the members' answers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from braintumor.bench.latency.runners.base import Answered, stages_ms
from braintumor.bench.metrics.timing import now_ms
from braintumor.models.labels import class_permutation, usual_order
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.image.decode import read_grey
from braintumor.runtime.image.geometry import apply_geometry
from braintumor.runtime.vote import soft_vote

__all__ = ["PlainPeer"]


class PlainPeer(ABC):
    """Decodes with the decoder of this package, so that all get the same pixels, and averages as the bundle says.

    Attributes:
        bundle: Whose members answer.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._geometries = tuple(member.geometry for member in bundle.members)
        self._weights = bundle.weights
        self._order = class_permutation(bundle.classes, usual_order(bundle.classes))

    @abstractmethod
    def infer(self, index: int, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """What one member answers: float32 [batch, classes] in the bundle's class order, to uint8 [batch, H, W]."""

    def answer(self, paths: Sequence[Path]) -> Answered:
        """Answer image files as one batch.

        Raises:
            InputError: An image cannot be read.
        """
        begun = now_ms()
        grey = [read_grey(path).pixels for path in paths]
        pixels = {geometry: [apply_geometry(image, geometry) for image in grey] for geometry in set(self._geometries)}
        decoded = now_ms()
        batch = {geometry: np.stack(images) for geometry, images in pixels.items()}
        assembled = now_ms()
        answers, members_ms = [], {}
        for index, geometry in enumerate(self._geometries):
            start = now_ms()
            answers.append(self.infer(index, batch[geometry]))
            members_ms[self.bundle.members[index].name] = now_ms() - start
        computed = now_ms()
        members = np.stack(answers)[..., self._order]
        vote = soft_vote(members, self._weights)
        voted = now_ms()
        return Answered(vote, stages_ms(begun, decoded, assembled, computed, voted), members, members_ms)
