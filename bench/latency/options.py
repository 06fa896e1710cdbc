"""What is to be compared, and how the processes of the contenders are made."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from braintumor.bench.data.originals import keras_sources
from braintumor.bench.latency.result import LatencySettings, Skipped
from braintumor.bench.latency.runners.base import ContenderSpec
from braintumor.bench.latency.runners.registry import missing_reason, peer_entry
from braintumor.bench.metrics.stability import Window
from braintumor.errors import UnavailableError, UsageError
from braintumor.models.labels import CLASSES, usual_order
from braintumor.runtime.bundle.load import load_bundle
from braintumor.runtime.engines.registry import AUTO, ENGINES, candidates
from braintumor.runtime.prediction import Policy

__all__ = ["EVERY", "LatencyOptions", "Planned", "planned", "shared_classes"]

EVERY: Final = "all"
"""In place of an engine: every engine that is usable here."""

_OURS: Final = "braintumor.bench.latency.runners.bundle:BundleContender"


@dataclass(frozen=True, slots=True)
class LatencyOptions:
    """What was asked for.

    Attributes:
        bundles: Folders, at least one.
        engines: Names of the registry, "auto", or `EVERY`.
        against: Names of `braintumor.bench.latency.runners.registry.PEERS`.
        batches: Batch sizes, each at least 1.
        data: Real images; None for phantoms.
        images: How many of them; None for `braintumor.bench.latency.images.DEFAULT_COUNT`.
        models: Where the `.keras` files are looked for.
        device: As `Ensemble.load` takes it.
        threads: CPU threads of every contender; None leaves it to each.
        policy: Of the bundles.
        cold_starts: How many processes each contender is started in, at least 1; the last one stays.
        window: When enough was measured, of each batch size.
        turn_ms: A contender's turn holds as many calls as the fastest needs to fill this; above 0.
        energy_s: How long the energy of a GPU is counted; above 0.
        all_decided: Judge what is decided on all images of `data`, not only on those that are timed.
        command: What was typed.
    """

    bundles: tuple[Path, ...]
    engines: tuple[str, ...] = (AUTO,)
    against: tuple[str, ...] = ()
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

    def __post_init__(self) -> None:
        """Refuse what cannot be measured."""
        if not self.bundles or not self.engines or not self.batches:
            raise UsageError("needed are at least one bundle, one engine and one batch size")
        counts = (*self.batches, self.cold_starts, self.images or 1, self.threads or 1)
        if min(counts) < 1 or self.turn_ms <= 0 or self.energy_s <= 0:
            raise UsageError(
                f"batches {self.batches}, {self.images} images, {self.threads} threads and {self.cold_starts} cold "
                "starts were asked for; allowed is 1 or more of each"
            )
        for name in self.engines:
            if name not in {AUTO, EVERY, *ENGINES}:
                allowed = ", ".join((AUTO, EVERY, *ENGINES))
                raise UsageError(f"no engine is called {name!r}; allowed are {allowed}")
        for name in self.against:
            peer_entry(name)

    @property
    def settings(self) -> LatencySettings:
        """What a reader needs to repeat it."""
        return LatencySettings(
            engines=self.engines,
            against=self.against,
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
class Planned:
    """A contender to be started.

    Attributes:
        name: What was asked for, in words.
        spec: How.
        optional: It is skipped where it is not usable, since it was not asked for by its own name as ours.
    """

    name: str
    spec: ContenderSpec
    optional: bool


def shared_classes(options: LatencyOptions) -> tuple[str, ...]:
    """The classes of all bundles, in the order in which their answers are compared.

    Raises:
        UsageError: The bundles know different ones.
        IntegrityError: A bundle is not what it says it is.
    """
    orders = {folder.name: usual_order(load_bundle(folder).classes) for folder in options.bundles}
    if len(set(orders.values())) > 1:
        known = "; ".join(f"{name}: {', '.join(classes)}" for name, classes in orders.items())
        raise UsageError(f"the bundles know different classes ({known}); time those of one set of classes together")
    return next(iter(orders.values()))


def planned(options: LatencyOptions) -> Iterator[Planned | Skipped]:
    """Bundles on their engines first, then peers; what cannot be started here comes with the reason.

    Raises:
        IntegrityError: A bundle is not what it says it is.
    """
    seen: list[tuple[str, Any]] = []
    for bundle in options.bundles:
        load_bundle(bundle)
        for name in options.engines:
            for engine in candidates(AUTO) if name == EVERY else (name,):
                yield Planned(f"{bundle.name} on {engine}", _ours(bundle, engine, options), name == EVERY)
    for name in options.against:
        for bundle in options.bundles:
            one = _peer(name, bundle, options)
            if isinstance(one, Planned):
                # Bundles of several precisions come from the same models.
                same = (name, one.spec.options.get("models", one.spec.options))
                if same in seen:
                    continue
                seen.append(same)
            yield one
            if peer_entry(name).own_model:
                break


def _ours(bundle: Path, engine: str, options: LatencyOptions) -> ContenderSpec:
    return ContenderSpec(
        _OURS,
        {
            "bundle": str(bundle.absolute()),
            "engine": engine,
            "device": options.device,
            "threads": options.threads,
            "policy": options.policy,
        },
        asked=engine,
        caches=True,
    )


def _peer(name: str, bundle: Path, options: LatencyOptions) -> Planned | Skipped:
    entry = peer_entry(name)
    if reason := missing_reason(name):
        return Skipped(name, reason)
    if entry.own_model and usual_order(classes := load_bundle(bundle).classes) != CLASSES:
        return Skipped(name, f"its own model knows {', '.join(CLASSES)}, {bundle.name} knows {', '.join(classes)}")
    arguments: dict[str, Any] = {"threads": options.threads, **entry.options}
    if name == "keras":
        try:
            sources = keras_sources(load_bundle(bundle), options.models)
        except UnavailableError as error:
            return Skipped(f"{name} for {bundle.name}", str(error))
        arguments["models"] = [str(path) for path in sources]
    if not entry.own_model:
        arguments["bundle"] = str(bundle.absolute())
    spec = ContenderSpec(entry.target, arguments, environment=dict(entry.environment))
    return Planned(name if entry.own_model else f"{name} for {bundle.name}", spec, optional=True)
