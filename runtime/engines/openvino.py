"""OpenVINO on the CPU or on an Intel GPU, for workstations without an NVIDIA GPU.

OpenVINO computes in bfloat16 by itself where a CPU has it: that moved the probabilities of DenseNet121 by
0.014 against 2e-6 in float32. Here a member is computed at the precision it was exported at: bfloat16 only for bf16
members and bf16 float layers of int8 ones, where the CPU has it; float32 otherwise. INT8 layers run in int8; on CPUs
without VNNI, whose int8 sums would overflow, with weights of seven bits. On a GPU fp16 is computed in float16. What
the compiled model's kernels really compute in is read back.

A single image goes through a model that is compiled for one, on all threads: INT8 takes 0.86 of the time of a model
for any batch. Batches go in parts through as many requests as OpenVINO suggests, each on threads of its own: the same
answers in 0.69 to 0.95 of the time at batch 32 on two cores, while a single image would take 1.6 times as long there.

Compiled models are kept in the user's cache, keyed by the model's hash, the options, the library's version, the
device and the CPU's instruction sets. They are made from a verified copy of the member, and kept only when they give
the answers of the member's probe.
"""

import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.cache import Cache, content_key, tell_unsafe_cache
from braintumor.errors import DeviceError, IntegrityError, OutputError, UnavailableError
from braintumor.optional import require
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.bundle.verified import copy_verified, read_verified
from braintumor.runtime.engines.answers import ProbeMismatchError, check_probe
from braintumor.runtime.engines.base import INPUT, OUTPUT, EngineInfo, TensorSpec, check_tensors
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.openvino_quantised import fuse_quantisation, narrow_weights
from braintumor.runtime.engines.signal_stack import signal_stack_kept
from braintumor.system.cpu import cpu_features, saturates_int8

__all__ = ["OpenVinoCpuEngine", "OpenVinoGpuEngine"]

_CACHE: Final = Cache("openvino")
# Moves when a graph is compiled otherwise than before.
_RECIPE: Final = 3
_COMPILED: Final = "model.blob"
_COPY: Final = "verified.onnx"
_LOG: Final = logging.getLogger("braintumor")
_PRECISION: Final = "INFERENCE_PRECISION_HINT"
_FLOAT32: Final = "f32"


