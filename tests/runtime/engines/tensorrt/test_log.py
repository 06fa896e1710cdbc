"""Lines of real logs become what a person can use; the rest goes."""

import pytest

from braintumor.errors import OutOfMemoryError, UnavailableError
from braintumor.runtime.engines.tensorrt.log import TrtLog, summarize

NO_DRIVER = (
    "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (In catchCudaError at "
    "/_src/common/dispatch/checkMacros.cpp:250 (cudaError 35: CUDA driver version is insufficient for CUDA runtime "
    "version))"
)
NOISE = [
    "Thread context has not been set! Using global log stream.",
    NO_DRIVER,
    "ModelImporter.cpp:142: --- Begin node ---",
]
TURING = (
    "IBuilder::buildSerializedNetwork: Error Code 1: Myelin ([pass.cpp:337: check_turing_op_compatibility] Cannot "
    "compile operation 'mm' for Turing (SM75): FP32 GEMM is not supported. In compileGraph at "
    "/_src/optimizer/myelin/codeGenerator.cpp:2012)"
)
PROFILE = (
    "IBuilder::buildSerializedNetwork: Error Code 4: API Usage Error (Input tensor image has static dimensions that "
    "don't match kMIN dimensions in profile index 0. In operator() at /_src/optimizer/api/network.cpp:4067)"
)
MEMORY = (
    "[defaultAllocator.cpp::allocateAsync::58] Error Code 1: Cuda Runtime (In allocateAsync at "
    "/_src/runtime/common/defaultAllocator.cpp:58 (cudaError 2: out of memory))"
)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([TURING], "Cannot compile operation 'mm' for Turing (SM75): FP32 GEMM is not supported"),
        ([*NOISE, TURING, TURING], "Cannot compile operation 'mm' for Turing (SM75): FP32 GEMM is not supported"),
        (
            [PROFILE],
            "Input tensor image has static dimensions that don't match kMIN dimensions in profile index 0",
        ),
        (NOISE, "there is no NVIDIA driver, or one that is too old"),
        ([], ""),
        (["words of\nits own"], "words of its own"),
    ],
)
def test_summarize_keeps_each_reason_once(lines: list[str], reason: str) -> None:
    assert summarize(lines) == reason


def test_failure_has_reason_and_remedy_and_empties_the_log() -> None:
    log = TrtLog()
    log.lines += [*NOISE, TURING]
    error = log.failure("TensorRT does not build m.onnx", "use another engine")
    assert type(error) is UnavailableError
    assert str(error).startswith("TensorRT does not build m.onnx (Cannot compile operation 'mm'")
    assert str(error).endswith("; use another engine")
    assert "it does not say why" in str(log.failure("x", "y"))


def test_failure_tells_a_full_memory() -> None:
    log = TrtLog()
    log.lines.append(MEMORY)
    assert isinstance(log.failure("x", "y"), OutOfMemoryError)
