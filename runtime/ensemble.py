"""An ensemble, loaded: images in, predictions out."""

import contextlib
import functools
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import BraintumorError, InputError, UsageError
from braintumor.progress import ProgressCallback, silent
from braintumor.runtime.arguments import check_count, check_sources, limit_threads, parse_device
from braintumor.runtime.bundle.load import Bundle, load_bundle
from braintumor.runtime.bundle.starter import default_bundle
from braintumor.runtime.cascade import settled_labels
from braintumor.runtime.current_verdict import Requirement, check_requirement, current_verdict
from braintumor.runtime.early_exit import leaders, running_order
from braintumor.runtime.engine_cost import member_costs_ms
from braintumor.runtime.engine_selection import ChoiceCallback, load_fastest
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.registry import AUTO, candidates
from braintumor.runtime.image.batching import prepared_groups
from braintumor.runtime.image.geometry import Geometry
from braintumor.runtime.image.loading import PreparedImage, Source, elapsed_ms, prepare_image
from braintumor.runtime.image.sandbox import Sandbox
from braintumor.runtime.members import Images, MemberPredictions, Members, SettledLabels
from braintumor.runtime.oom_batch_splitter import OomBatchSplitter
from braintumor.runtime.prediction import POLICIES, MemberPrediction, Policy, Prediction
from braintumor.runtime.vote_result import VoteResult, vote_results

__all__ = ["DEFAULT_BATCH_SIZE", "Ensemble", "Source"]

DEFAULT_BATCH_SIZE = 32

# More would only hold more images at a time.
_MAX_DECODE_THREADS = 8


