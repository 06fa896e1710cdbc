"""Optional packages: imported when first used, missed with the command that installs them."""

import importlib
from types import ModuleType

from braintumor.errors import UnavailableError

__all__ = ["require"]


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module.

    Args:
        module: The module's full name, such as "onnxruntime".
        extra: The extra of this package that installs it.
        purpose: What it is needed for, as in "running ONNX models on the CPU".

    Raises:
        UnavailableError: The module is missing or does not load.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UnavailableError(
            f"{purpose} needs the package {module!r}, which does not load here ({error}); "
            f"install it with: pip install 'braintumor[{extra}]'"
        ) from error
