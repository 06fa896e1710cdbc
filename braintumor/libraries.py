"""Every library that is not always installed: its module, its distributions, and the oldest version that works."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

__all__ = ["LIBRARIES", "Library", "library_of_module", "version_numbers"]


@dataclass(frozen=True, slots=True)
class Library:
    """One library, as the package index and Python know it.

    Attributes:
        module: To be imported.
        distributions: Packages that contain the module.
        minimum: The oldest version that works.
        extra: Of this package, that installs it.
        gpu_extra: The same on a machine with an NVIDIA GPU; empty for `extra`.
        title: As its makers call it; empty for its module.
        landmark: A name that a whole installation of the module has.
        exclusive: Its distributions overwrite each other's files: only one may be installed.
        options: For pip, where the package index alone is not enough.
        compute_capabilities: Of the GPUs that it builds for; empty when it does not restrict them.
        needs: Keys of other libraries, without which its engines do not run.
    """

    module: str
    distributions: tuple[str, ...]
    minimum: str
    extra: str
    gpu_extra: str = ""
    title: str = ""
    landmark: str = ""
    exclusive: bool = False
    options: str = ""
    compute_capabilities: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def for_gpus_only(self) -> bool:
        """Nothing of it runs without an NVIDIA GPU."""
        return bool(self.needs) or self.module.startswith("cuda.")

    def extra_for(self, *, gpu: bool) -> str:
        """The extra for a machine with, or without, an NVIDIA GPU."""
        return (self.gpu_extra if gpu else "") or self.extra

    def install(self, extra: str = "", *, upgrade: bool = False) -> str:
        """The command that installs it.

        Args:
            extra: Instead of its own.
            upgrade: It is installed, and too old.
        """
        return f"pip install {'--upgrade ' if upgrade else ''}{self.options}'braintumor[{extra or self.extra}]'"


_CUDA: Final = ("cuda", "cuda-core")

LIBRARIES: Final[Mapping[str, Library]] = MappingProxyType(
    {
        # For engines.
        "onnxruntime": Library(
            module="onnxruntime",
            distributions=("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino"),
            minimum="1.20",
            extra="cpu",
            gpu_extra="gpu",
            landmark="InferenceSession",
            exclusive=True,
        ),
        "openvino": Library("openvino", ("openvino",), "2025.1", "openvino", landmark="Core"),
        "tensorrt": Library(
            module="tensorrt",
            distributions=("tensorrt-cu13", "tensorrt-cu12", "tensorrt"),
            minimum="10.12",
            extra="tensorrt",
            title="TensorRT",
            landmark="Builder",
            options="--extra-index-url https://pypi.nvidia.com ",
            needs=_CUDA,
        ),
        "tensorrt-rtx": Library(
            module="tensorrt_rtx",
            distributions=("tensorrt-rtx-cu13", "tensorrt-rtx"),
            minimum="1.7",
            extra="rtx",
            title="TensorRT for RTX",
            landmark="Builder",
            compute_capabilities=("7.5", "8.0", "8.6", "8.9", "12.0", "12.1"),
            needs=_CUDA,
        ),
        "cuda": Library("cuda.bindings.runtime", ("cuda-bindings",), "13", "rtx", landmark="cudaGetDeviceCount"),
        "cuda-core": Library("cuda.core", ("cuda-core",), "1.2", "rtx", landmark="Device"),
        # For exporting, training and measuring.
        "cryptography": Library("cryptography", ("cryptography",), "43", "verify"),
        "h5py": Library("h5py", ("h5py",), "3.11", "cpu"),
        "imagehash": Library("imagehash", ("imagehash",), "4.3", "bench"),
        "jinja2": Library("jinja2", ("jinja2",), "3.1", "bench"),
        "kagglehub": Library("kagglehub", ("kagglehub",), "0.3", "data"),
        "keras": Library("keras", ("keras",), "3.15.1", "export"),
        "matplotlib": Library("matplotlib", ("matplotlib",), "3.9", "bench"),
        "ml_dtypes": Library("ml_dtypes", ("ml_dtypes",), "0.5", "export"),
        "model-signing": Library("model_signing", ("model-signing",), "1.1.1", "sign"),
        "onnx": Library("onnx", ("onnx",), "1.23.2", "cpu"),
        "onnx-ir": Library("onnx_ir", ("onnx-ir",), "1.1", "cpu"),
        "onnxslim": Library("onnxslim", ("onnxslim",), "0.1.70", "export"),
        "psutil": Library("psutil", ("psutil",), "6", "bench"),
        "scikit-learn": Library("sklearn", ("scikit-learn",), "1.5", "train"),
        "scipy": Library("scipy", ("scipy",), "1.13", "bench"),
        "tensorflow": Library("tensorflow", ("tensorflow",), "2.21", "export"),
        "tf2onnx": Library("tf2onnx", ("tf2onnx",), "1.17", "export"),
    }
)
"""By the name that engines begin with, or that is installed."""


def library_of_module(module: str) -> Library | None:
    """The library whose module, or a part of it, a module is; None for one that is not listed."""
    package = module.partition(".")[0]
    return next((library for library in LIBRARIES.values() if library.module.partition(".")[0] == package), None)


def version_numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, to compare it with another: (2025, 1) of "2025.1rc1"."""
    leading = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(number) for number in leading[0].split(".")) if leading else ()
