"""`run.json`: what a run was asked to do, by which command, with which versions, on which machine."""

import json
import os
import platform
import sys
import time
from typing import Any

import braintumor
from braintumor.errors import UsageError
from braintumor.training.keras_package import keras_module
from braintumor.training.precision import compute_policy
from braintumor.training.recipe import Recipe
from braintumor.training.state import RunFolder

__all__ = ["claim"]


def claim(folder: RunFolder, recipe: Recipe) -> None:
    """Write `run.json`, or see that it asks for the same.

    Raises:
        UsageError: The folder was begun with another recipe.
    """
    path = folder.path / "run.json"
    if path.exists():
        begun = json.loads(path.read_text(encoding="utf-8"))["recipe"]
        wanted = json.loads(json.dumps(recipe.to_json()))
        other = [name for name in wanted if begun.get(name) != wanted[name]]
        if other:
            told = "; ".join(f"{name} {begun.get(name)} there, {wanted[name]} now" for name in other)
            raise UsageError(f"{folder.path} holds a run of another recipe ({told}); use another --out or --restart")
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
    folder.write_text("run.json", json.dumps(about, indent=1))
