"""The published figures of the study that this project reproduces, on its own draw of 703 test images."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["STUDY", "STUDY_ENSEMBLE", "STUDY_ENSEMBLE_ACCURACY", "STUDY_START", "StudyFigures"]


@dataclass(frozen=True, slots=True)
class StudyFigures:
    """Figures that the study published about one model.

    Attributes:
        accuracy: On its 703 test images, 0 to 1.
        loss: Cross-entropy there, in nats.
        remark: Its words on the training.
    """

    accuracy: float
    loss: float
    remark: str


STUDY: Mapping[str, StudyFigures] = MappingProxyType(
    {
        "EfficientNetV2M": StudyFigures(0.9943, 0.0151, "lowest loss, most stable curve"),
        "DenseNet121": StudyFigures(0.9915, 0.0428, "early stop; all pituitary found; a dip about epoch 6"),
        "InceptionResNetV2": StudyFigures(0.9915, 0.0258, "early stop; peak about epoch 5"),
        "EfficientNetV2S": StudyFigures(0.9872, 0.0648, "highest loss"),
    }
)

STUDY_ENSEMBLE = ("EfficientNetV2M", "DenseNet121", "InceptionResNetV2")
STUDY_ENSEMBLE_ACCURACY = 1.0

STUDY_START = "ImageNet weights, fine-tuned on a GPU"
