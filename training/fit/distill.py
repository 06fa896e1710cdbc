"""Soft targets from trained members: knowledge distillation under the student's own augmentation.

Follows Hinton et al. 2015, arXiv:1503.02531, at temperature 1, with augmented images as in Beyer et al. 2022,
arXiv:2106.05237: teacher and student see the same pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from braintumor.errors import ModelError
from braintumor.models.build import build_classifier
from braintumor.models.catalog import CATALOG, model_spec
from braintumor.runtime.image.head import Crop
from braintumor.training.data.targets import names_one_class
from braintumor.training.keras_io import crop_of, load_keras_file

__all__ = ["Teachers"]


class Teachers:
    """Trained members whose mean probabilities soften the targets of a student.

    Args:
        paths: `.keras` files of backbones of the catalog.
        size: Pixels a side of the images that the student learns from; the teachers are built for the same.
        crop: What is cut off the student's images.
        share: Part of a target that the teachers give, 0 to 1.

    Raises:
        ModelError: A file is not of a backbone of the catalog, or was trained on images that are cut in another way.
    """

    def __init__(self, paths: Sequence[str], size: int, crop: Crop, share: float) -> None:
        self._models = [_at_size(Path(path), size, crop) for path in paths]
        self._share = share

    def soften(self, images: NDArray[np.float32], targets: NDArray[np.float32]) -> NDArray[np.float32]:
        """Target rows float32 [n, 4] mixed with the teachers' mean probabilities.

        Rows of tumours of unknown type stay as they are: a teacher that calls such a slice healthy would undo them.

        Args:
            images: float32 [n, size, size, 1], 0..255.
            targets: float32 [n, 4], see `target_rows`.
        """
        taught = np.mean([np.asarray(model.predict_on_batch(images)) for model in self._models], axis=0)
        mixed = (1 - self._share) * targets + self._share * taught
        rows: NDArray[np.float32] = np.where(names_one_class(targets)[:, None], mixed, targets).astype(np.float32)
        return rows


def _at_size(path: Path, size: int, crop: Crop) -> Any:
    model = load_keras_file(path)
    if model.name not in CATALOG:
        raise ModelError(f"{path} is a {model.name}, must be one of {', '.join(CATALOG)}", "name another `teachers`")
    if crop_of(path) != crop:
        raise ModelError(
            f"{path} was trained on images cropped to {crop_of(path)!r}, the run crops to {crop!r}",
            "choose the same `crop`, or other `teachers`",
        )
    if int(model.input_shape[1]) == size:
        return model
    resized = build_classifier(model_spec(model.name), height=size, width=size, weights=None)
    resized.set_weights(model.get_weights())
    return resized
