"""An ensemble, loaded: images in, records out."""

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import BraintumorError, InputError, UnavailableError, UsageError
from braintumor.runtime.batching import prepared_groups
from braintumor.runtime.bundle import Bundle, load_bundle
from braintumor.runtime.closing import Closing
from braintumor.runtime.engine import Engine, EngineInfo
from braintumor.runtime.image import grey_from_array, read_grey, resize
from braintumor.runtime.record import ImageInfo, MemberAnswer, Record
from braintumor.runtime.registry import AUTO, candidates, engine_factory, none_usable
from braintumor.runtime.vote import entropy_nats, margin, soft_vote

__all__ = ["DEFAULT_BATCH_SIZE", "Ensemble", "Source"]

Source = str | os.PathLike[str] | bytes | NDArray[np.uint8]
"""An image: a path, a file's bytes, or uint8 [height, width] or [height, width, 3]."""

DEFAULT_BATCH_SIZE = 32

# More would only hold more images at a time.
_MAX_DECODE_THREADS = 8

_INDEXED_DEVICE = re.compile(r"cuda:[0-9]{1,3}")

# How one member wants its input: height and width in pixels, resize method.
_Geometry = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """One decoded image in every geometry that the members need, or why there is none."""

    image: ImageInfo
    decode_ms: float
    pixels: Mapping[_Geometry, NDArray[np.uint8]]
    error: InputError | None = None


