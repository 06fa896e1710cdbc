"""Publishing a finished run: compact weights, checked, and a model card."""

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor import NOTICE
from braintumor.bench.data.manifest import Split
from braintumor.bench.data.study import find_study_image
from braintumor.errors import ParityError
from braintumor.files import atomic_text, output_error, sha256_of
from braintumor.training.data.dataset import Dataset
from braintumor.training.data.predictions import Predictions
from braintumor.training.fit.run_record import read_record
from braintumor.training.keras_io import (
    crop_of,
    load_keras_file,
    predict_parts,
    record_predictions,
    round_model,
    save_compressed,
)
from braintumor.training.report.evaluate import Evaluation
from braintumor.training.report.result import ModelEvaluation, evaluate_model

__all__ = ["Shipped", "card", "ship"]

_BITS = (8, 9, 10, 12)
_ALLOWED_DROP = 0.001

_CARD = """\
# {name}

`{file}`, {megabytes:.1f} MB, SHA-256 `{sha256}`.
A grey square image, 0..255, in; softmax over glioma, healthy, meningioma, pituitary out. Keras 3 loads it.

## Figures

| images | correct | 95 % interval | loss, nats |
| --- | --- | --- | --- |
{figures}

Intervals are Clopper-Pearson. Near-duplicates are test images within 4 bits of pHash of one in train or val.
Temperature fitted on validation: {temperature:.3f}; expected calibration error on test {ece_before:.2%},
{ece_after:.2%} with it.

Kernels are rounded to a grid of {bits} bits a channel. Accuracy as trained: validation {val_before:.2%}, test
{test_before:.2%}; the figures above are those of the rounded weights.

## How it was made

{made}
- Data: {data}

## Limits

Slices of unknown patients from public collections: one patient may be in train and in test, so all figures are
optimistic for another hospital. One slice at a time, no clinical validation, four classes only: any other finding
gets one of these four names.

{notice}
"""


@dataclass(frozen=True, slots=True, eq=False)
class Shipped:
    """One model as published.

    Attributes:
        path: The `.keras` file.
        bits: Its kernels have fewer than 2^bits levels a channel.
        val_accuracy_before: Of the weights as trained, 0 to 1.
        test_accuracy_before: The same on test images; it decides nothing.
        evaluation: Of the published weights, on all parts.
        data: Description of the data set, for the card.
    """

    path: Path
    bits: int
    val_accuracy_before: float
    test_accuracy_before: float
    evaluation: ModelEvaluation
    data: str


