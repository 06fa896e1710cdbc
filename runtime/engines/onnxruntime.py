"""ONNX Runtime, on the CPU or on an NVIDIA GPU.

The first session on a machine lets ONNX Runtime optimise the graph for that very machine (constant folding,
fusion, blocked layouts) and keeps the result in the user's cache; later sessions load it as it is, which is
several times faster. A cached graph is keyed by the model's hash, the library's version, the provider and
the CPU's instruction sets, since blocked layouts of one CPU are wrong for another. It is made from a verified copy of
the member, and kept only when it gives the answers of the member's probe.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.cache import Cache, content_key, tell_unsafe_cache
from braintumor.errors import IntegrityError, OutOfMemoryError, OutputError, UnavailableError
from braintumor.optional import require
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.bundle.verified import copy_verified, read_verified
from braintumor.runtime.engines.answers import ProbeMismatchError, check_probe
from braintumor.runtime.engines.base import INPUT, OUTPUT, EngineInfo, TensorSpec, check_tensors
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.onnxruntime_bound import BoundRuns
from braintumor.system.cpu import cpu_features

__all__ = ["OnnxRuntimeCpuEngine", "OnnxRuntimeCudaEngine"]

_ERRORS_ONLY: Final = 3
_CACHE: Final = Cache("onnxruntime")
# Moves when a graph is kept otherwise than before.
_RECIPE: Final = 1
_OPTIMISED: Final = "model.onnx"
_COPY: Final = "verified.onnx"
_LOG: Final = logging.getLogger("braintumor")
_DTYPES: Final = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


Infer = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A session, and the way to run it."""

    session: Any
    infer: Infer


class OnnxRuntimeCpuEngine(Closing):
    """A member on the CPU."""

    name = "onnxruntime-cpu"
    extra = "cpu"
    provider = "CPUExecutionProvider"

    def __init__(self, member: Member, *, threads: int | None = None, device: int = 0) -> None:
        ort = require("onnxruntime", extra=self.extra, purpose=f"the engine {self.name}")
        self._check_installation(ort)
        self._ort, self._member, self._threads = ort, member, threads
        self._loaded: _Loaded | None = self._load(device)
        self._info = EngineInfo(
            self.name, self._provider_name(), self._device(device), f"onnxruntime {ort.__version__}"
        )

    @property
    def info(self) -> EngineInfo:
        """The library and device that it really runs on."""
        return self._info

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify uint8 [batch, height, width] as float32 [batch, classes].

        Raises:
            OutOfMemoryError: The batch does not fit into memory.
            UnavailableError: ONNX Runtime fails otherwise.
        """
        if self._loaded is None:
            raise ValueError("the engine is closed")
        return self._answers(self._loaded, images)

    def close(self) -> None:
        """Free the session and what is bound to it."""
        self._loaded = None

    def _answers(self, loaded: _Loaded, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            return loaded.infer(images)
        except Exception as error:
            # ONNX Runtime's own exceptions share no public base class but this one.
            kind = OutOfMemoryError if _is_out_of_memory(error) else UnavailableError
            raise kind(
                f"{self.name} failed on {len(images)} images with {self._member.path} ({_one_line(error)})",
                "try a smaller `batch_size`, or another `engine`",
            ) from error

    def _check_installation(self, ort: Any) -> None:
        remedy = f"pip uninstall onnxruntime onnxruntime-gpu && pip install 'braintumor[{self.extra}]'"
        if not hasattr(ort, "InferenceSession"):
            # onnxruntime and onnxruntime-gpu share a folder: removing one breaks the other.
            raise UnavailableError(f"the engine {self.name} needs onnxruntime, whose installation is broken", remedy)
        if self.provider not in ort.get_available_providers():
            raise UnavailableError(
                f"the engine {self.name} needs {self.provider}; the installed onnxruntime {ort.__version__} has "
                f"{', '.join(ort.get_available_providers())}",
                remedy,
            )

    def _load(self, device: int) -> _Loaded:
        return self._cached([self.provider], device)

    def _provider_name(self) -> str:
        assert self._loaded is not None  # noqa: S101 - narrows the type: called while it is created
        return str(self._loaded.session.get_providers()[0])

    def _runner(self, session: Any, device: int) -> Infer:
        """The way to run a session."""
        del device

        def run(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            probabilities: NDArray[np.float32] = session.run([OUTPUT], {INPUT: images})[0]
            return probabilities

        return run

    def _cached(self, providers: list[Any], device: int) -> _Loaded:
        """The cached optimised graph; the bundle's own file when there is no usable cache."""
        ort, member = self._ort, self._member
        key = content_key(
            {
                "recipe": _RECIPE,
                "model": member.sha256,
                "onnxruntime": ort.__version__,
                "providers": providers,
                "cpu": cpu_features(),
            }
        )
        fresh: _Loaded | None = None

        def optimise(folder: Path) -> None:
            nonlocal fresh
            copy = folder / _COPY
            copy_verified(member.path, member.sha256, copy)
            options = _options(ort, self._threads)
            options.optimized_model_filepath = str(folder / _OPTIMISED)
            _create(ort, member, str(copy), options, providers)
            copy.unlink()
            fresh = self._opened(str(folder / _OPTIMISED), _as_is(ort, self._threads), providers, device)
            self._check_probe(fresh)

        try:
            entry = _CACHE.build(key, optimise)
            return fresh or self._opened(str(entry / _OPTIMISED), _as_is(ort, self._threads), providers, device)
        except (OutputError, IntegrityError, ProbeMismatchError) as error:
            # A full or read-only home costs start-up time, not the answer. When the member itself does not load,
            # this says so.
            tell_unsafe_cache(error)
            fresh = None
            raw = read_verified(member.path, member.sha256)
            loaded = self._opened(raw, _options(ort, self._threads), providers, device)
        try:
            self._check_probe(loaded)
        except ProbeMismatchError as error:
            _LOG.warning("%s; its graph is not kept", error)
        return loaded

    def _opened(self, model: str | bytes, options: Any, providers: list[Any], device: int) -> _Loaded:
        session = _create(self._ort, self._member, model, options, providers)
        check_tensors(self._member, _tensor_specs(session.get_inputs()), _tensor_specs(session.get_outputs()))
        return _Loaded(session, self._runner(session, device))

    def _check_probe(self, loaded: _Loaded) -> None:
        check_probe(self._member, self.name, lambda images: self._answers(loaded, images))

    def _device(self, device: int) -> str:
        del device
        return "cpu"


