"""All four backbones on one accelerator, within a budget, in one script.

    KERAS_BACKEND=jax python training/gpu_recipe.py train --data brain-mri-224.npz --out OUT --minutes 25
    python training/gpu_recipe.py assemble OUT --to runs

It needs keras, jax, numpy, Pillow and msgspec, and runs from a checkout that is not installed. The most important
model comes first; each gets a share of the minutes that are left. Stopped at any moment (or by `--stop-after`
seconds, for machines that limit a command), the same command goes on from the last checkpoint. `OUT` gets,
for each model, its weights in pieces of 15 MB at most, its history and its answers to val and test images.
`assemble` makes `.keras` files and run folders of that, which `bt-train report` reads.
"""

import argparse
import json
import math
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ.setdefault("KERAS_BACKEND", "jax")

import numpy as np

import braintumor

if str(Path(__file__).resolve().parents[1]) not in braintumor.__path__:
    # In a checkout that is not installed the rooms lie beside the package, not in it.
    braintumor.__path__.append(str(Path(__file__).resolve().parents[1]))

from braintumor.bench.data.manifest import EVALUATION_SPLITS, Split
from braintumor.training.data.dataset import Dataset, load_dataset
from braintumor.training.data.predictions import predictions_csv
from braintumor.training.data.targets import allowed, label_losses
from braintumor.training.fit.checkpoint import EpochRow, Position, RunFolder
from braintumor.training.fit.finalize import save_model
from braintumor.training.recipe import Recipe, recipe_from_json
from braintumor.training.weight_pieces import read_pieces, write_pieces

__all__ = ["assemble", "main", "train_all", "train_one"]

# Model, share of the minutes (by cost), peak learning rate at batch 64.
_PLAN = (
    ("EfficientNetV2M", 0.33, 1e-3),
    ("InceptionResNetV2", 0.31, 1e-3),
    ("DenseNet121", 0.19, 2e-3),
    ("EfficientNetV2S", 0.17, 1.5e-3),
)
_CHECKPOINT_S = 90.0
_TIMED_CHUNKS = 3


class _OutOfTime(Exception):  # noqa: N818 - no error: the command was told to stop here
    pass


def train_one(recipe: Recipe, parts: dict[Split, Dataset], folder: RunFolder, *, chunk: int, deadline: float) -> None:
    """Train one model, or go on with it, and write its results.

    Args:
        recipe: `minutes` is the budget from which the number of epochs is worked out, `epochs` the most.
        parts: The data set.
        folder: For the checkpoint and the results.
        chunk: Steps a call of the device.
        deadline: `time.monotonic()` after which the state is saved and `_OutOfTime` raised.
    """
    from braintumor.training.fit.accelerated import Accelerated

    size = recipe.final_size
    data = {split: part.resized(size, recipe.crop) for split, part in parts.items()}
    net = Accelerated(recipe, data["train"].joined(data.get("tumour-train")))
    per_epoch = net.count // recipe.batch_size
    at, state, total = Position(size=size), net.initial_state(), 0
    stored = folder.load_state()
    if stored is not None:
        at, arrays = stored
        total, state = int(arrays[0]), state.filled(arrays[1:])
    timed: list[float] = []
    saved = time.monotonic()
    while not total or at.step < total:
        start_s = time.monotonic()
        steps = min(chunk, (total or per_epoch * recipe.epochs) - at.step)
        # Until the speed is known the schedule is at its start anyway: the longest one stands in.
        state, loss, accuracy = net.run(state, at.step, steps, total or per_epoch * recipe.epochs)
        if not np.isfinite(loss):
            raise SystemExit(
                f"{recipe.model}: the loss became {loss} at step {at.step}; {folder.path} keeps the state before"
            )
        took = time.monotonic() - start_s
        before, at.step = at.step, at.step + steps
        at.elapsed_s += took
        timed.append(took / steps)
        if not total and len(timed) > _TIMED_CHUNKS:
            total = _planned(recipe, per_epoch, at, float(np.median(timed[1:])))
            speed = recipe.batch_size / float(np.median(timed[1:]))
            _print(f"{recipe.model}: {speed:.0f} images/s, {total} steps")
        if at.step // per_epoch > before // per_epoch or at.step == total:
            at.epoch = at.step // per_epoch
            val = _figures(net.answers(state, data["val"].images), data["val"].labels)
            speed = recipe.batch_size * steps / took
            at.rows = [*at.rows, EpochRow(at.epoch, size, loss, accuracy, *val, math.nan, 0.0, speed, at.elapsed_s)]
            _print(f"{recipe.model} {at.step}/{total} loss {loss:.4f} val {val[0]:.4f} {val[1]:.4f}")
        if total and (time.monotonic() > deadline or time.monotonic() - saved > _CHECKPOINT_S):
            folder.save_state(at, [np.array(total), *state.arrays()])
            saved = time.monotonic()
            if saved > deadline:
                raise _OutOfTime
    _finish(net, state, data, folder, at)


