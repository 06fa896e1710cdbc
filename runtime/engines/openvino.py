"""OpenVINO on the CPU, for workstations without an NVIDIA GPU.

OpenVINO computes in bfloat16 by itself where a CPU has it: that moved the probabilities of DenseNet121 by
0.014 against 2e-6 in float32. Here it computes in float32, whatever the precision of the weights: a bundle was
verified so.

The compiled model is kept in the user's cache, keyed by the model's hash, the library's version and the CPU's
instruction sets.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import IntegrityError, OutputError, UnavailableError
from braintumor.optional import require
from braintumor.runtime.bundle import Member
from braintumor.runtime.cache import cached, content_key
from braintumor.runtime.closing import Closing
from braintumor.runtime.cpu import cpu_features
from braintumor.runtime.engine import INPUT, OUTPUT, EngineInfo, Port, check_ports

__all__ = ["OpenVinoCpuEngine"]

_CACHE_KIND: Final = "openvino"
_COMPILED: Final = "model.blob"
_DEVICE: Final = "CPU"


class OpenVinoCpuEngine(Closing):
    """A member on the CPU by OpenVINO, one batch at a time on all threads."""

    name = "openvino-cpu"

    def __init__(self, member: Member, *, threads: int | None = None, device: int = 0) -> None:
        del device
        if member.precision == "int8":
            # Its int8 convolutions in front of a scaled residual sum, of which InceptionResNetV2 is made, moved
            # probabilities by up to 0.48 where ONNX Runtime's moved them by 0.03.
            raise UnavailableError(
                f"the engine {self.name} does not compute {member.name} at int8 as it was verified; use the engine "
                "onnxruntime-cpu, or a bundle of fp32"
            )
        openvino = require("openvino", extra="openvino", purpose=f"the engine {self.name}")
        core = openvino.Core()
        if _DEVICE not in core.available_devices:
            found = ", ".join(core.available_devices) or "none"
            raise UnavailableError(f"the engine {self.name} needs OpenVINO's device {_DEVICE}; it has {found}")
        compiled = _compiled(openvino, core, member, _options(threads))
        precision = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
        if precision != "f32":
            raise UnavailableError(f"the engine {self.name} was asked to compute in f32 and computes in {precision}")
        check_ports(member, _ports(compiled.inputs, INPUT), _ports(compiled.outputs, OUTPUT))
        self._request: Any = compiled.create_infer_request()
        provider = f"OpenVINO {compiled.get_property('EXECUTION_DEVICES')[0]}"
        self._info = EngineInfo(self.name, provider, "cpu", f"openvino {openvino.__version__}")

    @property
    def info(self) -> EngineInfo:
        """What it really runs on."""
        return self._info

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify uint8 [batch, height, width] as float32 [batch, 4].

        Raises:
            UnavailableError: OpenVINO fails, as it does when memory runs out.
        """
        try:
            self._request.infer({INPUT: images}, share_inputs=True)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UnavailableError(
                f"{self.name} failed on {len(images)} images ({reason}); try a smaller --batch-size, or another "
                "--engine"
            ) from error
        # The tensor is the request's own and is written again by the next batch.
        result: NDArray[np.float32] = np.array(self._request.get_output_tensor(0).data, dtype=np.float32)
        return result

    def close(self) -> None:
        """Free the compiled model."""
        self._request = None


def _ports(values: Sequence[Any], wanted: str) -> list[Port]:
    # Where OpenVINO took out an Identity, its result goes by both names.
    return [
        Port(
            wanted if wanted in value.names else value.any_name,
            str(np.dtype(value.element_type.to_dtype())),
            tuple(size.get_length() if size.is_static else str(size) for size in list(value.partial_shape)[1:]),
        )
        for value in values
    ]


def _options(threads: int | None) -> dict[str, Any]:
    options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    return options if threads is None else options | {"INFERENCE_NUM_THREADS": threads}


def _compiled(openvino: Any, core: Any, member: Member, options: dict[str, Any]) -> Any:
    """The cached compiled model; compiled anew when there is no usable cache."""
    parts = {"model": member.sha256, "openvino": openvino.__version__, "options": options, "cpu": cpu_features()}

    def build(folder: Path) -> None:
        blob = _compile(openvino, core, member.path, options).export_model()
        (folder / _COMPILED).write_bytes(blob.getvalue() if isinstance(blob, io.BytesIO) else blob)

    try:
        entry = cached(_CACHE_KIND, content_key(parts), build)
        return core.import_model((entry / _COMPILED).read_bytes(), _DEVICE, options)
    except (OutputError, RuntimeError):
        # No place for a cache, or a blob that this build of OpenVINO does not take: start-up time is lost, no answer.
        return _compile(openvino, core, member.path, options)


def _compile(openvino: Any, core: Any, path: Path, options: dict[str, Any]) -> Any:
    try:
        return core.compile_model(core.read_model(path), _DEVICE, options)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise IntegrityError(f"{path} does not load in openvino {openvino.__version__} ({reason})") from error
