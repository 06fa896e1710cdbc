"""References of bundles: loaded while the deployed bundle runs, evaluated once however many bundles share one."""

import importlib.util
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, TypeVar

from braintumor.bench.accuracy.predict import keras_ensemble
from braintumor.bench.data.originals import keras_sources, member_origin
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.engine_selection import ChoiceCallback
from braintumor.runtime.ensemble import Ensemble

__all__ = ["KERAS", "NO_REFERENCE", "ReferenceOptions", "References"]

KERAS: Final = "keras"
NO_REFERENCE: Final = "none"

Evaluation = TypeVar("Evaluation")


@dataclass(frozen=True, slots=True)
class ReferenceOptions:
    """The reference of bundles, and how to run it.

    Attributes:
        reference: "keras" for the models that each bundle's members were exported from, "none", or a verified bundle.
        engine: For a reference that is a bundle.
        models: Folders to search for the `.keras` files.
        threads: CPU threads; None leaves it to the engine.
        concurrent: Load the `.keras` files while the deployed bundle runs; not where its time is compared.
    """

    reference: str | Bundle
    engine: str
    models: tuple[Path, ...]
    threads: int | None
    concurrent: bool


class References(Generic[Evaluation]):
    """Evaluations of the references of bundles."""

    def __init__(
        self,
        options: ReferenceOptions,
        evaluate: Callable[[Ensemble], Evaluation],
        on_choice: ChoiceCallback | None = None,
    ) -> None:
        """Load nothing yet.

        Args:
            options: The reference.
            evaluate: Evaluates a loaded reference.
            on_choice: Is called when "auto" had to time the engines.
        """
        self._options, self._evaluate, self._on_choice = options, evaluate, on_choice
        self._evaluations: dict[object, Evaluation] = {}
        self._loading: Future[Ensemble] | None = None

    def begin(self, bundle: Bundle) -> None:
        """Start to load its `.keras` files: one core is busy for many seconds, while the deployed bundle can run.

        Raises:
            UnavailableError: A file is not found, or TensorFlow is not installed; raised before the deployed runs.
        """
        options = self._options
        if options.reference != KERAS or not options.concurrent or _originals(bundle) in self._evaluations:
            return
        keras_sources(bundle, options.models)
        if importlib.util.find_spec("tensorflow") is None:
            keras_ensemble(bundle, options.models)
        pool = ThreadPoolExecutor(1, thread_name_prefix="braintumor-reference")
        self._loading = pool.submit(keras_ensemble, bundle, options.models)
        pool.shutdown(wait=False)

    def of(self, bundle: Bundle) -> Evaluation | None:
        """The evaluation of a bundle's reference; None without a reference."""
        reference = self._options.reference
        if reference == NO_REFERENCE:
            return None
        key = reference.sha256 if isinstance(reference, Bundle) else _originals(bundle)
        if key not in self._evaluations:
            with self._loaded(bundle) as ensemble:
                self._evaluations[key] = self._evaluate(ensemble)
        return self._evaluations[key]

    def _loaded(self, bundle: Bundle) -> Ensemble:
        options = self._options
        if isinstance(options.reference, Bundle):
            return Ensemble.load(
                options.reference, engine=options.engine, threads=options.threads, on_choice=self._on_choice
            )
        if self._loading is None:
            return keras_ensemble(bundle, options.models)
        loading, self._loading = self._loading, None
        return loading.result()


def _originals(bundle: Bundle) -> object:
    """All that decides the predictions of the `.keras` files: bundles of several precisions share it."""
    return tuple(
        (
            member.name,
            member.weight,
            member.geometry,
            member_origin(member)["sha256"],
            member_origin(member)["preprocess"],
            tuple(member_origin(member)["classes"]),
            member.details["softmax_added"],
        )
        for member in bundle.members
    )
