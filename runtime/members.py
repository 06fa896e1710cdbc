"""The members of a bundle on their engines: all of them run, or as many as the vote needs."""

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import BraintumorError
from braintumor.runtime.bundle.load import Bundle, Member
from braintumor.runtime.early_exit import UNDECIDED
from braintumor.runtime.engines.answers import check_answers
from braintumor.runtime.engines.base import Engine, PendingResult, submit
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.registry import engine_factory
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.vote import vote_shares

__all__ = [
    "Images",
    "InferBatch",
    "MemberPredictions",
    "Members",
    "SettledLabels",
    "load_members",
    "run_until_settled",
]

Images = Mapping[Geometry, NDArray[np.uint8]]
"""A batch in every geometry that the members need: uint8 [batch, height, width]."""


@dataclass(frozen=True, slots=True)
class MemberPredictions:
    """The members' predictions for a batch.

    Attributes:
        probabilities: float32 [members, batch, classes] in the bundle's orders; 0 where a member did not run.
        ran: bool [members, batch].
    """

    probabilities: NDArray[np.float32]
    ran: NDArray[np.bool_]


SettledLabels = Callable[[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]], NDArray[np.intp]]
"""Says which labels stand, from the probabilities and the shares of the members that ran, and the shares to come; see
`braintumor.runtime.early_exit.leaders`."""

InferBatch = Callable[[Images], MemberPredictions]
"""Runs members on a batch."""


class Members(Closing):
    """Engines, one a member, in the bundle's order.

    Attributes:
        engines: One a member.
        geometries: Of the input of each.
        shares: float32 [members], of the vote.
    """

    def __init__(self, members: Sequence[Member], engines: Sequence[Engine]) -> None:
        self._members = tuple(members)
        self.engines = tuple(engines)
        self.geometries: tuple[Geometry, ...] = tuple(member.geometry for member in members)
        self.shares = vote_shares([member.weight for member in members])
        self._class_count = members[0].class_count

    def infer(self, images: Images) -> MemberPredictions:
        """Run all members. Engines that can work at the same time do.

        Raises:
            IntegrityError: A member's answers are not probabilities.
        """
        pending: deque[PendingResult] = deque()
        try:
            for engine, geometry in zip(self.engines, self.geometries, strict=True):
                pending.append(submit(engine, images[geometry]))
            answers = [pending.popleft()() for _ in self.engines]
        except BaseException:
            # What was started is waited for: an engine takes no second batch before.
            for result in pending:
                with contextlib.suppress(BraintumorError):
                    result()
            raise
        for member, geometry, rows in zip(self._members, self.geometries, answers, strict=True):
            check_answers(member, rows, len(images[geometry]))
        probabilities = np.stack(answers)
        return MemberPredictions(probabilities, np.ones(probabilities.shape[:2], np.bool_))

    def infer_until_settled(
        self, images: Images, order: Sequence[int], settled_labels: SettledLabels
    ) -> MemberPredictions:
        """Run one member after the other, each on those images only whose label is still open.

        Args:
            images: The batch.
            order: Indices of all members.
            settled_labels: Which labels stand.

        Raises:
            IntegrityError: A member's answers are not probabilities.
        """
        batch = len(images[self.geometries[0]])

        def infer(index: int, rows: NDArray[np.intp]) -> NDArray[np.float32]:
            pixels = images[self.geometries[index]]
            answers = self.engines[index].infer(pixels if len(rows) == batch else pixels[rows])
            check_answers(self._members[index], answers, len(rows))
            return answers

        return run_until_settled(infer, order, self.shares, (batch, self._class_count), settled_labels)

    def close(self) -> None:
        """Free the engines. May be called twice."""
        for engine in self.engines:
            engine.close()


def run_until_settled(
    infer: Callable[[int, NDArray[np.intp]], NDArray[np.float32]],
    order: Sequence[int],
    shares: NDArray[np.float32],
    shape: tuple[int, int],
    settled_labels: SettledLabels,
) -> MemberPredictions:
    """Run one member after the other, each on those images only whose label is still open.

    Args:
        infer: Gives the probabilities, float32 [rows, classes], of a member for these rows of the batch.
        order: Indices of all members.
        shares: float32 [members], of the vote.
        shape: Images in the batch, and classes.
        settled_labels: Which labels stand.
    """
    batch = shape[0]
    probabilities = np.zeros((len(shares), *shape), np.float32)
    ran = np.zeros((len(shares), batch), np.bool_)
    undecided = np.arange(batch)
    for position, index in enumerate(order, start=1):
        probabilities[index, undecided] = infer(index, undecided)
        ran[index, undecided] = True
        done, to_come = list(order[:position]), list(order[position:])
        labels = settled_labels(probabilities[done][:, undecided], shares[done], shares[to_come])
        undecided = undecided[labels == UNDECIDED]
        if not undecided.size:
            break
    return MemberPredictions(probabilities, ran)


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
