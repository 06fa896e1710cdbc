"""A bundle on an engine of ours, answered as `bt-infer` answers: the same decoding, batches, members and vote."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from braintumor.bench.latency.runners.base import Answered, ContenderInfo, stages_ms
from braintumor.bench.latency.runners.timed import timed_engine
from braintumor.bench.metrics.timing import now_ms
from braintumor.errors import UnavailableError
from braintumor.models.labels import class_permutation, usual_order
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.image.loading import PreparedImage, prepare_image
from braintumor.runtime.members import Images
from braintumor.runtime.prediction import Policy
from braintumor.runtime.vote_result import vote_results

__all__ = ["BundleContender"]


class BundleContender:
    """An ensemble whose members are timed one by one."""

    def __init__(self, bundle: str, *, engine: str, device: str | None, threads: int | None, policy: Policy) -> None:
        """Verify and load.

        Args:
            bundle: Its folder.
            engine: A name of the registry, or "auto".
            device: As `Ensemble.load` takes it.
            threads: CPU threads; None leaves it to the engine.
            policy: Whether all members are asked.
        """
        self._ensemble = Ensemble.load(bundle, engine=engine, device=device, threads=threads, policy=policy)
        members = self._ensemble.members
        self._timed = [timed_engine(one) for one in members.engines]
        members.engines = tuple(self._timed)
        classes = self._ensemble.bundle.classes
        self._order = class_permutation(classes, usual_order(classes))
        self._info = _info(self._ensemble)

    @property
    def info(self) -> ContenderInfo:
        """Who it is."""
        return self._info

    def answer(self, paths: Sequence[Path]) -> Answered:
        """Answer image files as one batch.

        Raises:
            InputError: An image cannot be read.
        """
        for one in self._timed:
            one.took_ms = None
        begun = now_ms()
        images = self._decoded(paths)
        decoded = now_ms()
        batch = self._batch(images)
        assembled = now_ms()
        answers = self._ensemble.member_predictions(batch)
        computed = now_ms()
        found = list(vote_results(answers, self._ensemble.bundle.weights))
        voted = now_ms()
        times = zip(self._info.members, (one.took_ms for one in self._timed), strict=True)
        return Answered(
            vote=np.stack([one.vote for one in found])[:, self._order],
            stages_ms=stages_ms(begun, decoded, assembled, computed, voted),
            members=answers.probabilities[..., self._order],
            members_ms={name: took_ms for name, took_ms in times if took_ms is not None},
        )

    def images_of(self, paths: Sequence[Path]) -> Images:
        """A batch as the members take it."""
        return self._batch(self._decoded(paths))

    def compute(self, images: Images) -> object:
        """The members' part of an answer."""
        return self._ensemble.member_predictions(images)

    def _decoded(self, paths: Sequence[Path]) -> list[PreparedImage]:
        geometries = set(self._ensemble.geometries)
        images = [prepare_image(path, geometries) for path in paths]
        for image in images:
            if image.error is not None:
                raise image.error
        return images

    def _batch(self, images: Sequence[PreparedImage]) -> Images:
        return {
            geometry: np.stack([image.pixels[geometry] for image in images])
            for geometry in set(self._ensemble.geometries)
        }


def _info(ensemble: Ensemble) -> ContenderInfo:
    engines = {one.info for one in ensemble.members.engines}
    if len(engines) > 1:
        found = ", ".join(sorted(f"{one.name} on {one.device}" for one in engines))
        raise UnavailableError(f"the members of {ensemble.bundle.name} run on different engines ({found})")
    return ContenderInfo(
        name=ensemble.bundle.folder.name,
        kind="bundle",
        sha256=ensemble.bundle.sha256,
        precision=ensemble.bundle.precision,
        engine=ensemble.engine,
        members=tuple(member.name for member in ensemble.bundle.members),
        note="" if ensemble.policy == "full" else "members that cannot change the label are left out",
    )
