"""From an ONNX file to a serialized plan, with either library.

Networks are strongly typed: each tensor is computed in the type that the ONNX graph gives it, and int8 is where
Q/DQ nodes put it. TF32, which the libraries take for float32 unasked, is switched off: a float32 member is computed
in float32, as it was verified.
"""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from braintumor.errors import IntegrityError, UnavailableError, UsageError
from braintumor.runtime.bundle.verified import read_verified
from braintumor.runtime.engines.tensorrt.cuda import Gpu
from braintumor.runtime.engines.tensorrt.library import TrtLibrary
from braintumor.runtime.engines.tensorrt.log import TrtLog, parser_errors
from braintumor.runtime.engines.tensorrt.plan_file import PlanFacts, PlanTensor
from braintumor.runtime.engines.tensorrt.profile import DEFAULT_PROFILE, BatchProfile
from braintumor.runtime.engines.tensorrt.trt_lock import trt_lock

__all__ = ["DTYPES", "BuildOptions", "Plan", "build_plan"]

_CAPABILITY: Final = re.compile(r"SM\d{2,3}")
DTYPES: Final = MappingProxyType({"FLOAT": "float32", "HALF": "float16"})
"""The libraries' names of types that NumPy calls otherwise."""

# Option → the library's own name.
_HARDWARE: Final[Mapping[str, str]] = MappingProxyType(
    {"none": "NONE", "same": "SAME_COMPUTE_CAPABILITY", "ampere+": "AMPERE_PLUS"}
)
_EXPORT_AGAIN: Final = "export the bundle again with bt-export"
_ANOTHER_ENGINE: Final = "use `engine='onnxruntime-cuda'` or `engine='onnxruntime-cpu'`"


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Options of a build.

    Attributes:
        profile: Batch sizes that the plan runs.
        capabilities: Of the GPUs that TensorRT for RTX builds for, such as ("SM86", "SM89"); empty for TensorRT,
            which builds for the GPU that is here.
        version_compatible: For TensorRT: newer versions load the plan, too; it is larger, and may be slower.
        hardware_compatibility: For TensorRT: "none", "same" (all GPUs of this compute capability) or "ampere+".
    """

    profile: BatchProfile = DEFAULT_PROFILE
    capabilities: tuple[str, ...] = ()
    version_compatible: bool = False
    hardware_compatibility: str = "none"

    def __post_init__(self) -> None:
        """Refuse values that neither library has (UsageError)."""
        if malformed := [name for name in self.capabilities if not _CAPABILITY.fullmatch(name)]:
            raise UsageError(f"compute capability {malformed[0]!r}: must be SM and digits", "write SM86 for 8.6")
        if len(set(self.capabilities)) < len(self.capabilities):
            raise UsageError(
                f"a compute capability is listed twice in {','.join(self.capabilities)}", "list each once"
            )
        if self.hardware_compatibility not in _HARDWARE:
            raise UsageError(
                f"no hardware compatibility is called {self.hardware_compatibility!r}; "
                f"allowed are {', '.join(_HARDWARE)}"
            )


@dataclass(frozen=True, slots=True)
class Plan:
    """A built plan.

    Attributes:
        data: Serialized.
        facts: Of its sidecar.
        timing: TensorRT's timing cache, which makes the next build faster; empty for TensorRT for RTX.
    """

    data: bytes
    facts: PlanFacts
    timing: bytes = b""


def build_plan(
    library: TrtLibrary,
    model: Path,
    options: BuildOptions,
    *,
    sha256: str | None = None,
    on: Gpu | None = None,
    timing: bytes = b"",
) -> Plan:
    """Build a plan. It takes seconds with TensorRT for RTX, up to minutes with TensorRT.

    Args:
        library: Loaded.
        model: An ONNX file with one input, whose first axis is the batch.
        options: Of the build.
        sha256: Of a bundle's file, which must be that one; None for a file of the caller's own.
        on: The GPU that is here; TensorRT for RTX needs none when `options.capabilities` names some.
        timing: The timing cache of an earlier build.

    Raises:
        UsageError: The library lacks an option.
        UnavailableError: The library refuses the model, naming the node, or has no GPU to build on.
        OutOfMemoryError: The build does not fit into memory.
        IntegrityError: The file is not an ONNX model, or not the one with that hash.
    """
    capabilities = _require(library, options, on)
    content = model.read_bytes() if sha256 is None else read_verified(model, sha256)
    start = time.perf_counter()
    with trt_lock():
        data, tensors, timing = _built(library, model, content, options, capabilities, timing)
    facts = PlanFacts(
        library=library.name,
        library_version=library.version,
        onnx_sha256=hashlib.sha256(content).hexdigest(),
        inputs=tensors[0],
        outputs=tensors[1],
        profile=options.profile,
        compute_capabilities=capabilities,
        gpu=on.name if on else None,
        driver=on.driver if on else None,
        version_compatible=options.version_compatible,
        hardware_compatibility=options.hardware_compatibility,
        build_s=time.perf_counter() - start,
        plan_sha256=hashlib.sha256(data).hexdigest(),
        plan_bytes=len(data),
    )
    return Plan(data, facts, timing)


def _built(
    library: TrtLibrary,
    model: Path,
    content: bytes,
    options: BuildOptions,
    capabilities: tuple[str, ...],
    timing: bytes,
) -> tuple[bytes, tuple[tuple[PlanTensor, ...], tuple[PlanTensor, ...]], bytes]:
    """The serialized plan, its inputs and outputs, and the timing cache."""
    log = TrtLog()
    logger = log.logger(library.trt)
    builder = _builder(library, logger, log)
    # The parser owns the weights that the network points at, and the configuration does not own its timing cache:
    # both must live until the plan is built.
    network, parser = _parsed(library, builder, logger, model, content, log)
    config = _config(library, builder, options, capabilities)
    _add_profile(builder, config, network, options.profile, model)
    cache = None if library.names_capabilities else _timing_cache(config, timing)
    serialized = builder.build_serialized_network(network, config)
    if serialized is None:
        raise log.failure(f"{library.title} {library.version} does not build {model}", _ANOTHER_ENGINE)
    # TensorRT for RTX times nothing, and asks for a GPU as soon as its timing cache is touched.
    timing = b"" if cache is None else _timings(config)
    del parser, cache
    return bytes(memoryview(serialized)), _tensors_of(network), timing


def _tensors_of(network: Any) -> tuple[tuple[PlanTensor, ...], tuple[PlanTensor, ...]]:
    """Inputs and outputs of a network."""
    inputs = (network.get_input(index) for index in range(network.num_inputs))
    outputs = (network.get_output(index) for index in range(network.num_outputs))
    return tuple(map(_plan_tensor, inputs)), tuple(map(_plan_tensor, outputs))


def _plan_tensor(tensor: Any) -> PlanTensor:
    kind = tensor.dtype.name
    return PlanTensor(tensor.name, DTYPES.get(kind, kind.lower()), tuple(tensor.shape))


def _require(library: TrtLibrary, options: BuildOptions, on: Gpu | None) -> tuple[str, ...]:
    """The compute capabilities to build for."""
    if not library.names_capabilities:
        if options.capabilities:
            raise UsageError(
                f"{library.title} builds for the GPU that is here, not for {', '.join(options.capabilities)}",
                "leave `capabilities` out, or use `engine='tensorrt-rtx'`",
            )
        if on is None:
            raise UnavailableError(f"{library.title} builds only where a GPU is", "use `engine='tensorrt-rtx'`")
        return (on.capability,)
    if options.version_compatible or options.hardware_compatibility != "none":
        raise UsageError(
            f"{library.title} has no version or hardware compatibility",
            "give `capabilities` instead, or use `engine='tensorrt'`",
        )
    requested = options.capabilities or ((on.capability,) if on else ())
    allowed = library.capabilities
    if not requested:
        raise UsageError(
            f"no compute capability to build for; allowed are {', '.join(allowed)}", "give `capabilities`"
        )
    if unsupported := [name for name in requested if name not in allowed]:
        kind = UsageError if options.capabilities else UnavailableError
        raise kind(
            f"{library.title} {library.version} does not build for {', '.join(unsupported)}; it builds for "
            f"{', '.join(allowed)}",
            "for other GPUs use `engine='tensorrt'` or `engine='onnxruntime-cuda'`",
        )
    return requested


def _builder(library: TrtLibrary, logger: Any, log: TrtLog) -> Any:
    try:
        return library.trt.Builder(logger)
    except TypeError as error:
        # A factory of pybind11 that gives nullptr.
        raise log.failure(f"{library.title} {library.version} does not start", "look at nvidia-smi") from error


def _parsed(
    library: TrtLibrary, builder: Any, logger: Any, model: Path, content: bytes, log: TrtLog
) -> tuple[Any, Any]:
    # In TensorRT 11 every network is strongly typed, and the flag may be gone.
    flag = getattr(library.trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    network = builder.create_network(0 if flag is None else 1 << int(flag))
    parser = library.trt.OnnxParser(network, logger)
    if not parser.parse(content):
        if parser.num_errors:
            errors = parser_errors(parser)
            raise UnavailableError(f"{library.title} {library.version} refuses {model}: {errors}", _ANOTHER_ENGINE)
        raise log.failure(f"{library.title} {library.version} does not read {model}", _ANOTHER_ENGINE)
    if not network.num_inputs or not network.num_outputs:
        raise IntegrityError(f"{model} is not an ONNX model with inputs and outputs", _EXPORT_AGAIN)
    return network, parser


def _config(library: TrtLibrary, builder: Any, options: BuildOptions, capabilities: tuple[str, ...]) -> Any:
    trt = library.trt
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    if library.names_capabilities:
        config.num_compute_capabilities = len(capabilities)
        for index, name in enumerate(capabilities):
            if not config.set_compute_capability(getattr(trt.ComputeCapability, name), index):
                raise UnavailableError(
                    f"{library.title} {library.version} does not take the compute capability {name}"
                )
        return config
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    level = _HARDWARE[options.hardware_compatibility]
    if not hasattr(trt.HardwareCompatibilityLevel, level):
        raise UsageError(
            f"{library.title} {library.version} has no hardware compatibility {options.hardware_compatibility!r}",
            "leave it out",
        )
    config.hardware_compatibility_level = getattr(trt.HardwareCompatibilityLevel, level)
    return config


def _add_profile(builder: Any, config: Any, network: Any, profile: BatchProfile, model: Path) -> None:
    optimisation = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        batch, *sizes = tuple(tensor.shape)
        if batch != -1:
            raise IntegrityError(
                f"{model} takes batches of {batch} only, and a plan of its profile any of {profile.smallest} to "
                f"{profile.largest}",
                _EXPORT_AGAIN,
            )
        optimisation.set_shape(
            tensor.name, *((count, *sizes) for count in (profile.smallest, profile.best, profile.largest))
        )
    if config.add_optimization_profile(optimisation) < 0:
        raise UnavailableError(f"{model} does not take the batch profile {profile}", _EXPORT_AGAIN)


def _timing_cache(config: Any, timing: bytes) -> Any:
    """Kernel timings of earlier builds; those of another version or GPU are refused, and it starts with none."""
    for blob in (timing, b""):
        cache = config.create_timing_cache(blob)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
    return None


def _timings(config: Any) -> bytes:
    cache = config.get_timing_cache()
    return b"" if cache is None else bytes(memoryview(cache.serialize()))
