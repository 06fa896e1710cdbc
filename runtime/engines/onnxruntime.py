"""ONNX Runtime, on the CPU or on an NVIDIA GPU.

The first session on a machine lets ONNX Runtime optimise the graph for that very machine (constant folding,
fusion, blocked layouts) and keeps the result in the user's cache; later sessions load it as it is, which is
several times faster. A cached graph is keyed by the model's hash, the library's version, the provider and
the CPU's instruction sets, since blocked layouts of one CPU are wrong for another.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.cache import Cache, content_key
from braintumor.errors import IntegrityError, OutOfMemoryError, OutputError, UnavailableError
from braintumor.optional import require
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.base import INPUT, OUTPUT, EngineInfo, TensorSpec, check_tensors
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.onnxruntime_bound import BoundRuns
from braintumor.system.cpu import cpu_features

__all__ = ["OnnxRuntimeCpuEngine", "OnnxRuntimeCudaEngine"]

_ERRORS_ONLY: Final = 3
_CACHE: Final = Cache("onnxruntime")
_OPTIMISED: Final = "model.onnx"
_DTYPES: Final = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}


class OnnxRuntimeCpuEngine(Closing):
    """A member on the CPU."""

    name = "onnxruntime-cpu"
    extra = "cpu"
    provider = "CPUExecutionProvider"

    def __init__(self, member: Member, *, threads: int | None = None, device: int = 0) -> None:
        ort = require("onnxruntime", extra=self.extra, purpose=f"the engine {self.name}")
        self._check_installation(ort)
        self._session: Any = self._load(ort, member, device, threads)
        self._path = member.path
        self._info = EngineInfo(
            self.name, self._provider_name(), self._device(device), f"onnxruntime {ort.__version__}"
        )
        check_tensors(member, _tensor_specs(self._session.get_inputs()), _tensor_specs(self._session.get_outputs()))

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
        try:
            return self._run(images)
        except Exception as error:
            # ONNX Runtime's own exceptions share no public base class but this one.
            kind = OutOfMemoryError if _is_out_of_memory(error) else UnavailableError
            raise kind(
                f"{self.name} failed on {len(images)} images with {self._path} ({_one_line(error)})",
                "try a smaller `batch_size`, or another `engine`",
            ) from error

    def close(self) -> None:
        """Free the session."""
        self._session = None

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

    def _load(self, ort: Any, member: Member, device: int, threads: int | None) -> Any:
        del device
        return _session(ort, member, [self.provider], threads)

    def _provider_name(self) -> str:
        return str(self._session.get_providers()[0])

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        probabilities: NDArray[np.float32] = self._session.run([OUTPUT], {INPUT: images})[0]
        return probabilities

    def _device(self, device: int) -> str:
        del device
        return "cpu"


class OnnxRuntimeCudaEngine(OnnxRuntimeCpuEngine):
    """A member on an NVIDIA GPU, replayed as a CUDA graph. Raises instead of falling back to the CPU."""

    name = "onnxruntime-cuda"
    extra = "gpu"
    provider = "CUDAExecutionProvider"

    def _load(self, ort: Any, member: Member, device: int, threads: int | None) -> Any:
        # Without TF32 a float32 graph is computed in float32, as it was verified.
        options = {"device_id": device, "use_tf32": 0}
        try:
            session = _session(ort, member, [(self.provider, {**options, "enable_cuda_graph": 1})], threads)
            self._graphs = True
        except IntegrityError:
            # ONNX Runtime refuses to capture a graph of which a node runs on the CPU.
            session = _session(ort, member, [(self.provider, options)], threads)
            self._graphs = False
        self._bound: BoundRuns | None = BoundRuns(ort, session, "cuda", device)
        return session

    def _provider_name(self) -> str:
        return super()._provider_name() + (", CUDA graphs" if self._graphs else "")

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._bound is None:
            raise ValueError("the engine is closed")
        return self._bound.run(images)

    def close(self) -> None:
        """Free the session and what is bound to it."""
        self._bound = None
        super().close()

    def _device(self, device: int) -> str:
        return f"cuda:{device}"


def _session(ort: Any, member: Member, providers: list[Any], threads: int | None) -> Any:
    """A session of the cached optimised graph; of the bundle's own file when there is no usable cache."""
    key = content_key(
        {
            "model": member.sha256,
            "onnxruntime": ort.__version__,
            "providers": providers,
            "cpu": cpu_features(),
        }
    )

    def optimise(folder: Path) -> None:
        options = _options(ort, threads)
        options.optimized_model_filepath = str(folder / _OPTIMISED)
        _create(ort, member.path, options, providers)

    options = _options(ort, threads)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return _create(ort, _CACHE.build(key, optimise) / _OPTIMISED, options, providers)
    except (OutputError, IntegrityError):
        # A full or read-only home costs start-up time, not the answer. When the member itself does not load,
        # this says so.
        return _create(ort, member.path, _options(ort, threads), providers)


def _options(ort: Any, threads: int | None) -> Any:
    options = ort.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    if threads is not None:
        options.intra_op_num_threads = threads
    # Without it, int8 sums saturate on CPUs that have no VNNI.
    options.add_session_config_entry("session.x64quantprecision", "1")
    # The members take turns: an idle member's threads must not spin against the one that works.
    options.add_session_config_entry("session.intra_op.allow_spinning", "1")
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return options


def _create(ort: Any, path: Path, options: Any, providers: list[Any]) -> Any:
    try:
        session = ort.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        # ONNX Runtime's own exceptions share no public base class but this one.
        raise IntegrityError(
            f"{path} does not load in onnxruntime {ort.__version__} ({_one_line(error)})",
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
