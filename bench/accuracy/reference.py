"""What bundles are judged by: loaded while the deployed answers, asked once however many bundles share it."""

import importlib.util
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from braintumor.bench.accuracy.predict import keras_ensemble
from braintumor.bench.data.originals import keras_sources, origin_of
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engine_selection import ChoiceCallback
from braintumor.runtime.ensemble import Ensemble

__all__ = ["KERAS", "NO_REFERENCE", "ReferenceOptions", "References"]

KERAS: Final = "keras"
NO_REFERENCE: Final = "none"

Answered = TypeVar("Answered")


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """What bundles are judged by.

    Attributes:
        reference: "keras" for the originals of each bundle's members, "none", or a verified bundle.
        engine: For a reference that is a bundle.
        models: Folders in which originals are looked for.
        threads: CPU threads; None leaves it to the engine.
        beside: Load the originals while the deployed answers; not where its time is compared with another.
    """

    reference: str | Bundle
    engine: str
    models: tuple[Path, ...]
    threads: int | None
    beside: bool


class References(Generic[Answered]):
    """The references of bundles."""

    def __init__(
        self, options: ReferenceOptions, ask: Callable[[Ensemble], Answered], told: ChoiceCallback | None = None
    ) -> None:
        """Load nothing yet.

        Args:
            options: What they are.
            ask: Has a loaded reference answer.
            told: Is told when "auto" had to measure.
        """
        self._options, self._ask, self._told = options, ask, told
        self._found: dict[object, Answered] = {}
        self._loading: Future[Ensemble] | None = None

    def begin(self, bundle: Bundle) -> None:
        """Start to load its originals: that keeps one core busy for many seconds, in which the deployed can answer.

        Raises:
            UnavailableError: One is not found, or TensorFlow is not installed: now, not after the deployed.
        """
        options = self._options
        if options.reference != KERAS or not options.beside or _originals(bundle) in self._found:
            return
        keras_sources(bundle, options.models)
        if importlib.util.find_spec("tensorflow") is None:
            keras_ensemble(bundle, options.models)
        pool = ThreadPoolExecutor(1, thread_name_prefix="braintumor-reference")
        self._loading = pool.submit(keras_ensemble, bundle, options.models)
        pool.shutdown(wait=False)

    def of(self, bundle: Bundle) -> Answered | None:
        """What the reference of a bundle answers; None where none is asked for."""
        asked = self._options.reference
        if asked == NO_REFERENCE:
            return None
        key = asked.sha256 if isinstance(asked, Bundle) else _originals(bundle)
        if key not in self._found:
            with self._loaded(bundle) as ensemble:
                self._found[key] = self._ask(ensemble)
        return self._found[key]

    def _loaded(self, bundle: Bundle) -> Ensemble:
        options = self._options
        if isinstance(options.reference, Bundle):
            return Ensemble.load(options.reference, engine=options.engine, threads=options.threads, told=self._told)
        if self._loading is None:
            return keras_ensemble(bundle, options.models)
        loading, self._loading = self._loading, None
        return loading.result()


def _originals(bundle: Bundle) -> object:
    """What decides the originals' answers: bundles of several precisions share it."""
    return tuple(
        (
            member.name,
            member.weight,
            member.geometry,
            origin_of(member)["sha256"],
            origin_of(member)["preprocess"],
            tuple(origin_of(member)["classes"]),
            member.details["softmax_added"],
        )
        for member in bundle.members
    )