class Ensemble(Closing):
    """The members of a bundle on one engine, and their vote.

    Make one with `Ensemble.load`; it is a context manager. Threads may share one: they take turns. Processes may not:
    what a fork inherits of an engine hangs, so load in the worker.

    Attributes:
        bundle: Loaded and verified.
        engine: The library and device that it really runs on.
        policy: Whether all members run.
    """

    def __init__(
        self, bundle: Bundle, members: Members, policy: Policy = "full", order: Sequence[int] | None = None
    ) -> None:
        """Take over loaded members.

        Args:
            bundle: Of the members.
            members: Closed with the ensemble.
            policy: Which of them run.
            order: In which they run, for any other policy than "full".
        """
        self.bundle = bundle
        self.engine = members.engines[0].info
        self.policy: Policy = policy
        self._order = order
        cascade = bundle.cascade if policy == "cascade" else None
        self._risk = None if cascade is None else cascade.risk
        self._settled_labels: SettledLabels = (
            leaders if cascade is None else functools.partial(settled_labels, threshold=cascade.threshold)
        )
        self._members = members
        self._splitter = OomBatchSplitter()
        self._closed = False
        self._process = os.getpid()
        # Engines answer one batch at a time, some of them wrongly when given two.
        self._turn = threading.Lock()
        self._bundle_info = {"name": bundle.name, "sha256": bundle.sha256, "precision": bundle.precision}
        if bundle.signature is not None:
            self._bundle_info["signed_by"] = bundle.signature.key_sha256
        if bundle.assumed:
            self._bundle_info["class_order"] = "assumed"
        self._engine_info = {
            "name": self.engine.name,
            "provider": self.engine.provider,
            "device": self.engine.device,
            "version": self.engine.version,
        }
        verdict = current_verdict(bundle, self._engine_info)
        self._bundle_info["verdict"] = verdict.status
        if verdict.judged_on is not None:
            self._bundle_info["judged_on"] = verdict.judged_on

    @classmethod
    def load(  # noqa: PLR0913 - keywords
        cls,
        bundle: str | Path | Bundle | None = None,
        *,
        engine: str = AUTO,
        device: str | None = None,
        threads: int | None = None,
        policy: Policy = "full",
        on_choice: ChoiceCallback | None = None,
        progress: ProgressCallback = silent,
        public_key: str | Path | None = None,
        require: Requirement | None = None,
    ) -> Self:
        """Verify a bundle and load its members.

        Args:
            bundle: Its folder, or a loaded one; None for $BRAINTUMOR_BUNDLE, the default of ./bundles or,
                where there is neither, the models that come with the package (`braintumor.runtime.bundle.starter`).
            engine: A name of `runtime.engines.registry.ENGINES`, or "auto" for the fastest that answers as the
                bundle says: measured at the first time on a machine, remembered afterwards.
            device: "cpu", "cuda", "gpu" or, for the second GPU, "cuda:1"; None for the engine's own first device.
            threads: CPU threads for inference, at most as many as there are CPUs; None leaves it to the engine.
            policy: "full"; "early-exit" to leave out, image by image, the members that cannot change the label; or
                "cascade" to leave out those that are not needed to be sure, at the risk that the bundle states.
            on_choice: Called with the measurement when "auto" had to measure.
            progress: Gets the steps of what takes long at the first time: exporting, measuring.
            public_key: The PEM file of a public key that must have signed the bundle; None for any bundle.
            require: "accepted" for a bundle that `bt-bench accuracy` accepted on the engine that answers, in the
                same version; None for any bundle.

        Raises:
            IntegrityError: The bundle is damaged, not there, or not signed with that key.
            VerdictError: It was required to be accepted, and is not.
            UnavailableError: The engine is not usable here.
            UsageError: No such engine, device, policy or number of threads, or they do not go together.
        """
        if policy not in POLICIES:
            raise UsageError(f"no policy is called {policy!r}; allowed are {', '.join(POLICIES)}")
        kind, index = parse_device(device)
        threads = limit_threads("threads", threads)
        names = candidates(engine, kind)
        verified = _verified(bundle, progress, public_key)
        if policy == "cascade" and verified.cascade is None:
            raise UsageError(
                f"the bundle {verified.name!r} has no cascade",
                "export it again with the option cascade of bt-export, or use `policy='early-exit'`",
            )
        # Before seconds of loading; once more with the engine that was loaded.
        check_requirement(require, verified, {})
        members = load_fastest(verified, names, device=index, threads=threads, on_choice=on_choice, progress=progress)
        try:
            ensemble = cls(verified, members, policy, _running_order(verified, members, policy, threads))
            check_requirement(require, verified, ensemble.engine_info)
        except BaseException:
            members.close()
            raise
        return ensemble

    def predict(self, source: Source) -> Prediction:
        """Answer one image.

        Raises:
            InputError: The image cannot be read. (`predict_many` gives a prediction with the error instead.)
            UsageError: The ensemble is closed, or was loaded by another process.
        """
        self._require_open()
        image = self._prepare(source)
        if image.error is not None:
            raise image.error
        return self._predict_batch([image])[0]

    def predict_many(
        self,
        sources: Iterable[Source],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        decode_threads: int | None = None,
        sandbox: bool | Sandbox = False,
    ) -> Iterator[Prediction]:
        """Answer any number of images, in order, as they come.

        The next batch is decoded in threads while the members work; memory does not grow with the number of
        images. An image that cannot be read gives a prediction with status "error", and the rest go on.

        Args:
            sources: Read lazily.
            batch_size: Images that go through the members together, at least 1.
            decode_threads: Threads that decode, at most as many as there are CPUs; None for that many, at most 8.
            sandbox: True to decode in processes with limits of time and memory, so that a file which hangs or crashes
                a decoder costs its own prediction only; or a `Sandbox`, which stays open for further calls.

        Raises:
            UsageError: A batch size or a number of threads below 1, or a single source; at the call, before anything
                is read.
        """
        self._require_open()
        threads = limit_threads("decode_threads", decode_threads)
        return self._predictions(
            check_sources(sources),
            check_count("batch_size", batch_size),
            threads or min(_MAX_DECODE_THREADS, os.cpu_count() or 1),
            sandbox=sandbox,
        )

    def _predictions(
        self, sources: Iterable[Source], batch_size: int, threads: int, *, sandbox: bool | Sandbox
    ) -> Iterator[Prediction]:
        own = Sandbox(processes=threads) if sandbox is True else None
        processes = own if sandbox is True else sandbox
        prepare = (
            functools.partial(processes.prepare, geometries=set(self.geometries)) if processes else self._prepare
        )
        groups = prepared_groups(sources, prepare, group_size=batch_size, threads=threads)
        # The processes are closed first: nobody waits for what is being decoded.
        with contextlib.closing(groups), own or contextlib.nullcontext():  # type: ignore[type-var]  # a generator has close()
            for group in groups:
                yield from self._predict_batch(group)

    def probabilities(self, images: Images) -> NDArray[np.float32]:
        """Each member's softmax for a batch that is decoded already; all members, whatever the policy.

        Args:
            images: For every geometry in `geometries`, uint8 [batch, height, width].

        Returns:
            float32 [members, batch, classes] in the bundle's class order.

        Raises:
            UsageError: The ensemble is closed.
        """
        with self._my_turn():
            return self._splitter.infer(self._members.infer, images).probabilities

    def member_predictions(self, images: Images) -> MemberPredictions:
        """The members' predictions for a batch that is decoded already, of those that the policy runs.

        Args:
            images: For every geometry in `geometries`, uint8 [batch, height, width].

        Raises:
            UsageError: The ensemble is closed.
        """
        order = self._order
        with self._my_turn():
            if order is None:
                return self._splitter.infer(self._members.infer, images)
            return self._splitter.infer(
                lambda part: self._members.infer_until_settled(part, order, self._settled_labels), images
            )

    @property
    def bundle_info(self) -> dict[str, str]:
        """The bundle as each prediction names it; a copy."""
        return dict(self._bundle_info)

    @property
    def engine_info(self) -> dict[str, str]:
        """The engine as each prediction names it; a copy."""
        return dict(self._engine_info)

    @property
    def members(self) -> Members:
        """The members, in the bundle's order; closed with the ensemble."""
        return self._members

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """The crop and resize of an image for each member, in the bundle's order."""
        return self._members.geometries

    def close(self) -> None:
        """Free the members, when they have answered. May be called twice."""
        self._closed = True
        if self._process != os.getpid():
            # They are the parent's.
            return
        with self._turn:
            self._members.close()

    @contextlib.contextmanager
    def _my_turn(self) -> Iterator[None]:
        """While no other thread runs the members, or closes them."""
        # Before the lock: a fork inherits one that its owner, a thread of the parent, never gives back.
        self._require_open()
        with self._turn:
            self._require_open()
            yield

    def _require_open(self) -> None:
        if self._process != os.getpid():
            raise UsageError(
                f"the ensemble {self.bundle.name!r} was loaded by another process ({self._process}), and what a fork "
                "inherits of an engine hangs",
                "load it in this process with Ensemble.load",
            )
        if self._closed:
            raise UsageError(f"the ensemble {self.bundle.name!r} is closed", "load it again with Ensemble.load")

    def _prepare(self, source: Source) -> PreparedImage:
        return prepare_image(source, set(self.geometries))

    def _predict_batch(self, images: Sequence[PreparedImage]) -> list[Prediction]:
        readable = [image for image in images if image.error is None]
        if not readable:
            return [self._failed_prediction(image, image.error) for image in images]
        start = time.perf_counter()
        predictions = self.member_predictions(
            {geometry: np.stack([image.pixels[geometry] for image in readable]) for geometry in set(self.geometries)}
        )
        results = iter(vote_results(predictions, self.bundle.weights, self.bundle.temperature))
        timing_ms = {"inference": elapsed_ms(start) / len(readable), "batch": float(len(readable))}
        return [
            self._failed_prediction(image, image.error)
            if image.error is not None
            else self._prediction(image, next(results), timing_ms)
            for image in images
        ]

    def _prediction(self, image: PreparedImage, result: VoteResult, timing_ms: Mapping[str, float]) -> Prediction:
        members = [
            (member, row)
            for member, row, ran in zip(self.bundle.members, result.members, result.ran, strict=True)
            if ran
        ]
        if non_finite := [member.name for member, row in members if not np.isfinite(row).all()]:
            error = BraintumorError(
                f"{', '.join(non_finite)} gave no finite probabilities for this image at precision "
                f"{self.bundle.precision} on {self.engine.name}",
                "export it with `precision='fp32'`",
            )
            return self._failed_prediction(image, error)
        return Prediction(
            input=image.image,
            status="ok",
            # Copies: who changes one prediction must not change the provenance of the next.
            bundle=dict(self._bundle_info),
            engine=dict(self._engine_info),
            label=self.bundle.classes[result.label],
            probabilities=self._by_class(result.vote),
            margin=result.margin,
            entropy_nats=result.entropy_nats,
            policy=self.policy,
            risk=self._risk,
            members_run=len(members),
            bounds=None if result.bounds is None else dict(zip(self.bundle.classes, result.bounds, strict=True)),
            members=tuple(
                MemberPrediction(member.name, self.bundle.classes[int(row.argmax())], self._by_class(row))
                for member, row in members
            ),
            timing_ms={"decode": image.decode_ms, **timing_ms},
        )

    def _failed_prediction(self, image: PreparedImage, error: BraintumorError | InputError | None) -> Prediction:
        return Prediction(
            input=image.image,
            status="error",
            bundle=dict(self._bundle_info),
            engine=dict(self._engine_info),
            policy=self.policy,
            risk=self._risk,
            timing_ms={"decode": image.decode_ms},
            error={"type": type(error).__name__, "message": str(error)},
        )

    def _by_class(self, row: NDArray[np.floating[Any]]) -> dict[str, float]:
        return dict(zip(self.bundle.classes, row.tolist(), strict=True))


def _verified(
    bundle: str | Path | Bundle | None, progress: ProgressCallback, public_key: str | Path | None
) -> Bundle:
    if not isinstance(bundle, Bundle):
        return default_bundle(progress, public_key) if bundle is None else load_bundle(bundle, public_key=public_key)
    if public_key is not None:
        raise UsageError("`public_key` is for a folder, got a loaded bundle", "give it to load_bundle")
    return bundle


def _running_order(bundle: Bundle, members: Members, policy: Policy, threads: int | None) -> Sequence[int] | None:
    """Indices of the members in the order in which a policy runs them; None where all run."""
    if policy == "full":
        return None
    if bundle.cascade is not None and policy == "cascade":
        return [bundle.names.index(name) for name in bundle.cascade.order]
    return running_order(members.shares.tolist(), member_costs_ms(bundle, members, threads))
