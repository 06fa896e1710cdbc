"""Options of `bt-bench latency`, and the runners that follow from them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from braintumor.bench.data.originals import keras_sources
from braintumor.bench.latency.result import LatencySettings, Skipped
from braintumor.bench.latency.runners.base import RunnerSpec
from braintumor.bench.latency.runners.registry import baseline_entry, missing_reason
from braintumor.bench.metrics.stability import Window
from braintumor.errors import UnavailableError, UsageError
from braintumor.models.labels import CLASSES, usual_order
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.engines.registry import AUTO, ENGINES, candidates
from braintumor.runtime.prediction import Policy

__all__ = ["ALL_ENGINES", "LatencyOptions", "PlannedRunner", "plan_runners", "shared_classes"]

ALL_ENGINES: Final = "all"
"""In place of an engine: every engine that is usable here."""

_BUNDLE_RUNNER: Final = "braintumor.bench.latency.runners.bundle:BundleRunner"


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """Options of a latency run.

    Attributes:
        bundles: Folders, at least one.
        engines: Names of the registry, "auto", or `ALL_ENGINES`.
        baselines: Names of `braintumor.bench.latency.runners.registry.BASELINES`.
        batches: Batch sizes, each at least 1.
        data: Real images; None for phantoms.
        images: Number of images; None for `braintumor.bench.latency.images.DEFAULT_COUNT`.
        models: Folders to search for the `.keras` files.
        device: As `Ensemble.load` takes it.
        threads: CPU threads of every runner; None leaves it to each.
        policy: Of the bundles.
        cold_starts: Processes in which each runner is started, at least 1; the last one stays.
        window: When to stop timing a batch size.
        turn_ms: A turn has as many calls as the fastest runner makes in this time; > 0.
        energy_s: Seconds over which the energy of a GPU is counted; > 0.
        all_decided: Compare labels on all images of `data`, not only on those that are timed.
        command: The command line.
        public_key: The PEM file of the key that must have signed the bundles; None for any bundles.
    """

    bundles: tuple[Path, ...]
    engines: tuple[str, ...] = (AUTO,)
    baselines: tuple[str, ...] = ()
    batches: tuple[int, ...] = (1, 8, 32)
    data: Path | None = None
    images: int | None = None
    models: tuple[Path, ...] = ()
    device: str | None = None
    threads: int | None = None
    policy: Policy = "full"
    cold_starts: int = 1
    window: Window = field(default_factory=Window)
    turn_ms: float = 100.0
    energy_s: float = 2.0
    all_decided: bool = False
    command: str = ""
    public_key: Path | None = None

    def __post_init__(self) -> None:
        """Check names and numbers.

        Raises:
            UsageError: Something is missing, unknown or too small.
        """
        if not self.bundles or not self.engines or not self.batches:
            raise UsageError("there must be at least one bundle, one engine and one batch size")
        counts = {
            "batches": min(self.batches),
            "images": self.images,
            "threads": self.threads,
            "cold_starts": self.cold_starts,
        }
        for name, count in counts.items():
            if count is not None and count < 1:
                raise UsageError(f"{name} is {count}; must be >= 1", f"choose another `{name}`")
        for name, duration in (("turn_ms", self.turn_ms), ("energy_s", self.energy_s)):
            if duration <= 0:
                raise UsageError(f"{name} is {duration}; must be > 0", f"choose another `{name}`")
        for name in self.engines:
            if name not in {AUTO, ALL_ENGINES, *ENGINES}:
                raise UsageError(
                    f"no engine is called {name!r}; must be of {', '.join((AUTO, ALL_ENGINES, *ENGINES))}",
                    "choose other `engines`",
                )
        for name in self.baselines:
            baseline_entry(name)

    @property
    def key_path(self) -> str | None:
        """`public_key`, for a process that starts elsewhere."""
        return None if self.public_key is None else str(self.public_key.absolute())

    @property
    def settings(self) -> LatencySettings:
        """The options that are written into the result."""
        return LatencySettings(
            engines=self.engines,
            baselines=self.baselines,
            batches=self.batches,
            device=self.device,
            threads=self.threads,
            policy=self.policy,
            cold_starts=self.cold_starts,
            min_rounds=self.window.min_rounds,
            max_s=self.window.max_s,
            tolerance=self.window.tolerance,
            turn_ms=self.turn_ms,
        )


@dataclass(frozen=True, slots=True)
class PlannedRunner:
    """A runner to be started.

    Attributes:
        name: Bundle and engine, or baseline, in words.
        spec: How to start it.
        optional: Skip it where it is not usable; not for an engine that was named.
    """

    name: str
    spec: RunnerSpec
    optional: bool


def shared_classes(options: LatencyOptions) -> tuple[str, ...]:
    """The classes of all bundles, in the order in which their predictions are compared.

    Raises:
        UsageError: The bundles have different classes.
        IntegrityError: A bundle is not what it says it is.
    """
    orders = {
        folder.name: usual_order(load_bundle(folder, public_key=options.public_key).classes)
        for folder in options.bundles
    }
    if len(set(orders.values())) > 1:
        listed = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in orders.items())
        raise UsageError(
            f"the bundles have different classes ({listed})", "time bundles of the same classes together"
        )
    return next(iter(orders.values()))


def plan_runners(options: LatencyOptions) -> Iterator[PlannedRunner | Skipped]:
    """Yield bundles on their engines, then baselines; those that cannot be started here with the reason.

    Raises:
        IntegrityError: A bundle is not what it says it is.
    """
    seen: list[tuple[str, Any]] = []
    for bundle in options.bundles:
        load_bundle(bundle, public_key=options.public_key)
        for name in options.engines:
            for engine in candidates(AUTO) if name == ALL_ENGINES else (name,):
                yield PlannedRunner(
                    f"{bundle.name} on {engine}", _bundle_spec(bundle, engine, options), name == ALL_ENGINES
                )
    for name in options.baselines:
        for bundle in options.bundles:
            planned = _plan_baseline(name, bundle, options)
            if isinstance(planned, PlannedRunner):
                # Bundles of several precisions come from the same models.
                identity = (name, planned.spec.options.get("models", planned.spec.options))
                if identity in seen:
                    continue
                seen.append(identity)
            yield planned
            if baseline_entry(name).own_model:
                break


def _bundle_spec(bundle: Path, engine: str, options: LatencyOptions) -> RunnerSpec:
    return RunnerSpec(
        _BUNDLE_RUNNER,
        {
            "bundle": str(bundle.absolute()),
            "engine": engine,
            "device": options.device,
            "threads": options.threads,
            "policy": options.policy,
            "public_key": options.key_path,
        },
        engine=engine,
        caches=True,
    )


def _plan_baseline(name: str, bundle: Path, options: LatencyOptions) -> PlannedRunner | Skipped:
    entry = baseline_entry(name)
    if reason := missing_reason(name):
        return Skipped(name, reason)
    if (
        entry.own_model
        and usual_order(classes := load_bundle(bundle, public_key=options.public_key).classes) != CLASSES
    ):
        return Skipped(name, f"its own model knows {', '.join(CLASSES)}, {bundle.name} knows {', '.join(classes)}")
    arguments: dict[str, Any] = {"threads": options.threads, **entry.options}
    if name == "keras":
        try:
            sources = keras_sources(load_bundle(bundle, public_key=options.public_key), options.models)
        except UnavailableError as error:
            return Skipped(f"{name} for {bundle.name}", str(error))
        arguments["models"] = [str(path) for path in sources]
    if not entry.own_model:
        arguments |= {"bundle": str(bundle.absolute()), "public_key": options.key_path}
    spec = RunnerSpec(entry.target, arguments, environment=dict(entry.environment))
    return PlannedRunner(name if entry.own_model else f"{name} for {bundle.name}", spec, optional=True)
