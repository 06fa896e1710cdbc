"""From a finished run to what may be published: compact weights, checked, and a card that says what they are."""

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
from braintumor.training.data.predictions import Answers
from braintumor.training.fit.run_record import read_record
from braintumor.training.keras_io import (
    answers_of,
    crop_of,
    load_keras_file,
    record_answers,
    round_model,
    save_compressed,
)
from braintumor.training.report.evaluate import Evaluation
from braintumor.training.report.result import Judged, judge

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
        judged: The published weights on all parts.
        data: What it was trained and judged on, a sentence for the card.
    """

    path: Path
    bits: int
    val_accuracy_before: float
    test_accuracy_before: float
    judged: Judged
    data: str


def ship(
    source: Path, parts: Mapping[Split, Dataset], free: frozenset[str], target: Path, run: Path | None
) -> Shipped:
    """Write `<name>.keras` on the coarsest grid that validation does not notice, its card and its recorded answers.

    Args:
        source: The `.keras` file as trained.
        parts: The data set.
        free: Names of the test images without near-duplicates.
        target: Folder.
        run: The run's folder, whose `run.json` and `history.csv` the card quotes; None for a file of other origin.

    Raises:
        ParityError: Validation accuracy moves by more than 0.1 point on every grid.
    """
    crop = crop_of(source)
    trained = answers_of(load_keras_file(source), parts, crop)
    before = _accuracy(trained["val"], parts["val"])
    for bits in _BITS:
        model = load_keras_file(source)
        round_model(model, bits)
        found = answers_of(model, parts, crop)
        if abs(_accuracy(found["val"], parts["val"]) - before) <= _ALLOWED_DROP:
            break
    else:
        raise ParityError(
            f"{source}: validation accuracy moves by more than {_ALLOWED_DROP:.1%} even on a grid of "
            f"{_BITS[-1]} bits; ship the file as it is"
        )
    try:
        target.mkdir(parents=True, exist_ok=True)
        save_compressed(model, target / source.name, crop)
    except OSError as error:
        raise output_error(target, error) from error
    record_answers(target / source.name)
    answers = {split: _answers(parts[split], found[split]) for split in found}
    test_before = _accuracy(trained["test"], parts["test"])
    shipped = Shipped(target / source.name, bits, before, test_before, judge(answers, free), _data(parts))
    with atomic_text(target / f"{source.stem}.md") as stream:
        stream.write(card(shipped, read_record(run) if run else {}, _curve(run)))
    return shipped


def card(shipped: Shipped, about: Mapping[str, Any], curve: str) -> str:
    """The model's card, in Markdown.

    Args:
        shipped: What is published.
        about: The run's `run.json`; empty when it is not known.
        curve: The run's `history.csv`; empty when it is not known.
    """
    judged, path = shipped.judged, shipped.path
    recipe = about.get("recipe", {})
    made = (
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
    figures = [_row("validation", judged.val), _row("test", judged.test)]
    if judged.free:
        figures.append(_row("test without near-duplicates", judged.free))
    if judged.tumours:
        low, high = judged.tumours.interval
        share = f"{judged.tumours.count}/{judged.tumours.total} = {judged.tumours.share:.2%}"
        figures.append(f"| foreign tumours, called a tumour | {share} | {low:.2%} to {high:.2%} | |")
    text = _CARD.format(
        name=path.stem,
        file=path.name,
        megabytes=path.stat().st_size / 1e6,
        sha256=sha256_of(path),
        figures="\n".join(figures),
        temperature=judged.temperature,
        ece_before=judged.test_reliability.before.ece,
        ece_after=judged.test_reliability.after.ece,
        bits=shipped.bits,
        val_before=shipped.val_accuracy_before,
        test_before=shipped.test_accuracy_before,
        made="\n".join(made),
        data=shipped.data,
        notice=NOTICE,
    )
    return text + (f"\n## Learning curve\n\n```csv\n{curve.strip()}\n```\n" if curve else "")


def _data(parts: Mapping[Split, Dataset]) -> str:
    counts = {split: f"{len(data):,}" for split, data in parts.items()}
    told = f"{counts['train']} training, {counts['val']} validation and {counts['test']} test slices"
    weak = (
        f"\n- Weak labels: {counts['tumour-train']} slices of another collection with a tumour of unknown type to "
        f"learn from, {counts['tumour-dev']} to choose by"
        if "tumour-train" in parts
        else ""
    )
    if find_study_image(parts["test"].files[0]) is None:
        return f"{told} of another data set than the study's.{weak}"
    return (
        f"the Kaggle brain tumour MRI data set, {told}, split by file name.\n"
        f"  All rights belong to the original contributors.{weak}"
    )


def _duration(curve: str) -> list[str]:
    rows = list(csv.DictReader(io.StringIO(curve)))
    if not rows:
        return []
    minutes = float(rows[-1]["elapsed_s"]) / 60
    return [f"- Length: {len(rows)} epochs, {minutes:.0f} minutes; the last ones at {rows[-1]['size']} px"]


def _row(name: str, found: Evaluation) -> str:
    low, high = found.interval
    share = f"{found.correct}/{found.images} = {found.accuracy:.2%}"
    return f"| {name} | {share} | {low:.2%} to {high:.2%} | {found.loss:.4f} |"


def _accuracy(probabilities: NDArray[np.float32], data: Dataset) -> float:
    return float((probabilities.argmax(axis=1) == data.labels).mean())


def _answers(data: Dataset, probabilities: NDArray[np.float32]) -> Answers:
    return Answers(data.files, data.labels, probabilities.astype(np.float64))


def _curve(run: Path | None) -> str:
    file = run / "history.csv" if run else None
    return file.read_text(encoding="utf-8") if file and file.exists() else ""