class OnnxRuntimeCudaEngine(OnnxRuntimeCpuEngine):
    """A member on an NVIDIA GPU, replayed as a CUDA graph. Raises instead of falling back to the CPU."""

    name = "onnxruntime-cuda"
    extra = "gpu"
    provider = "CUDAExecutionProvider"

    def _load(self, device: int) -> _Loaded:
        # Without TF32 a float32 graph is computed in float32, as it was verified.
        options = {"device_id": device, "use_tf32": 0}
        try:
            self._graphs = True
            return self._cached([(self.provider, {**options, "enable_cuda_graph": 1})], device)
        except IntegrityError:
            # ONNX Runtime refuses to capture a graph of which a node runs on the CPU.
            self._graphs = False
            return self._cached([(self.provider, options)], device)

    def _provider_name(self) -> str:
        return super()._provider_name() + (", CUDA graphs" if self._graphs else "")

    def _runner(self, session: Any, device: int) -> Infer:
        return BoundRuns(self._ort, session, "cuda", device).run

    def _device(self, device: int) -> str:
        return f"cuda:{device}"


def _options(ort: Any, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    # Bytes that are an ONNX file must not be taken for one of ONNX Runtime's own format, which nobody has checked.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Without it, int8 sums saturate on CPUs that have no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # The members take turns: an idle member's threads must not spin against the one that works.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _as_is(ort: Any, threads: int | None) -> Any:
    """Options for a graph that is optimised already."""
    options = _options(ort, threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _create(ort: Any, member: Member, model: str | bytes, options: Any, providers: list[Any]) -> Any:
    try:
        session = ort.InferenceSession(model, options, providers=providers)
    except Exception as error:
        # ONNX Runtime's own exceptions share no public base class but this one.
        raise IntegrityError(
            f"{member.path} does not load in onnxruntime {ort.__version__} ({_one_line(error)})",
            "export the bundle again with bt-export, or install a newer onnxruntime",
        ) from error
    requested = providers[0] if isinstance(providers[0], str) else providers[0][0]
    actual = session.get_providers()[0]
    if actual != requested:
        # Checked here, before a graph that was optimised for the wrong device can get into the cache.
        raise UnavailableError(
            f"ONNX Runtime fell back from {requested} to {actual}, which means that it found no NVIDIA GPU, or no "
            "matching CUDA and cuDNN",
            "look at nvidia-smi, or use `engine='onnxruntime-cpu'`",
        )
    return session


def _tensor_specs(values: Sequence[Any]) -> list[TensorSpec]:
    return [TensorSpec(value.name, _DTYPES.get(value.type, value.type), tuple(value.shape[1:])) for value in values]


def _is_out_of_memory(error: Exception) -> bool:
    # Its arenas say "Failed to allocate memory"; below them CUDA, cuDNN and C++ speak for themselves.
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(
        words in text for words in ("failed to allocate", "out of memory", "bad_alloc", "alloc_failed")
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
