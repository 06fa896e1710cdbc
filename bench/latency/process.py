"""A runner in a process of its own, as seen from the process that measures."""

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeVar

from braintumor import errors
from braintumor.bench.document import decode, encode
from braintumor.bench.latency.energy import Energy
from braintumor.bench.latency.gpu import DeviceTimes
from braintumor.bench.latency.runners.base import Calls, RunnerInfo, RunnerSpec, refuse_fall_back
from braintumor.bench.latency.worker import Failure, Peak, Request, Start
from braintumor.bench.metrics.timing import now_ms
from braintumor.errors import BraintumorError
from braintumor.runtime.engines.closing import Closing

__all__ = ["RunnerProcess"]

_COMMAND: Final = (sys.executable, "-P", "-m", "braintumor.bench.latency.worker")
_SHOWN: Final = 600
_END_S: Final = 10.0

Reply = TypeVar("Reply")


class RunnerProcess(Closing):
    """A runner that is loaded in another process.

    Attributes:
        info: Its name, engine and members, read back after loading.
        cold_start_ms: From the start of the process to its first prediction, of one image.
        inference_s: Seconds within its calls so far.
    """

    def __init__(self, spec: RunnerSpec, images: Sequence[Path], *, limit_s: float = 600.0) -> None:
        """Start the process and run the first image.

        Args:
            spec: How to create the runner.
            images: Image files; batches name them by index.
            limit_s: A request that takes longer ends the process and raises.

        Raises:
            BraintumorError: The runner cannot be loaded, or runs on another engine or device than requested.
        """
        self._name = spec.target.partition(":")[0].rpartition(".")[2]
        self._limit_s = limit_s
        self.inference_s = 0.0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        start = now_ms()
        self._process = subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=os.environ | spec.environment,
            text=True,
            encoding="utf-8",
        )
        try:
            self.info = self._request(Start(spec, tuple(map(str, images))), RunnerInfo)
            self.predict([[0]])
            self.cold_start_ms = now_ms() - start
            refuse_fall_back(spec.engine, self.info)
        except BaseException:
            self.close()
            raise

    def predict(self, batches: Sequence[Sequence[int]], *, probabilities: bool = False) -> Calls:
        """Run batches of images one after the other.

        Args:
            batches: Indices of images.
            probabilities: Whether to return the probabilities, besides the times.
        """
        result = self._request(Request(batches=batches, probabilities=probabilities), Calls)
        self.inference_s += sum(call.total_ms for call in result.calls) / 1000.0
        return result

    def device_times(self, batch: Sequence[int], calls: int) -> DeviceTimes:
        """Time this many calls with a batch on the GPU."""
        return self._request(Request(device=batch, calls=calls), DeviceTimes)

    def energy(self, batches: Sequence[Sequence[int]], seconds: float) -> Energy:
        """Run batches for some seconds and count the energy of the GPU."""
        return self._request(Request(energy=batches, seconds=seconds), Energy)

    def peak_rss_mb(self) -> float | None:
        """Peak memory of the process so far, in 1e6 bytes; None where the system does not report it."""
        return self._request(Request(peak=True), Peak).peak_rss_mb

    def _request(self, request: Start | Request, kind: type[Reply]) -> Reply:
        """Send one request and wait for its reply.

        Raises:
            BraintumorError: It failed; of the same class as in the process.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None  # noqa: S101, PT018 - both are pipes
        limit = threading.Timer(self._limit_s, self._process.kill)
        limit.start()
        try:
            stdin.write(json.dumps(encode(request)) + "\n")
            stdin.flush()
            line = stdout.readline()
        except OSError:
            line = ""
        finally:
            limit.cancel()
        if not line:
            raise BraintumorError(self._end_reason())
        reply = json.loads(line)
        if "error" in reply:
            failure = decode(reply, Failure)
            error: type[BraintumorError] = getattr(errors, failure.type, BraintumorError)
            raise error(failure.error, failure.remedy)
        return decode(reply, kind)

    def close(self) -> None:
        """End the process. May be called twice."""
        if self._errors.closed:
            return
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101, PT018 - pipes
        try:
            self._process.stdin.close()
            self._process.wait(_END_S)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def _end_reason(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        end = " ".join(self._errors.read().decode(errors="replace").split())[-_SHOWN:]
        return f"the process of {self._name} ended with exit code {code} or took more than {self._limit_s:g} s: {end}"
