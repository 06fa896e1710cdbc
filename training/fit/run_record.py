"""`run.json`: recipe, command, versions and machine of a run."""

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

__all__ = ["check_or_write_record", "read_record"]

_FILE: Final = "run.json"
_RESTART: Final = "start again with `restart`"
_REQUIRED: Final = ("recipe", "command", "begun", "versions")


def read_record(folder: Path) -> Mapping[str, Any]:
    """Read the `run.json` of a run; empty where there is none.

    Raises:
        IntegrityError: It is damaged.
    """
    path = folder / _FILE
    if not path.exists():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        missing = [name for name in _REQUIRED if name not in record]
    except (OSError, ValueError, TypeError) as error:
        raise IntegrityError(f"{path} is damaged ({error})", _RESTART) from error
    if missing or not isinstance(record, dict):
        raise IntegrityError(f"{path} does not say {', '.join(missing)}", _RESTART)
    return record


def check_or_write_record(folder: RunFolder, recipe: Recipe) -> None:
    """Write `run.json`, or check that it has the same recipe.

    Raises:
        UsageError: The folder was begun with another recipe.
        IntegrityError: Its `run.json` is damaged.
    """
    record = read_record(folder.path)
    if record:
        recipe_now = json.loads(json.dumps(recipe.to_json()))
        # Runs of earlier versions had no teachers.
        recipe_then = {"teachers": [], "distillation": recipe_now["distillation"], **record["recipe"]}
        changed = [name for name in recipe_now if recipe_then.get(name) != recipe_now[name]]
        if changed:
            differences = "; ".join(
                f"{name} {recipe_then.get(name)} there, {recipe_now[name]} now" for name in changed
            )
            raise UsageError(
                f"{folder.path} holds a run of another recipe ({differences})", "use another `out`, or `restart`"
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
