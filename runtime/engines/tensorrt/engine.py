"""NVIDIA TensorRT, and TensorRT for RTX for workstation cards: plans built on this machine, once.

Every engine has a CUDA stream, so that the members of an ensemble run beside each other. An image crosses to the GPU
as uint8; what belongs to a backbone, and the softmax, is in the graph; the vote is taken in float32 on the host.
"""

import logging
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from braintumor.cache import Cache, content_key
from braintumor.errors import IntegrityError, OutOfMemoryError, UnavailableError
from braintumor.runtime.bundle.load import Member
from braintumor.runtime.engines.answers import ProbeMismatchError, check_probe
from braintumor.runtime.engines.base import EngineInfo, PendingResult
from braintumor.runtime.engines.closing import Closing
from braintumor.runtime.engines.tensorrt.cuda import Gpu, find_gpu
from braintumor.runtime.engines.tensorrt.cuda_buffers import PinnedCudaBuffers
from braintumor.runtime.engines.tensorrt.execute import PlanRunner
from braintumor.runtime.engines.tensorrt.library import TrtLibrary, load_library, require_installed
from braintumor.runtime.engines.tensorrt.load import LoadedPlan, load_plan
from braintumor.runtime.engines.tensorrt.plan_cache import PlanRequest, forget_plan, plan_for, rebuilt_plan
from braintumor.runtime.engines.tensorrt.plan_file import PlanFacts
from braintumor.runtime.engines.tensorrt.profile import DEFAULT_PROFILE, BatchProfile
from braintumor.runtime.engines.tensorrt.trt_lock import trt_lock

__all__ = ["TensorRtEngine", "TensorRtRtxEngine"]

_LOG: Final = logging.getLogger("braintumor")
_COMPILED: Final = Cache("tensorrt-compiled")
_REMEDY: Final = "try a smaller `batch_size`, or another `engine`"


class TensorRtEngine(Closing):
    """A member as a plan of TensorRT's. It follows `AsyncEngine`."""

    name: ClassVar[str] = "tensorrt"
    extra: ClassVar[str] = "tensorrt"

    def __init__(self, member: Member, *, threads: int | None = None, device: int = 0) -> None:
        del threads  # nothing is computed on the CPU
        # The cheapest check first: without a GPU, a library of 200 MB need not be loaded.
        require_installed(self.name)
        gpu = find_gpu(device, extra=self.extra)
        library = load_library(self.name)
        self._member = member
        self._loaded: LoadedPlan | None = None
        self._buffers: PinnedCudaBuffers | None = None
        self._compiled_key = ""
        self._runner = self._load_fitting(library, gpu)
        self._info = EngineInfo(
            self.name, f"{library.title} on {gpu.name}", f"cuda:{device}", f"{library.name} {library.version}"
        )

    @property
    def info(self) -> EngineInfo:
        """The library and device that it really runs on."""
        return self._info

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify uint8 [batch, height, width] as float32 [batch, classes].

        Raises:
            OutOfMemoryError: The GPU's memory is full.
            UnavailableError: The GPU or TensorRT fails otherwise.
        """
        return self.submit(images)()

    def submit(self, images: NDArray[np.uint8]) -> PendingResult:
        """Start classifying on this engine's stream; see `braintumor.runtime.engines.base.AsyncEngine`.

        Raises:
            OutOfMemoryError: The GPU's memory is full.
            UnavailableError: The GPU or TensorRT fails otherwise.
        """
        if self._runner is None:
            raise ValueError("the engine is closed")
        return self._runner.submit(images)

    def close(self) -> None:
        """Free the GPU's memory, and keep what was compiled for it."""
        if self._loaded is not None:
            compiled = self._loaded.compiled()
            # The same kernels in another order have the same size: no need to write them at every end of a program.
            if compiled and len(compiled) != len(_COMPILED.get_bytes(self._compiled_key)):
                _COMPILED.put_bytes(self._compiled_key, compiled)
        with trt_lock():
            self._runner = self._loaded = None
        if self._buffers is not None:
            self._buffers.close()
            self._buffers = None

    def _load_fitting(self, library: TrtLibrary, gpu: Gpu) -> PlanRunner | None:
        """Load a plan; where its memory does not fit, one for half as many images at a time."""
        profile: BatchProfile | None = None
        while True:
            try:
                return self._open(library, gpu, profile)
            except OutOfMemoryError as error:
                self.close()
                smaller = (profile or DEFAULT_PROFILE).halved()
                if smaller is None:
                    raise
                profile = smaller
                _LOG.warning("%s; going on with a plan for %d images at a time", error, smaller.largest)
            except BaseException:
                self.close()
                raise

    def _open(self, library: TrtLibrary, gpu: Gpu, profile: BatchProfile | None) -> PlanRunner:
        member = self._member
        request = PlanRequest(member, library, gpu, profile or DEFAULT_PROFILE)
        plan, facts = plan_for(request, ahead=profile is None)
        try:
            self._loaded = self._load(library, gpu, plan, facts)
        except IntegrityError as error:
            plan, facts = rebuilt_plan(request, error)
            self._loaded = self._load(library, gpu, plan, facts)
        log = self._loaded.log
        self._buffers = PinnedCudaBuffers(
            gpu, facts.profile.largest, member.height, member.width, member.class_count, extra=self.extra
        )

        def failure(what: str) -> UnavailableError:
            return log.failure(f"{self.name} fails with {member.path}: {what}", _REMEDY)

        runner = PlanRunner(self._loaded.context, self._buffers, facts.profile, failure)
        # At every load: it takes milliseconds here, and a plan may have been built anywhere.
        try:
            check_probe(member, self.name, lambda images: runner.submit(images)())
        except ProbeMismatchError as error:
            forget_plan(request)
            _LOG.warning("%s; its plan is not kept", error)
        return runner

    def _load(self, library: TrtLibrary, gpu: Gpu, plan: bytes, facts: PlanFacts) -> LoadedPlan:
        self._compiled_key = content_key({"plan": facts.plan_sha256, "gpu": gpu.name, "driver": gpu.driver})
        return load_plan(library, self._member, plan, facts, _COMPILED.get_bytes(self._compiled_key))


class TensorRtRtxEngine(TensorRtEngine):
    """A member as a plan of TensorRT for RTX."""

    name = "tensorrt-rtx"
    extra = "rtx"
