"""`--engine auto`: the fastest engine with the right answers to the probe, measured once and then remembered."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from braintumor import __version__
from braintumor.cache import Cache, content_key
from braintumor.errors import BraintumorError, IntegrityError, OutputError, UnavailableError
from braintumor.progress import ProgressCallback, Step, silent
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.bundle.probe import Probe, probes_of
from braintumor.runtime.engines.answers import ProbeMismatchError, check_probe
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.registry import ENGINES, none_usable
from braintumor.runtime.members import Members, load_members
from braintumor.system.fingerprint import machine_fingerprint

__all__ = ["ChoiceCallback", "EngineChoice", "load_fastest"]

_CACHE: Final = Cache("engine-choice")
# Enough for a median; more where batches are short.
_MIN_ROUNDS: Final = 3
_SECONDS_EACH: Final = 1.0


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """A measurement of engines.

    Attributes:
        engine: The fastest.
        images_per_s: Engine → median throughput of the whole ensemble; of those that gave the right
            answers. 0 where only one engine was left and nothing was timed.
        refused: Engine → why it was not measured.
        not_remembered: Why it will be measured again at the next start; "" where it is remembered.
    """

    engine: str
    images_per_s: Mapping[str, float]
    refused: Mapping[str, str] = field(default_factory=dict)
    not_remembered: str = ""


ChoiceCallback = Callable[[EngineChoice], object]
"""Called with a measurement, when there was one."""


def load_fastest(
    bundle: Bundle,
    names: Sequence[str],
    *,
    device: int,
    threads: int | None,
    on_choice: ChoiceCallback | None = None,
    progress: ProgressCallback = silent,
) -> Members:
    """Load a bundle on the fastest of some engines.

    The first time on a machine each engine that loads runs the bundle's probe; those that give other answers are
    dropped, the others take turns at it for about a second each. The choice is kept in the user's cache: later
    only the chosen engine is imported. The key is the bundle, the machine (CPU, GPUs, driver, versions of
    the engines' libraries), the device and the threads. A bundle without a probe is not measured: the first engine
    that is usable takes it.

    Args:
        bundle: Verified.
        names: Engines of the registry, best guess first.
        device: Index of the accelerator.
        threads: CPU threads; None leaves it to the engine.
        on_choice: Called with a measurement of more than one engine.
        progress: Gets the steps of such a measurement.

    Raises:
        UnavailableError: None is usable, or none gives the answers of the probe.
        IntegrityError: None is usable, and one found a member's file damaged.
    """
    probes = probes_of(bundle)
    if len(names) == 1 or not probes:
        return _first_usable(bundle, names, device, threads)
    key = content_key(
        {
            "version": __version__,
            "bundle": bundle.sha256,
            "engines": names,
            "device": device,
            "threads": threads,
            "machine": machine_fingerprint({library for name in names for library in ENGINES[name].libraries}),
        }
    )
    with _Trial(bundle, probes, device, threads, on_choice, progress) as trial:
        try:
            return trial.take(trial.remembered(key, names))
        except UnavailableError:
            # It was usable when it was chosen, and no cheap check shows a change.
            _CACHE.discard(key)
            return trial.take(trial.remembered(key, names))


def _first_usable(bundle: Bundle, names: Sequence[str], device: int, threads: int | None) -> Members:
    reasons: dict[str, UnavailableError] = {}
    for name in names:
        try:
            return load_members(bundle, name, device=device, threads=threads)
        except UnavailableError as error:
            reasons[name] = error
    raise none_usable(reasons)


def _candidates_here(names: Sequence[str]) -> list[str]:
    """The engines whose library is installed; those for a GPU only where there is one."""
    machine = machine_fingerprint({library for name in names for library in ENGINES[name].libraries})
    return [
        name
        for name in names
        if any(machine["libraries"][library] for library in ENGINES[name].libraries)
        and (ENGINES[name].device == "cpu" or machine["gpus"])
    ]


class _Trial(Closing):
    """Engines side by side. Those that were loaded and not taken are closed at the end."""

    def __init__(
        self,
        bundle: Bundle,
        probes: Sequence[Probe],
        device: int,
        threads: int | None,
        on_choice: ChoiceCallback | None,
        progress: ProgressCallback,
    ) -> None:
        self._bundle, self._probes = bundle, probes
        self._device, self._threads = device, threads
        self._on_choice = on_choice
        self._progress = progress
        self._loaded: dict[str, Members] = {}

    def remembered(self, key: str, names: Sequence[str]) -> str:
        """The engine that the cache knows to be the fastest, or that is now measured to be."""
        measured: list[EngineChoice] = []
        lost: list[OutputError] = []

        def measure() -> dict[str, Any]:
            measured.append(self.run(names))
            return asdict(measured[-1])

        engine: str = _CACHE.build_json(key, measure, on_lost=lost.append)["engine"]
        for choice in measured:
            if len(choice.images_per_s) > 1 and self._on_choice is not None:
                self._on_choice(replace(choice, not_remembered=lost[0].message if lost else ""))
        return engine

    def run(self, names: Sequence[str]) -> EngineChoice:
        """Measure."""
        refused: dict[str, BraintumorError] = {}
        candidates = _candidates_here(names)
        for name in names:
            if name in candidates and len(candidates) > 1:
                self._step(f"loading {name}", candidates.index(name) + 1, len(candidates))
            try:
                self._loaded[name] = load_members(self._bundle, name, device=self._device, threads=self._threads)
                self._check_probe(self._loaded[name])
            except (UnavailableError, IntegrityError) as error:
                refused[name] = error
                if name in self._loaded:
                    self._loaded.pop(name).close()
        if not self._loaded:
            damage = (error for error in refused.values() if isinstance(error, IntegrityError))
            raise next(damage, none_usable(refused))
        if len(self._loaded) > 1:
            self._step("timing them in turns", len(candidates) + 1, len(candidates))
        speeds = self._speeds()
        return EngineChoice(
            max(speeds, key=speeds.__getitem__), speeds, {name: str(error) for name, error in refused.items()}
        )

    def _step(self, title: str, number: int, engines: int) -> None:
        job = f"First run with this bundle: testing which of {engines} engines is fastest (skipped with `engine`)"
        self._progress(Step(job, title, number, engines + 1))

    def take(self, name: str) -> Members:
        """The members on that engine, which the caller closes."""
        if name in self._loaded:
            return self._loaded.pop(name)
        return load_members(self._bundle, name, device=self._device, threads=self._threads)

    def close(self) -> None:
        """Close the members that were not taken."""
        while self._loaded:
            self._loaded.popitem()[1].close()

    def _check_probe(self, members: Members) -> None:
        for member, engine, probe in zip(self._bundle.members, members.engines, self._probes, strict=True):
            try:
                check_probe(member, engine.info.name, engine.infer, probe)
            except ProbeMismatchError as error:
                raise UnavailableError(str(error), "name an `engine` to use it all the same") from error

    def _speeds(self) -> dict[str, float]:
        """Images/s, in rounds in which every engine has its turn: what disturbs one disturbs all."""
        if len(self._loaded) == 1:
            return dict.fromkeys(self._loaded, 0.0)
        times_s: dict[str, list[float]] = {name: [] for name in self._loaded}
        batch = len(self._probes[0].images)
        start = time.perf_counter()
        rounds = 0
        while rounds < _MIN_ROUNDS or time.perf_counter() - start < _SECONDS_EACH * len(self._loaded):
            for name, members in self._loaded.items():
                images = {
                    geometry: probe.images for geometry, probe in zip(members.geometries, self._probes, strict=True)
                }
                turn_start = time.perf_counter()
                members.infer(images)
                times_s[name].append(time.perf_counter() - turn_start)
            rounds += 1
        return {name: batch / statistics.median(times) for name, times in times_s.items()}
