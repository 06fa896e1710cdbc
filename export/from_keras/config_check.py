"""The JSON inside a model file: parsed within limits, and searched for what would have to be run."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from braintumor.errors import ModelError

__all__ = ["MAX_CONFIG_BYTES", "check_config", "parse_json"]

MAX_CONFIG_BYTES: Final = 32 << 20
"""The most that the description of a network may take; one of 20,000 layers takes 7 MB."""


# tf-keras is Keras 2 after Keras 3 took its name.
_KERAS: Final = frozenset({"keras", "tf_keras"})
_AGAIN: Final = "save or copy it again"
_FOREIGN_CODE: Final = frozenset({"FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper"})


def parse_json(raw: str | bytes, path: Path, name: str) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        raw: The text.
        path: The model file, for messages.
        name: Of the text, for messages.

    Raises:
        ModelError: It is too long, nested too deeply, or not a JSON object.
    """
    if len(raw) > MAX_CONFIG_BYTES:
        raise ModelError(f"{path}: {name} has {len(raw):,} bytes; must be <= {MAX_CONFIG_BYTES:,}")
    try:
        parsed = json.loads(raw)
        json.dumps(parsed, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ModelError(f"{path} is damaged: {name} is nested too deeply", _AGAIN) from error
    except UnicodeEncodeError as error:  # half of a surrogate pair, which no ONNX file can hold
        raise ModelError(f"{path} is damaged: {name} holds text that is not Unicode", _AGAIN) from error
    except ValueError as error:
        raise ModelError(f"{path} is damaged: {name} is not JSON ({error})", _AGAIN) from error
    if not isinstance(parsed, dict):
        raise ModelError(f"{path} is damaged: {name} is not a JSON object", _AGAIN)
    return parsed


def check_config(path: Path, config: dict[str, Any]) -> None:
    """Refuse a network that would run code of the file or of another library.

    Raises:
        ModelError: It has a Lambda layer, or a class that is not Keras's own.
    """
    # How the model was trained is not loaded: a loss or a schedule of the user's own does no harm.
    network = {name: value for name, value in config.items() if name != "compile_config"}
    for item in _objects(network):
        class_name = str(item["class_name"])
        if class_name in {"Lambda", "__lambda__"}:
            raise ModelError(
                f"{path} has a Lambda layer, which is Python code inside the file and is never run",
                "rebuild the model with built-in layers (Rescaling for scaling, Concatenate for grey to RGB) and "
                "save it again",
            )
        if class_name in _FOREIGN_CODE:
            raise ModelError(
                f"{path} has a {class_name} layer, which brings code of another library with it and is never run",
                "rebuild the model with built-in layers and save it again",
            )
        # Keras 2 writes a class of the user's own as "Package>Class".
        if item.get("registered_name") not in (None, class_name) or not _is_keras(item) or ">" in class_name:
            owner = item.get("module") or item.get("registered_name") or "the user's own"
            raise ModelError(
                f"{path} needs the class {class_name} of {owner}, which is not a part of Keras",
                "rebuild the model with built-in layers and save it again",
            )


def _is_keras(item: dict[str, Any]) -> bool:
    """Whether a serialised object is Keras's own; plain functions are of builtins, plain values of no module."""
    module = item.get("module", "builtins")
    # An explicit None stands at a class that was not registered.
    return module == "builtins" or str(module).split(".")[0] in _KERAS


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object in the config, at any depth."""
    stack = [config]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
