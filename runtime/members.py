"""The members of a bundle on their engines: all of them asked, or as many as the vote needs."""

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import BraintumorError
from braintumor.runtime.bundle.load import Bundle, Member
from braintumor.runtime.early_exit import UNDECIDED, leaders
from braintumor.runtime.engines.base import Engine, Waiting, started
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.registry import engine_factory
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.vote import vote_shares

__all__ = ["Answers", "Asks", "Images", "Members", "load_members"]

Images = Mapping[Geometry, NDArray[np.uint8]]
"""A batch in every geometry that the members need: uint8 [batch, height, width]."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What the members said of a batch.

    Attributes:
        probabilities: float32 [members, batch, classes] in the bundle's orders; 0 where a member was not asked.
        asked: bool [members, batch].
    """

    probabilities: NDArray[np.float32]
    asked: NDArray[np.bool_]


Asks = Callable[[Images], Answers]
"""Puts a batch to members."""


class Members(Closing):
    """Engines, one a member, in the bundle's order.

    Attributes:
        engines: What answers.
        geometries: What each takes.
        shares: float32 [members], of the vote.
    """

    def __init__(self, members: Sequence[Member], engines: Sequence[Engine]) -> None:
        self.engines = tuple(engines)
        self.geometries: tuple[Geometry, ...] = tuple(member.geometry for member in members)
        self.shares = vote_shares([member.weight for member in members])
        self._class_count = members[0].class_count

    def ask(self, images: Images) -> Answers:
        """Ask all. Engines that can work at the same time do."""
        waiting: deque[Waiting] = deque()
        try:
            for engine, geometry in zip(self.engines, self.geometries, strict=True):
                waiting.append(started(engine, images[geometry]))
            probabilities = np.stack([waiting.popleft()() for _ in self.engines])
        except BaseException:
            # What was started is waited for: an engine takes no second batch before.
            for wait in waiting:
                with contextlib.suppress(BraintumorError):
                    wait()
            raise
        return Answers(probabilities, np.ones(probabilities.shape[:2], np.bool_))

    def ask_until_decided(self, images: Images, order: Sequence[int]) -> Answers:
        """Ask one after the other, each about those images only whose vote is still open.

        Args:
            images: The batch.
            order: Indices of all members.
        """
        batch = len(images[self.geometries[0]])
        probabilities = np.zeros((len(self.engines), batch, self._class_count), np.float32)
        asked = np.zeros((len(self.engines), batch), np.bool_)
        undecided = np.arange(batch)
        for position, index in enumerate(order, start=1):
            pixels = images[self.geometries[index]]
            probabilities[index, undecided] = self.engines[index].infer(
                pixels if len(undecided) == batch else pixels[undecided]
            )
            asked[index, undecided] = True
            ran, others = list(order[:position]), list(order[position:])
            found = leaders(probabilities[ran][:, undecided], self.shares[ran], self.shares[others])
            undecided = undecided[found == UNDECIDED]
            if not undecided.size:
                break
        return Answers(probabilities, asked)

    def close(self) -> None:
        """Free the engines. May be called twice."""
        for engine in self.engines:
            engine.close()


def load_members(bundle: Bundle, engine: str, *, device: int, threads: int | None) -> Members:
    """Load every member of a bundle on one engine.

    Args:
        bundle: Verified.
        engine: A name of the registry.
        device: Index of the accelerator.
        threads: CPU threads; None leaves it to the engine.

    Raises:
        UnavailableError: The engine is not usable here.
        IntegrityError: A member's file does not load.
    """
    factory = engine_factory(engine)
    engines: list[Engine] = []
    try:
        for member in bundle.members:
            engines.append(factory(member, threads=threads, device=device))  # noqa: PERF401 - what was loaded must be closed when the next fails
    except BaseException:
        for loaded in engines:
            loaded.close()
        raise
    return Members(bundle.members, engines)
