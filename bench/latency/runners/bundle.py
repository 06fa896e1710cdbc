"""A bundle on one of our engines, run as `bt-infer` runs it: the same decoding, batches, members and vote."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from braintumor.bench.latency.runners.base import BatchPrediction, RunnerInfo, stages_ms
from braintumor.bench.latency.runners.timed import timed_engine
from braintumor.bench.metrics.timing import now_ms
from braintumor.errors import UnavailableError
from braintumor.models.labels import class_permutation, usual_order
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.image.loading import PreparedImage, prepare_image
from braintumor.runtime.members import Images
from braintumor.runtime.prediction import Policy
from braintumor.runtime.vote_result import vote_results

__all__ = ["BundleRunner"]


class BundleRunner:
    """An ensemble whose members are timed one by one."""

    def __init__(
        self,
        bundle: str,
        *,
        engine: str,
        device: str | None,
        threads: int | None,
        policy: Policy,
        public_key: str | None = None,
    ) -> None:
        """Verify and load.

        Args:
            bundle: Its folder.
            engine: Name of an engine of the registry, or "auto".
            device: As `Ensemble.load` takes it.
            threads: CPU threads; None leaves it to the engine.
            policy: Whether all members run.
            public_key: As `Ensemble.load` takes it.
        """
        self._ensemble = Ensemble.load(
            bundle, engine=engine, device=device, threads=threads, policy=policy, public_key=public_key
        )
        members = self._ensemble.members
        self._timed = [timed_engine(engine) for engine in members.engines]
        members.engines = tuple(self._timed)
        classes = self._ensemble.bundle.classes
        self._order = class_permutation(classes, usual_order(classes))
        self._info = _info(self._ensemble)

    @property
    def info(self) -> RunnerInfo:
        """Name, engine and members."""
        return self._info

    def predict(self, paths: Sequence[Path]) -> BatchPrediction:
        """Run image files as one batch.

        Raises:
            InputError: An image cannot be read.
        """
        for engine in self._timed:
            engine.elapsed_ms = None
        start = now_ms()
        images = self._decoded(paths)
        decoded = now_ms()
        batch = self._batch(images)
        assembled = now_ms()
        predictions = self._ensemble.member_predictions(batch)
        computed = now_ms()
        votes = list(vote_results(predictions, self._ensemble.bundle.weights))
        voted = now_ms()
        times = zip(self._info.members, (engine.elapsed_ms for engine in self._timed), strict=True)
        return BatchPrediction(
            vote=np.stack([vote.vote for vote in votes])[:, self._order],
            stages_ms=stages_ms(start, decoded, assembled, computed, voted),
            members=predictions.probabilities[..., self._order],
            members_ms={name: elapsed_ms for name, elapsed_ms in times if elapsed_ms is not None},
        )

    def images_of(self, paths: Sequence[Path]) -> Images:
        """A batch as the input of the members."""
        return self._batch(self._decoded(paths))

    def compute(self, images: Images) -> object:
        """Run the members."""
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


def _info(ensemble: Ensemble) -> RunnerInfo:
    engines = {engine.info for engine in ensemble.members.engines}
    if len(engines) > 1:
        listed = ", ".join(sorted(f"{engine.name} on {engine.device}" for engine in engines))
        raise UnavailableError(f"the members of {ensemble.bundle.name} run on different engines ({listed})")
    return RunnerInfo(
        name=ensemble.bundle.folder.name,
        kind="bundle",
        sha256=ensemble.bundle.sha256,
        precision=ensemble.bundle.precision,
        engine=ensemble.engine,
        members=tuple(member.name for member in ensemble.bundle.members),
        note="" if ensemble.policy == "full" else f"members are left out: {ensemble.policy}",
    )