def _planned(recipe: Recipe, per_epoch: int, at: Position, step_s: float) -> int:
    left_s = 60 * (recipe.minutes or 1e9) - at.elapsed_s
    most = per_epoch * recipe.epochs
    return max(at.step + 1, min(most, at.step + int(left_s / step_s)))


def _finish(net: Any, state: Any, data: dict[Split, Dataset], folder: RunFolder, at: Position) -> None:
    state = net.refreshed(state, min(net.recipe.batchnorm_refresh, net.count // net.recipe.batch_size))
    splits = [split for split in EVALUATION_SPLITS if split in data]
    answers = {split: net.answers(state, data[split].images) for split in splits}
    write_pieces(folder.path, net.weights(state))
    folder.write_text("predictions.csv", predictions_csv(data, answers))
    folder.write_history(at.rows)
    result = {split: _figures(answers[split], data[split].labels) for split in splits}
    (folder.path / "state.npz").unlink(missing_ok=True)
    folder.write_text(
        "result.json", json.dumps({f"{split}_accuracy": accuracy for split, (_, accuracy) in result.items()})
    )
    _print(f"{net.recipe.model} done: {result}")


def _figures(probabilities: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    wide = probabilities.astype(np.float64)
    return float(label_losses(wide, labels).mean()), float(allowed(wide, labels).mean())


def train_all(options: argparse.Namespace) -> None:
    """Train what is not finished yet, in the order of the plan."""
    start_s = time.monotonic()
    deadline = start_s + options.stop_after if options.stop_after else float("inf")
    parts = load_dataset(options.data)
    for number, (name, share, rate) in enumerate(_PLAN):
        folder = RunFolder(options.out / name)
        if (folder.path / "result.json").exists() or (options.only and name not in options.only):
            continue
        folder.create(needed_bytes=2_000_000_000)
        rest = sum(item[1] for item in _PLAN[number:])
        minutes = (options.minutes - (time.monotonic() - start_s) / 60) * share / rest
        about = folder.path / "run.json"
        if about.exists():
            recipe = recipe_from_json(json.loads(about.read_text(encoding="utf-8"))["recipe"])
        else:
            recipe = replace(
                Recipe(name),
                sizes=(options.size,),
                epochs=options.epochs,
                minutes=max(minutes, 0.1),
                batch_size=options.batch_size,
                peak_learning_rate=rate,
                weight_decay=0.05,
                ema=0.999,
                precision=options.precision,
                seed=1,
            )
            folder.write_text("run.json", json.dumps(_about(recipe), indent=1))
        try:
            train_one(recipe, parts, folder, chunk=options.chunk, deadline=deadline)
        except _OutOfTime:
            _print("out of time: the same command goes on")
            return


def _about(recipe: Recipe) -> dict[str, object]:
    import jax
    import keras

    device = jax.devices()[0]
    return {
        "schema": "braintumor.training-run/1",
        "recipe": recipe.to_json(),
        "command": " ".join(["python", "training/gpu_recipe.py", *sys.argv[1:]]),
        "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"braintumor": braintumor.__version__, "keras": keras.__version__, "jax": jax.__version__},
        "machine": f"{device.platform} {device.device_kind}",
    }


def assemble(options: argparse.Namespace) -> None:
    """Make run folders with `.keras` files from pieces."""
    for name, *_ in _PLAN:
        source, target = options.out / name, RunFolder(options.to / name)
        if not (source / "result.json").exists():
            continue
        target.create(needed_bytes=500_000_000)
        for file in ("run.json", "history.csv", "predictions.csv", "result.json"):
            target.write_text(file, (source / file).read_text(encoding="utf-8"))
        recipe = recipe_from_json(json.loads((source / "run.json").read_text(encoding="utf-8"))["recipe"])
        save_model(recipe, read_pieces(source), target.path / f"{name}.keras")
        _print(str(target.path / f"{name}.keras"))


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a script that runs where the package's console is not installed


def main(arguments: list[str] | None = None) -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    commands = parser.add_subparsers(required=True)
    train = commands.add_parser("train")
    train.add_argument("--data", type=Path, required=True)
    train.add_argument("--out", type=Path, required=True)
    train.add_argument("--minutes", type=float, default=25.0)
    train.add_argument("--stop-after", type=float, help="seconds")
    train.add_argument("--size", type=int, default=224)
    train.add_argument("--epochs", type=int, default=100)
    train.add_argument("--batch-size", type=int, default=64)
    train.add_argument("--chunk", type=int, default=29, help="steps a call of the device")
    train.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    train.add_argument("--only", nargs="*")
    train.set_defaults(run=train_all)
    make = commands.add_parser("assemble")
    make.add_argument("out", type=Path)
    make.add_argument("--to", type=Path, default=Path("runs"))
    make.set_defaults(run=assemble)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main()
