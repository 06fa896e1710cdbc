"""What `bt-bench accuracy` writes: the JSON of docs/bench-json.md, and the verdict that goes into a bundle."""

import base64
import datetime as dt
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from braintumor import NOTICE
from braintumor.bench.accuracy.evaluate import AccuracyOptions, Judged, Judgement, unseen
from braintumor.bench.data.labelled import LabelledImages
from braintumor.bench.data.study import of_the_study
from braintumor.bench.metrics.classification import UNANSWERED, decided
from braintumor.bench.metrics.environment import environment
from braintumor.runtime.bundle.load import Bundle

__all__ = ["SCHEMA", "acceptance", "accuracy_json", "images_json"]

SCHEMA: Final = "braintumor.accuracy/1"

_PICTURED: Final = 64
_PICTURE_PX: Final = 112
_STUDY_PARTS: Final = ("test", "val", "train")


def accuracy_json(
    judgements: Sequence[Judgement],
    images: LabelledImages,
    options: AccuracyOptions,
    command: str,
    *,
    about: Mapping[str, Any] | None = None,
    left: Sequence[Bundle] = (),
) -> dict[str, Any]:
    """The whole result.

    Args:
        judgements: One a bundle, at least one.
        images: What all were asked about; those that flipped are read again for their pictures.
        options: What was asked.
        command: What was typed.
        about: What `images_json` gives, which reads every image, where it is known already.
        left: Bundles that are still to be judged.

    Raises:
        InputError: An image that flipped cannot be read any more.
    """
    # Bundles of the same originals share their reference.
    references = {id(one.reference): one.reference for one in judgements if one.reference is not None}
    inference_s = sum(one.inference_s for one in judgements) + sum(one.inference_s for one in references.values())
    return {
        "schema": SCHEMA,
        "notice": NOTICE,
        "command": command,
        "created_utc": _now(),
        "environment": environment().to_json(),
        "unfinished": f"before {', '.join(bundle.folder.name for bundle in left)}" if left else None,
        "images": dict(about or images_json(images)),
        "options": {
            "batch_size": options.batch_size,
            "policy": options.policy,
            "margin_points": options.margin_points,
            "robustness": options.robustness,
            "threads": options.threads,
        },
        "accepted": not left and all(one.verdict.status != "refused" for one in judgements),
        "inference_s": inference_s,
        "bundles": [_judgement(one, images) for one in judgements],
    }


def images_json(images: LabelledImages) -> dict[str, Any]:
    """What the answers were judged on."""
    known = Counter(found.split for name in images.names if (found := of_the_study(name)) is not None)
    free = unseen(images)
    counts = np.bincount(images.labels, minlength=len(images.classes)).tolist()
    return {
        "source": str(images.source),
        "count": len(images),
        "sha256": images.sha256,
        "classes": list(images.classes),
        "supports": dict(zip(images.classes, counts, strict=True)),
        "of_the_study": {part: known[part] for part in _STUDY_PARTS},
        "near_duplicate_free": None if free is None else len(free),
        "near_duplicate_free_reason": None if free is not None else "none of them is a test image of the study",
    }


def acceptance(judgement: Judgement, images: Mapping[str, Any], command: str) -> dict[str, Any] | None:
    """What goes into the bundle; None where there was no reference to judge by, or a fault was found without one.

    Args:
        judgement: Of the bundle.
        images: What `images_json` gives.
        command: What was typed.
    """
    comparison, reference = judgement.comparison, judgement.reference
    if comparison is None or reference is None:
        return None
    vote = judgement.deployed.vote
    return {
        "status": judgement.verdict.status,
        "reason": judgement.verdict.reason,
        "created_utc": _now(),
        "command": command,
        "engine": judgement.deployed.who.engine.name,
        "engine_version": judgement.deployed.who.engine.version,
        "reference": reference.who.name,
        "reference_sha256": reference.who.sha256,
        "margin_points": judgement.verdict.margin_points,
        "images": vote.right.total,
        "images_sha256": images["sha256"],
        "correct": vote.right.count,
        "interval": list(vote.right.interval),
        "reference_correct": reference.vote.right.count,
        "flips": comparison.vote.flips.count,
    }


def _judgement(one: Judgement, images: LabelledImages) -> dict[str, Any]:
    return {
        **_judged(one.deployed, images),
        "folder": str(one.bundle.folder),
        "stability": one.stability.to_json(),
        "early_exit": one.early_exit and one.early_exit.to_json(),
        "reference": one.reference and _judged(one.reference, images),
        "comparison": one.comparison and _comparison(one, images),
        "verdict": one.verdict.to_json(),
    }


def _judged(one: Judged, images: LabelledImages) -> dict[str, Any]:
    return {
        **one.who.to_json(),
        "scores": one.vote.to_json(),
        "near_duplicate_free": one.near_duplicate_free and one.near_duplicate_free.to_json(),
        "members": [
            {"name": name, "weight": weight, "scores": one.members[name].to_json()}
            for name, weight in zip(one.who.members, one.who.weights, strict=True)
        ],
        "errors": _errors(one.answers.vote, images),
        "robustness": one.robustness and one.robustness.to_json(),
        "inference_s": one.answers.inference_s,
        "seconds": one.seconds,
    }


def _errors(vote: NDArray[np.float32], images: LabelledImages) -> list[dict[str, Any]]:
    answers = decided(vote)
    return [
        {
            "index": index,
            "name": images.names[index],
            "truth": images.classes[images.labels[index]],
            "label": None if answers[index] == UNANSWERED else images.classes[answers[index]],
            "probabilities": None if answers[index] == UNANSWERED else vote[index].tolist(),
        }
        for index in np.flatnonzero(answers != images.labels).tolist()
    ]


def _comparison(one: Judgement, images: LabelledImages) -> dict[str, Any] | None:
    if one.comparison is None:
        return None
    told = one.comparison.to_json()
    for number, flip in enumerate(told["flipped"]):
        flip["png_base64"] = _picture(images.read(flip["index"])) if number < _PICTURED else None
    return told


def _picture(pixels: NDArray[np.uint8]) -> str:
    """A small PNG of an image, in base64."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((_PICTURE_PX, _PICTURE_PX))
    stream = io.BytesIO()
    picture.save(stream, "PNG", optimize=True)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
