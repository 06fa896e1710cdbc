"""The protocol of engines: one member of the ensemble, loaded on a device."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import IntegrityError
from braintumor.runtime.bundle.load import Member

__all__ = [
    "INPUT",
    "OUTPUT",
    "AsyncEngine",
    "Engine",
    "EngineFactory",
    "EngineInfo",
    "PendingResult",
    "TensorSpec",
    "check_tensors",
    "submit",
]

INPUT: Final = "image"
OUTPUT: Final = "probabilities"

PendingResult = Callable[[], NDArray[np.float32]]
"""Waits for a batch that was submitted, and returns it: float32 [batch, classes]. Called once."""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """The library and device that an engine really runs on, read back after it was created.

    Attributes:
        name: The registry's name, such as "onnxruntime-cpu".
        provider: The executing part, in the library's own words, such as "CPUExecutionProvider".
        device: "cpu", "cuda:0", …
        version: The library and its version, such as "onnxruntime 1.32.0".
    """

    name: str
    provider: str
    device: str
    version: str


class Engine(Protocol):
    """One member, ready to answer. Not thread-safe; close it, or use it as a context manager."""

    @property
    def info(self) -> EngineInfo:
        """The library and device that it really runs on."""
        ...

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify a batch.

        Args:
            images: uint8 [batch, height, width], grey levels 0..255, of the member's size.

        Returns:
            float32 [batch, classes], softmax in the bundle's class order.
        """
        ...

    def close(self) -> None:
        """Free the device's memory. May be called twice."""
        ...

    def __enter__(self) -> Self:
        """Use it in a `with` block."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        ...


@runtime_checkable
class AsyncEngine(Protocol):
    """An engine that can work while its caller goes on, as one with a CUDA stream of its own does."""

    def submit(self, images: NDArray[np.uint8]) -> PendingResult:
        """Start classifying a batch; the next one may be started when this one was waited for.

        Args:
            images: As for `Engine.infer`; not to be changed before the answer was waited for.
        """
        ...


def submit(engine: Engine, images: NDArray[np.uint8]) -> PendingResult:
    """Start an engine that can work meanwhile; any other works when its result is called for."""
    if isinstance(engine, AsyncEngine):
        return engine.submit(images)
    return functools.partial(engine.infer, images)


class EngineFactory(Protocol):
    """Creates an engine for the registry; an engine class serves as one."""

    def __call__(self, member: Member, *, threads: int | None, device: int) -> Engine:
        """Load a member.

        Args:
            member: From a bundle whose hashes were verified.
            threads: CPU threads; None leaves it to the library.
            device: Index of the accelerator, for engines that have one.

        Raises:
            UnavailableError: The engine, or the requested device, is not usable here.
            IntegrityError: The member's file does not load.
        """
        ...


class TensorSpec(NamedTuple):
    """An input or output of a loaded graph, in NumPy's terms.

    Attributes:
        name: As the graph calls it.
        dtype: Such as "uint8"; the library's own word for a type that has no place here.
        sizes: Of the axes behind the batch.
    """

    name: str
    dtype: str
    sizes: tuple[object, ...]


def check_tensors(member: Member, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec]) -> None:
    """Refuse a graph that is not a member: it would fail, or answer something else, at the first image.

    Args:
        member: The one that was loaded.
        inputs: Of its graph.
        outputs: Of its graph.

    Raises:
        IntegrityError: They are not those of a member of that size and number of classes.
    """
    for verb, specs, expected in (
        ("takes", inputs, TensorSpec(INPUT, "uint8", (member.height, member.width))),
        ("gives", outputs, TensorSpec(OUTPUT, "float32", (member.class_count,))),
    ):
        if list(specs) != [expected]:
            shown = ", ".join(f"{spec.name} {spec.dtype} {['batch', *spec.sizes]}" for spec in specs)
            sizes = ", ".join(str(size) for size in expected.sizes)
            raise IntegrityError(
                f"{member.path} {verb} [{shown}], not one {expected.name} of {expected.dtype} [batch, {sizes}]",
                "export the bundle again with bt-export",
            )
