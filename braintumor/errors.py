"""Every error that braintumor raises on purpose.

    BraintumorError            1  an internal error, when raised as itself
    ├── UsageError             2  a wrong argument or option, an unknown name, a file that is not there
    ├── OutputError            2  a result cannot be written there
    │   └── UnsafeCacheError   2  the cache is another user's, or others may write into it
    ├── InputError             3  an image cannot be read
    ├── ModelError             3  a model file is not a classifier that can be exported
    │   ├── UnsupportedLayerError  3  a layer that the direct writer does not know
    │   └── KerasLoadError     3  a model file that the installed Keras does not load
    ├── ParityError            3  an export does not give the answers of its original
    ├── IntegrityError         4  a bundle, or another file of ours, is damaged or malformed
    │   └── VerdictError       4  a bundle was not accepted, and must be
    └── UnavailableError       5  an engine or an optional package is not usable here
        ├── DeviceError        5  a device is not there, or its driver does not work
        └── OutOfMemoryError   5  a device's memory does not hold the batch

The number is the exit code of the command that meets the error. A message is one line that says what was found and
what is allowed; the remedy says how to fix it. Both name parameters between backquotes, as `batch_size` or
`engine='onnxruntime-cpu'`: a command line replaces them by its own options. The command lines catch
`BraintumorError` only: anything else is a defect and shows its traceback.

    >>> str(UsageError("batch_size is 0; must be > 0", "choose another `batch_size`"))
    'batch_size is 0; must be > 0; choose another `batch_size`'
"""

from typing import ClassVar

__all__ = [
    "BraintumorError",
    "DeviceError",
    "InputError",
    "IntegrityError",
    "KerasLoadError",
    "ModelError",
    "OutOfMemoryError",
    "OutputError",
    "ParityError",
    "UnavailableError",
    "UnsafeCacheError",
    "UnsupportedLayerError",
    "UsageError",
    "VerdictError",
]


class BraintumorError(Exception):
    """The base of all errors of this package.

    Attributes:
        message: The problem, and what is allowed.
        remedy: How to fix it; empty where nothing general can be said.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.message, self.remedy = message, remedy

    def __str__(self) -> str:
        """The message and the remedy, in one line."""
        return "; ".join(part for part in (self.message, self.remedy) if part)


class UsageError(BraintumorError):
    """A wrong argument or option, an unknown name, or a file that is not there."""

    exit_code: ClassVar[int] = 2


class OutputError(BraintumorError):
    """A result cannot be written: no permission, no space, something in the way."""

    exit_code: ClassVar[int] = 2


class UnsafeCacheError(OutputError):
    """The cache belongs to another user, or others may write into it: nothing of it is read."""


class InputError(BraintumorError):
    """An image cannot be read."""

    exit_code: ClassVar[int] = 3


class ModelError(BraintumorError):
    """A model file is not a classifier that can be exported."""

    exit_code: ClassVar[int] = 3


class UnsupportedLayerError(ModelError):
    """A layer that the direct way from `.keras` to ONNX does not know; the way through Keras may.

    Attributes:
        layer: Its path in the model.
        class_name: Its class.
        reason: The part of it that is not known; empty for all of it.
    """

    def __init__(self, layer: str, class_name: str, reason: str = "") -> None:
        named = f"layer {layer!r} ({class_name})" if class_name else f"layer {layer!r}"
        super().__init__(f"{named}: {reason}" if reason else f"{named} is not known to the direct writer")
        self.layer, self.class_name, self.reason = layer, class_name, reason
        self.args = (layer, class_name, reason)


class KerasLoadError(ModelError):
    """A model file that the installed Keras does not load, as one of another version."""


class ParityError(BraintumorError):
    """An exported model does not give the answers of its original."""

    exit_code: ClassVar[int] = 3


class IntegrityError(BraintumorError):
    """A bundle, or another file that we write, is damaged or malformed: schema, files, hashes, paths."""

    exit_code: ClassVar[int] = 4


class VerdictError(IntegrityError):
    """A bundle was required to be accepted, and was refused, never judged, or judged on another engine."""


class UnavailableError(BraintumorError):
    """An engine or an optional package is not usable on this machine."""

    exit_code: ClassVar[int] = 5


class DeviceError(UnavailableError):
    """A device is not there, or its driver does not work."""


class OutOfMemoryError(UnavailableError):
    """A device's memory does not hold the batch; a smaller one may fit."""
