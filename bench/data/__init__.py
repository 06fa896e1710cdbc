"""Labelled images, the study's manifest, and the `.keras` files of a bundle."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.bench.data.labelled import LabelledImages, read_labelled
    from braintumor.bench.data.manifest import ManifestRow, read_manifest
    from braintumor.bench.data.originals import keras_sources
    from braintumor.bench.data.recorded import RecordedAnswers, read_answers, write_answers
    from braintumor.bench.data.study import StudyImage, find_study_image, near_duplicate_free

__all__ = [
    "LabelledImages",
    "ManifestRow",
    "RecordedAnswers",
    "StudyImage",
    "find_study_image",
    "keras_sources",
    "near_duplicate_free",
    "read_answers",
    "read_labelled",
    "read_manifest",
    "write_answers",
]

__getattr__ = lazy_getattr(
    __name__,
    labelled=("LabelledImages", "read_labelled"),
    manifest=("ManifestRow", "read_manifest"),
    originals=("keras_sources",),
    recorded=("RecordedAnswers", "read_answers", "write_answers"),
    study=("StudyImage", "find_study_image", "near_duplicate_free"),
)