class OpenVinoCpuEngine(Closing):
    """A member on the CPU."""

    name = "openvino-cpu"
    device = "CPU"
    remedy = "use `engine='onnxruntime-cpu'`"
    # Precision of a member's floats → what the device computes them in, where it can; else float32.
    natively: ClassVar[Mapping[str, tuple[str, str]]] = {"bf16": ("BF16", "bf16")}

    def __init__(self, member: Member, *, threads: int | None = None, device: int = 0) -> None:
        self._openvino = require("openvino", extra="openvino", purpose=f"the engine {self.name}")
        self._member = member
        # A device's plugin is loaded when the device is first asked for something.
        with signal_stack_kept():
            self._core: Any = self._openvino.Core()
            self._device = self._device_name(device)
            native = self._native(member.float_precision)
        self._options: dict[str, Any] = {_PRECISION: native}
        if threads is not None:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._narrow = member.precision == "int8" and self.device == "CPU" and saturates_int8()
        compiled = self._single_for_this_device()
        requested, actual = self._options[_PRECISION], str(compiled.get_property(_PRECISION).to_string())
        if actual != requested:
            raise UnavailableError(f"the engine {self.name} computes in {actual}, not in {requested} as requested")
        self._check_tensors(compiled)
        self._single: Any = compiled.create_infer_request()
        # Made when the first batch comes.
        self._requests: list[Any] | None = None
        provider = f"OpenVINO {compiled.get_property('EXECUTION_DEVICES')[0]}"
        if native != _FLOAT32 and _computes_in(compiled, native):
            provider += f" {native}"
        elif member.float_precision in self.natively:
            provider += f", {member.float_precision} computed in {_FLOAT32}"
        if self._narrow:
            provider += ", int8 weights in 7 bits"
        self._info = EngineInfo(
            self.name, provider, self._info_device(device), f"openvino {self._openvino.__version__}"
        )

    @property
    def info(self) -> EngineInfo:
        """The library and device that it really runs on."""
        return self._info

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify uint8 [batch, height, width] as float32 [batch, classes].

        Raises:
            UnavailableError: OpenVINO fails, as it does when memory runs out.
        """
        try:
            requests = self._requests_for(len(images))
            parts = np.array_split(images, len(requests))
            for request, part in zip(requests, parts, strict=True):
                request.start_async({INPUT: part}, share_inputs=True)
            for request in requests:
                request.wait()
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UnavailableError(
                f"{self.name} failed on {len(images)} images ({reason})",
                "try a smaller `batch_size`, or another `engine`",
            ) from error
        # A copy: the tensors are the requests' own and are written again by the next batch.
        result: NDArray[np.float32] = np.concatenate([request.get_output_tensor(0).data for request in requests])
        return result

    def close(self) -> None:
        """Free the compiled models."""
        self._single = self._requests = None

    def _device_name(self, index: int) -> str:
        """OpenVINO's name of the device."""
        del index
        self._require(self.device)
        return self.device

    def _info_device(self, index: int) -> str:
        del index
        return "cpu"

    def _require(self, device: str) -> None:
        available = self._core.available_devices
        if device not in available:
            devices = ", ".join(available) or "none"
            raise DeviceError(
                f"the engine {self.name} needs OpenVINO's device {device}; it has {devices}", self.remedy
            )

    def _native(self, precision: str) -> str:
        capability, native = self.natively.get(precision, ("", _FLOAT32))
        supported = capability in self._core.get_property(self._device, "OPTIMIZATION_CAPABILITIES")
        return native if supported else _FLOAT32

    def _requests_for(self, batch: int) -> list[Any]:
        if batch == 1:
            return [self._single]
        if self._requests is None:
            compiled = self._compiled(single=False)
            count = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
            self._requests = [compiled.create_infer_request() for _ in range(count)]
        return self._requests[:batch]

    def _single_for_this_device(self) -> Any:
        """The model for one image, in float32 where the device reports a precision that it does not have."""
        try:
            return self._compiled(single=True)
        except IntegrityError:
            if self._options[_PRECISION] == _FLOAT32:
                raise
            self._options[_PRECISION] = _FLOAT32
            return self._compiled(single=True)

    def _compiled(self, *, single: bool) -> Any:
        """The cached model, compiled for one image or for any batch; compiled anew when there is no usable cache."""
        options = self._options | {"PERFORMANCE_HINT": "LATENCY" if single else "THROUGHPUT"}
        key = content_key(
            {
                "recipe": _RECIPE,
                "model": self._member.sha256,
                "openvino": self._openvino.__version__,
                "options": options,
                "narrow": self._narrow,
                "single": single,
                "cpu": cpu_features(),
                "device": str(self._core.get_property(self._device, "FULL_DEVICE_NAME")),
            }
        )

        fresh: Any = None

        def build(folder: Path) -> None:
            nonlocal fresh
            copy = folder / _COPY
            copy_verified(self._member.path, self._member.sha256, copy)
            blob = self._compile(copy, options, single=single).export_model()
            copy.unlink()
            raw = blob.getvalue() if isinstance(blob, io.BytesIO) else blob
            del blob
            (folder / _COMPILED).write_bytes(raw)
            compiled = self._imported(raw, options)
            self._check_probe(compiled, single=single)
            fresh = compiled

        try:
            entry = _CACHE.build(key, build)
            return fresh or self._imported((entry / _COMPILED).read_bytes(), options)
        except (OutputError, IntegrityError, ProbeMismatchError) as error:
            # No place for a cache, or a blob that this build of OpenVINO does not take: it costs start-up time.
            # When the member itself does not load, this says so.
            tell_unsafe_cache(error)
        raw = read_verified(self._member.path, self._member.sha256)
        compiled = self._compile(raw, options, single=single)
        try:
            self._check_probe(compiled, single=single)
        except ProbeMismatchError as error:
            _LOG.warning("%s; its graph is not kept", error)
        return compiled

    def _compile(self, source: Path | bytes, options: dict[str, Any], *, single: bool) -> Any:
        try:
            model = self._core.read_model(source)
            fuse_quantisation(self._openvino, model)
            if self._narrow:
                narrow_weights(self._openvino, model)
            if single:
                _fix_batch(model)
            return self._core.compile_model(model, self._device, options)
        except (RuntimeError, ValueError) as error:
            # A name that is not text is a ValueError.
            raise self._not_loaded(error) from error

    def _imported(self, blob: bytes, options: dict[str, Any]) -> Any:
        try:
            return self._core.import_model(blob, self._device, options)
        except RuntimeError as error:
            raise self._not_loaded(error) from error

    def _not_loaded(self, error: Exception) -> IntegrityError:
        reason = " ".join(str(error).split())
        return IntegrityError(
            f"{self._member.path} does not load in openvino {self._openvino.__version__} ({reason})"
        )

    def _check_probe(self, compiled: Any, *, single: bool) -> None:
        """Ask a model the probe, image by image where it is for one."""
        self._check_tensors(compiled)

        def infer(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            parts = np.split(images, len(images)) if single else [images]
            request = compiled.create_infer_request()
            try:
                # Copies: the tensors are the request's own.
                return np.concatenate([np.array(request.infer({INPUT: part})[0]) for part in parts])
            except RuntimeError as error:
                raise self._not_loaded(error) from error

        check_probe(self._member, self.name, infer)

    def _check_tensors(self, compiled: Any) -> None:
        check_tensors(self._member, _tensor_specs(compiled.inputs, INPUT), _tensor_specs(compiled.outputs, OUTPUT))


class OpenVinoGpuEngine(OpenVinoCpuEngine):
    """A member on an Intel GPU."""

    name = "openvino-gpu"
    device = "GPU"
    remedy = (
        "install the driver of the Intel GPU (on Linux the packages intel-opencl-icd and libze1, and the user in the "
        "group render), or use `engine='openvino-cpu'`"
    )
    natively: ClassVar[Mapping[str, tuple[str, str]]] = {"fp16": ("FP16", "f16")}

    def _device_name(self, index: int) -> str:
        # A single GPU has no number.
        device = self.device if index == 0 and self.device in self._core.available_devices else f"GPU.{index}"
        self._require(device)
        return device

    def _info_device(self, index: int) -> str:
        return f"gpu:{index}"


def _fix_batch(model: Any) -> None:
    """Make a model one for single images; its other sizes stay as they are, and are checked when it is loaded."""
    shapes = {port: port.get_partial_shape() for port in model.inputs}
    for shape in shapes.values():
        if shape.rank.is_static and len(shape):
            shape[0] = 1
    model.reshape(shapes)


def _computes_in(compiled: Any, precision: str) -> bool:
    """Whether a kernel of the compiled model computes in a precision, in OpenVINO's words."""
    operations = compiled.get_runtime_model().get_ordered_ops()
    return any(str(operation.get_rt_info()["runtimePrecision"].astype(str)) == precision for operation in operations)


def _tensor_specs(values: Sequence[Any], name: str) -> list[TensorSpec]:
    # Where OpenVINO took out an Identity, its result goes by both names.
    return [
        TensorSpec(
            name if name in value.names else value.any_name,
            str(np.dtype(value.element_type.to_dtype())),
            tuple(size.get_length() if size.is_static else str(size) for size in list(value.partial_shape)[1:]),
        )
        for value in values
    ]
