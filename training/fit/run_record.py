"""`run.json`: what a run was asked to do, by which command, with which versions, on which machine."""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import braintumor
from braintumor.errors import IntegrityError, UsageError
from braintumor.training.fit.checkpoint import RunFolder
from braintumor.training.fit.precision import compute_policy
from braintumor.training.keras_package import keras_module
from braintumor.training.recipe import Recipe

__all__ = ["claim", "read_record"]

_FILE: Final = "run.json"
_RESTART: Final = "start again with `restart`"
_WANTED: Final = ("recipe", "command", "begun", "versions")


def read_record(folder: Path) -> Mapping[str, Any]:
    """The `run.json` of a run; empty where there is none.

    Raises:
        IntegrityError: It is damaged.
    """
    path = folder / _FILE
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in _WANTED if name not in found]
    except (OSError, ValueError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error})", _RESTART) from error
    if missing or not isinstance(found, dict):
        raise IntegrityError(f"{path} does not say {', '.join(missing)}", _RESTART)
    return found


def claim(folder: RunFolder, recipe: Recipe) -> None:
    """Write `run.json`, or see that it asks for the same.

    Raises:
        UsageError: The folder was begun with another recipe.
        IntegrityError: Its `run.json` is damaged.
    """
    record = read_record(folder.path)
    if record:
        wanted = json.loads(json.dumps(recipe.to_json()))
        # Runs of earlier versions had no teachers.
        begun = {"teachers": [], "distillation": wanted["distillation"], **record["recipe"]}
        other = [name for name in wanted if begun.get(name) != wanted[name]]
        if other:
            told = "; ".join(f"{name} {begun.get(name)} there, {wanted[name]} now" for name in other)
            raise UsageError(
                f"{folder.path} holds a run of another recipe ({told})", "use another `out`, or `restart`"
            )
        return
    keras = keras_module()
    about: dict[str, Any] = {
        "schema": "braintumor.training-run/1",
        "recipe": recipe.to_json(),
        "command": " ".join(["bt-train", *sys.argv[1:]]),
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "braintumor": braintumor.__version__,
            "python": platform.python_version(),
            "keras": keras.__version__,
            "backend": keras.backend.backend(),
        },
        "policy": compute_policy(keras, recipe.precision),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }
    folder.write_text(_FILE, json.dumps(about, indent=1))