class Ensemble(Closing):
    """The members of a bundle on one engine, and their vote.

    Make one with `Ensemble.load`; it is a context manager. Not thread-safe: one a thread, or a lock.

    Attributes:
        bundle: What was loaded.
        engine: What it really runs on.
    """

    def __init__(self, bundle: Bundle, engines: Sequence[Engine]) -> None:
        self.bundle = bundle
        self.engine: EngineInfo = engines[0].info
        self._engines = tuple(engines)
        self._closed = False
        self._geometries: tuple[_Geometry, ...] = tuple((m.height, m.width, m.resize) for m in bundle.members)
        self._bundle_info = {"name": bundle.name, "sha256": bundle.sha256, "precision": bundle.precision}
        self._engine_info = {
            "name": self.engine.name,
            "provider": self.engine.provider,
            "device": self.engine.device,
            "version": self.engine.version,
        }

    @classmethod
    def load(
        cls,
        bundle: str | Path | Bundle,
        *,
        engine: str = AUTO,
        device: str | None = None,
        threads: int | None = None,
    ) -> Self:
        """Verify a bundle and load its members.

        Args:
            bundle: Its folder, or what `load_bundle` gave.
            engine: A name of `braintumor.runtime.registry.ENGINES`, or "auto" for the first that is usable.
            device: "cpu", "cuda" or, for the second GPU, "cuda:1"; None for the engine's own first device.
            threads: CPU threads for inference; None leaves it to the engine.

        Raises:
            IntegrityError: The bundle is not what it says it is.
            UnavailableError: The engine is not usable here.
            UsageError: No such engine or device, or they do not go together.
        """
        kind, index = _device(device)
        verified = bundle if isinstance(bundle, Bundle) else load_bundle(bundle)
        reasons: dict[str, UnavailableError] = {}
        for name in candidates(engine, kind):
            try:
                return cls(verified, _load_members(verified, name, index, threads))
            except UnavailableError as error:
                reasons[name] = error
        raise none_usable(reasons)

    def predict(self, source: Source) -> Record:
        """Answer one image.

        Raises:
            InputError: The image cannot be read. (`predict_many` gives a record instead.)
        """
        prepared = self._prepare(source)
        if prepared.error is not None:
            raise prepared.error
        return self._answer([prepared])[0]

    def predict_many(
        self,
        sources: Iterable[Source],
        *,
        batch_size: int = DEFAULT_BATCH_SIZE,
        decode_threads: int | None = None,
    ) -> Iterator[Record]:
        """Answer any number of images, in order, as they come.

        The next batch is decoded in threads while the members work; memory does not grow with the number of
        images. An image that cannot be read gives a record with status "error", and the rest go on.

        Args:
            sources: Read lazily.
            batch_size: Images that go through the members together, at least 1.
            decode_threads: Threads that decode; None for the number of CPUs, at most 8.

        Raises:
            UsageError: A batch size or a number of threads below 1; at the call, before anything is read.
        """
        threads = min(_MAX_DECODE_THREADS, os.cpu_count() or 1) if decode_threads is None else decode_threads
        if batch_size < 1 or threads < 1:
            raise UsageError(
                f"batches of {batch_size} images decoded by {threads} threads were asked for; allowed is 1 or more"
            )
        return self._answers(sources, batch_size, threads)

    def _answers(self, sources: Iterable[Source], batch_size: int, threads: int) -> Iterator[Record]:
        groups = prepared_groups(sources, self._prepare, group_size=batch_size, threads=threads)
        with contextlib.closing(groups):  # type: ignore[type-var]  # a generator has close()
            for group in groups:
                yield from self._answer(group)

    def probabilities(self, images: Mapping[_Geometry, NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Each member's softmax for a batch that is decoded already.

        Args:
            images: For every geometry in `geometries`, uint8 [batch, height, width].

        Returns:
            float32 [members, batch, 4] in the bundle's class order.

        Raises:
            UsageError: The ensemble is closed.
        """
        if self._closed:
            raise UsageError(f"the ensemble {self.bundle.name!r} is closed; load it again with Ensemble.load")
        answers = [
            engine.infer(images[geometry]) for engine, geometry in zip(self._engines, self._geometries, strict=True)
        ]
        return np.stack(answers)

    @property
    def geometries(self) -> tuple[_Geometry, ...]:
        """Height, width in pixels and resize method of each member's input, in the bundle's order."""
        return self._geometries

    def close(self) -> None:
        """Free the members. May be called twice."""
        self._closed = True
        for engine in self._engines:
            engine.close()

    def _prepare(self, source: Source) -> _Prepared:
        start = time.perf_counter()
        try:
            image, grey = _read(source)
        except InputError as error:
            return _Prepared(ImageInfo(path=_path(source)), _elapsed_ms(start), {}, error)
        pixels = {
            geometry: resize(grey, geometry[0], geometry[1], geometry[2])  # type: ignore[arg-type]  # checked by the bundle's schema
            for geometry in set(self._geometries)
        }
        return _Prepared(image, _elapsed_ms(start), pixels)

    def _answer(self, group: Sequence[_Prepared]) -> list[Record]:
        good = [prepared for prepared in group if prepared.error is None]
        if not good:
            return [self._error_record(prepared, prepared.error) for prepared in group]
        start = time.perf_counter()
        members = self.probabilities(
            {
                geometry: np.stack([prepared.pixels[geometry] for prepared in good])
                for geometry in set(self._geometries)
            }
        )
        votes = soft_vote(members, [member.weight for member in self.bundle.members])
        timing_ms = {"inference": _elapsed_ms(start) / len(good), "batch": float(len(good))}
        rows = iter(range(len(good)))
        records = []
        for prepared in group:
            if prepared.error is not None:
                records.append(self._error_record(prepared, prepared.error))
                continue
            row = next(rows)
            records.append(self._record(prepared, votes[row], members[:, row], timing_ms))
        return records

    def _record(
        self,
        prepared: _Prepared,
        vote: NDArray[np.float32],
        members: NDArray[np.float32],
        timing_ms: Mapping[str, float],
    ) -> Record:
        if not np.isfinite(members).all():
            names = [
                m.name for m, row in zip(self.bundle.members, members, strict=True) if not np.isfinite(row).all()
            ]
            error = BraintumorError(
                f"{', '.join(names)} gave no finite probabilities for this image at precision "
                f"{self.bundle.precision} on {self.engine.name}; export with --precision fp32"
            )
            return self._error_record(prepared, error)
        return Record(
            input=prepared.image,
            status="ok",
            bundle=self._bundle_info,
            engine=self._engine_info,
            label=self.bundle.classes[int(vote.argmax())],
            probabilities=self._by_class(vote),
            margin=margin(vote),
            entropy_nats=entropy_nats(vote),
            members=tuple(
                MemberAnswer(member.name, self.bundle.classes[int(row.argmax())], self._by_class(row))
                for member, row in zip(self.bundle.members, members, strict=True)
            ),
            timing_ms={"decode": prepared.decode_ms, **timing_ms},
        )

    def _error_record(self, prepared: _Prepared, error: BraintumorError | None) -> Record:
        return Record(
            input=prepared.image,
            status="error",
            bundle=self._bundle_info,
            engine=self._engine_info,
            timing_ms={"decode": prepared.decode_ms},
            error={"type": type(error).__name__, "message": str(error)},
        )

    def _by_class(self, row: NDArray[np.float32]) -> dict[str, float]:
        return dict(zip(self.bundle.classes, row.tolist(), strict=True))


def _load_members(bundle: Bundle, name: str, device: int, threads: int | None) -> list[Engine]:
    factory = engine_factory(name)
    engines: list[Engine] = []
    try:
        for member in bundle.members:
            engines.append(factory(member, threads=threads, device=device))  # noqa: PERF401 - what was loaded must be closed when the next fails
    except BaseException:
        for engine in engines:
            engine.close()
        raise
    return engines


def _device(device: str | None) -> tuple[str | None, int]:
    """The kind of device and the index that a device's name asks for."""
    if device is None or device in {"cpu", "cuda"}:
        return device, 0
    if not _INDEXED_DEVICE.fullmatch(device):
        raise UsageError(f"no device is called {device!r}; allowed are cpu, cuda, cuda:0, cuda:1, …")
    kind, _, index = device.partition(":")
    return kind, int(index)


def _read(source: Source) -> tuple[ImageInfo, NDArray[np.uint8]]:
    if isinstance(source, np.ndarray):
        grey = grey_from_array(source)
        digest = hashlib.sha256(np.ascontiguousarray(grey).tobytes()).hexdigest()
        height, width = grey.shape
        return ImageInfo(None, digest, "array", width, height, 8, 0, 1), grey
    image = read_grey(source)
    height, width = image.pixels.shape
    info = ImageInfo(_path(source), image.sha256, image.format, width, height, image.bits, 0, image.frames)
    return info, image.pixels


def _path(source: Source) -> str | None:
    return None if isinstance(source, bytes | np.ndarray) else os.fspath(source)


def _elapsed_ms(start: float) -> float:
    return (time.perf_counter() - start) * 1000.0