def ship(
    source: Path, parts: Mapping[Split, Dataset], leak_free: frozenset[str], target: Path, run: Path | None
) -> Shipped:
    """Write `<name>.keras` on the coarsest grid that validation does not notice, its card and its recorded answers.

    Args:
        source: The `.keras` file as trained.
        parts: The data set.
        leak_free: Names of the test images without near-duplicates.
        target: Folder.
        run: The run's folder, whose `run.json` and `history.csv` the card quotes; None for a file of other origin.

    Raises:
        ParityError: Validation accuracy moves by more than 0.1 point on every grid.
    """
    crop = crop_of(source)
    trained = predict_parts(load_keras_file(source), parts, crop)
    before = _accuracy(trained["val"], parts["val"])
    for bits in _BITS:
        model = load_keras_file(source)
        round_model(model, bits)
        probabilities = predict_parts(model, parts, crop)
        if abs(_accuracy(probabilities["val"], parts["val"]) - before) <= _ALLOWED_DROP:
            break
    else:
        raise ParityError(
            f"{source}: validation accuracy moves by more than {_ALLOWED_DROP:.1%} even on a grid of "
            f"{_BITS[-1]} bits",
            "ship the file as it is",
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        save_compressed(model, target / source.name, crop)
    except OSError as error:
        raise output_error(target, error) from error
    record_predictions(target / source.name)
    predictions = {
        split: Predictions(parts[split].files, parts[split].labels, values.astype(np.float64))
        for split, values in probabilities.items()
    }
    test_before = _accuracy(trained["test"], parts["test"])
    evaluation = evaluate_model(predictions, leak_free)
    shipped = Shipped(target / source.name, bits, before, test_before, evaluation, _data(parts))
    with atomic_text(target / f"{source.stem}.md") as stream:
        stream.write(card(shipped, read_record(run) if run else {}, _curve(run)))
    return shipped


def card(shipped: Shipped, about: Mapping[str, Any], curve: str) -> str:
    """Write the model's card, in Markdown.

    Args:
        shipped: What is published.
        about: The run's `run.json`; empty when it is not known.
        curve: The run's `history.csv`; empty when it is not known.
    """
    evaluation, path = shipped.evaluation, shipped.path
    recipe = about.get("recipe", {})
    origin = (
        [
            f"- Command: `{about['command']}`, begun {about['begun']}",
            f"- Start: {recipe['initial'] or 'random weights (no ImageNet)'}; seed {recipe['seed']}",
            f"- Recipe: `{json.dumps(recipe)}`",
            f"- Versions: {', '.join(f'{name} {value}' for name, value in about['versions'].items())}",
            f"- Machine: {about['machine']}; computed in {about.get('policy', recipe['precision'])}",
            *_duration(curve),
        ]
        if about
        else ["- The run that made these weights is not recorded."]
    )
    figures = [_row("validation", evaluation.val), _row("test", evaluation.test)]
    if evaluation.leak_free:
        figures.append(_row("test without near-duplicates", evaluation.leak_free))
    if evaluation.tumours:
        low, high = evaluation.tumours.interval
        share = f"{evaluation.tumours.count}/{evaluation.tumours.total} = {evaluation.tumours.share:.2%}"
        figures.append(f"| foreign tumours, called a tumour | {share} | {low:.2%} to {high:.2%} | |")
    text = _CARD.format(
        name=path.stem,
        file=path.name,
        megabytes=path.stat().st_size / 1e6,
        sha256=sha256_of(path),
        figures="\n".join(figures),
        temperature=evaluation.temperature,
        ece_before=evaluation.test_reliability.before.ece,
        ece_after=evaluation.test_reliability.after.ece,
        bits=shipped.bits,
        val_before=shipped.val_accuracy_before,
        test_before=shipped.test_accuracy_before,
        made="\n".join(origin),
        data=shipped.data,
        notice=NOTICE,
    )
    return text + (f"\n## Learning curve\n\n```csv\n{curve.strip()}\n```\n" if curve else "")


def _data(parts: Mapping[Split, Dataset]) -> str:
    counts = {split: f"{len(data):,}" for split, data in parts.items()}
    total = f"{counts['train']} training, {counts['val']} validation and {counts['test']} test slices"
    weak = (
        f"\n- Weak labels: {counts['tumour-train']} slices of another collection with a tumour of unknown type to "
        f"learn from, {counts['tumour-dev']} to choose by"
        if "tumour-train" in parts
        else ""
    )
    if find_study_image(parts["test"].files[0]) is None:
        return f"{total} of another data set than the study's.{weak}"
    return (
        f"the Kaggle brain tumour MRI data set, {total}, split by file name.\n"
        f"  All rights belong to the original contributors.{weak}"
    )


def _duration(curve: str) -> list[str]:
    rows = list(csv.DictReader(io.StringIO(curve)))
    if not rows:
        return []
    minutes = float(rows[-1]["elapsed_s"]) / 60
    return [f"- Length: {len(rows)} epochs, {minutes:.0f} minutes; the last ones at {rows[-1]['size']} px"]


def _row(name: str, scores: Evaluation) -> str:
    low, high = scores.interval
    share = f"{scores.correct}/{scores.images} = {scores.accuracy:.2%}"
    return f"| {name} | {share} | {low:.2%} to {high:.2%} | {scores.loss:.4f} |"


def _accuracy(probabilities: NDArray[np.float32], data: Dataset) -> float:
    return float((probabilities.argmax(axis=1) == data.labels).mean())


def _curve(run: Path | None) -> str:
    file = run / "history.csv" if run else None
    return file.read_text(encoding="utf-8") if file and file.exists() else ""
