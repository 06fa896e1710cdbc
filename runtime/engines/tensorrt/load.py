"""A serialized plan, loaded: checked before, compared with the member after."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from braintumor.errors import DeviceError, IntegrityError, OutOfMemoryError, UnavailableError
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.base import INPUT, TensorSpec, check_tensors
from braintumor.runtime.engines.tensorrt.build import DTYPES
from braintumor.runtime.engines.tensorrt.library import TrtLibrary
from braintumor.runtime.engines.tensorrt.log import TrtLog
from braintumor.runtime.engines.tensorrt.plan_file import PlanFacts
from braintumor.runtime.engines.tensorrt.trt_lock import trt_lock

__all__ = ["LoadedPlan", "load_plan"]

_LOG: Final = logging.getLogger("braintumor")
_REMEDY: Final = "look at nvidia-smi, or use `engine='onnxruntime-cpu'`"
# Of EngineInvalidityDiagnostics → the error and what it means.
_INVALID: Final[Mapping[str, tuple[type[IntegrityError] | type[UnavailableError], str]]] = MappingProxyType(
    {
        "MALFORMED_ENGINE": (IntegrityError, "it is damaged"),
        "VERSION_MISMATCH": (IntegrityError, "another version of the library built it"),
        "UNSUPPORTED_CC": (IntegrityError, "it was built for other GPUs"),
        "INSUFFICIENT_GPU_MEMORY": (OutOfMemoryError, "the GPU has not enough memory for it"),
        "OLD_CUDA_DRIVER": (DeviceError, "the NVIDIA driver is too old for it"),
        "OLD_CUDA_RUNTIME": (UnavailableError, "the CUDA libraries are too old for it"),
        "CUDA_ERROR": (DeviceError, "the NVIDIA driver or the CUDA libraries do not work"),
    }
)


@dataclass(frozen=True, slots=True)
class LoadedPlan:
    """A plan with memory on the GPU for its largest batch.

    Attributes:
        context: The library's execution context.
        compiled: Gives the kernels that the library has compiled for this GPU so far; empty for TensorRT.
        log: Of the library, meanwhile.
        alive: Objects that must live as long as the context.
    """

    context: Any
    compiled: Callable[[], bytes]
    log: TrtLog
    alive: tuple[Any, ...]


def load_plan(
    library: TrtLibrary, member: Member, plan: bytes, facts: PlanFacts, compiled: bytes = b""
) -> LoadedPlan:
    """Load a plan on the current GPU.

    Args:
        library: Loaded.
        member: From which the plan was built.
        plan: Its bytes, hash-checked.
        facts: Of its sidecar.
        compiled: The kernels that `LoadedPlan.compiled` gave at an earlier time.

    Raises:
        IntegrityError: It is damaged, another version's, for another GPU, or not of that member.
        OutOfMemoryError: It does not fit into the GPU's memory.
        UnavailableError: The GPU or its driver does not work.
    """
    with trt_lock():
        return _loaded(library, member, plan, facts, compiled)


def _loaded(library: TrtLibrary, member: Member, plan: bytes, facts: PlanFacts, compiled: bytes) -> LoadedPlan:
    trt, log = library.trt, TrtLog()
    logger = log.logger(trt)
    try:
        runtime = trt.Runtime(logger)
    except TypeError as error:
        # A factory of pybind11 that gives nullptr.
        raise log.failure(f"{library.title} {library.version} does not start", _REMEDY) from error
    _require_valid(library, runtime, member, plan)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        failure = log.failure(f"the plan of {member.path} does not load", _REMEDY)
        # What is neither memory nor CUDA is the plan, and the next one may load: the caller builds it.
        ours = isinstance(failure, OutOfMemoryError | DeviceError)
        raise failure if ours else IntegrityError(failure.message, failure.remedy)
    _require_member(engine, member, facts)
    if library.names_capabilities:
        config, cache = _runtime_config(trt, engine, compiled)
        context = engine.create_execution_context(runtime_config=config)
        alive: tuple[Any, ...] = (logger, runtime, engine, config, cache)
    else:
        context = engine.create_execution_context()
        cache, alive = None, (logger, runtime, engine)
    if context is None:
        raise log.failure(f"no memory for batches of {facts.profile.largest} with the plan of {member.path}", _REMEDY)
    return LoadedPlan(context, lambda: _serialized(cache), log, alive)


def _require_valid(library: TrtLibrary, runtime: Any, member: Member, plan: bytes) -> None:
    """Have TensorRT for RTX check a plan before it is loaded; TensorRT reports faults in its log, afterwards."""
    if not hasattr(runtime, "get_engine_validity"):
        return
    validity, diagnostics = runtime.get_engine_validity(plan)
    if validity != library.trt.EngineValidity.INVALID:
        return
    bits = {name: int(flag) for name, flag in library.trt.EngineInvalidityDiagnostics.__members__.items()}
    for name, (kind, meaning) in _INVALID.items():
        if diagnostics & bits.get(name, 0):
            raise kind(
                f"{library.title} {library.version} does not take the plan of {member.path}: {meaning}", _REMEDY
            )
    # Without a reason: loading it will say more.


def _require_member(engine: Any, member: Member, facts: PlanFacts) -> None:
    specs: dict[str, list[TensorSpec]] = {"INPUT": [], "OUTPUT": []}
    for name in (engine.get_tensor_name(index) for index in range(engine.num_io_tensors)):
        kind = engine.get_tensor_dtype(name).name
        _, *sizes = tuple(engine.get_tensor_shape(name))
        specs[engine.get_tensor_mode(name).name].append(
            TensorSpec(name, DTYPES.get(kind, kind.lower()), tuple(sizes))
        )
    check_tensors(member, specs["INPUT"], specs["OUTPUT"])
    actual = tuple(shape[0] for shape in engine.get_tensor_profile_shape(INPUT, 0))
    expected = (facts.profile.smallest, facts.profile.best, facts.profile.largest)
    if actual != expected:
        raise IntegrityError(f"the plan of {member.path} runs batches of {actual}; its sidecar says {expected}")


def _runtime_config(trt: Any, engine: Any, compiled: bytes) -> tuple[Any, Any]:
    config = engine.create_runtime_config()
    # At once, not in the background: an answer must not depend on which kernel happens to be ready.
    config.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
    cache = config.create_runtime_cache()
    if compiled and not cache.deserialize(compiled):
        _LOG.debug("the kernels that were compiled before are another driver's or version's")
    config.set_runtime_cache(cache)
    return config, cache


def _serialized(cache: Any) -> bytes:
    blob = None if cache is None else cache.serialize()
    return b"" if blob is None else bytes(memoryview(blob))
