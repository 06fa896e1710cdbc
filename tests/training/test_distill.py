"""Soft targets from trained members."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braintumor.errors import ModelError, UsageError
from braintumor.training.data.targets import ANY_TUMOUR, target_rows
from braintumor.training.fit.checkpoint import RunFolder
from braintumor.training.fit.distill import Teachers
from braintumor.training.fit.finalize import finalize_run, save_model
from braintumor.training.fit.learner import Learner
from braintumor.training.fit.train import train_model
from braintumor.training.keras_io import load_keras_file
from braintumor.training.recipe import Recipe

pytestmark = pytest.mark.usefixtures("small_network")

RECIPE = Recipe("DenseNet121", sizes=(32,), epochs=1, batch_size=16, seed=1, batchnorm_refresh=0)


@pytest.fixture
def teacher(tmp_path: Path) -> Path:
    path = tmp_path / "DenseNet121.keras"
    save_model(RECIPE, Learner(RECIPE, 32).weights(), path)
    return path


def test_teachers_soften_known_classes_and_leave_unknown_tumours(teacher: Path, parts: Any) -> None:
    images = parts["train"].resized(32, "none").images[:5, ..., None].astype(np.float32)
    rows = target_rows(np.array([0, 1, 2, 3, ANY_TUMOUR]), 0.0)
    softened = Teachers([str(teacher), str(teacher)], 32, "head", 0.25).soften(images, rows)
    taught = np.asarray(load_keras_file(teacher).predict_on_batch(images))
    assert np.allclose(softened[:4], 0.75 * rows[:4] + 0.25 * taught[:4], atol=1e-6)
    assert np.array_equal(softened[4], rows[4])
    assert softened.dtype == np.float32


def test_teachers_answer_images_of_another_size(teacher: Path, parts: Any) -> None:
    images = parts["train"].resized(48, "none").images[:2, ..., None].astype(np.float32)
    softened = Teachers([str(teacher)], 48, "head", 1.0).soften(images, target_rows(np.array([0, 1]), 0.0))
    assert np.allclose(softened.sum(axis=1), 1, atol=1e-6)


def test_teachers_refuse_a_file_of_another_crop(teacher: Path) -> None:
    with pytest.raises(ModelError, match=r"'head'.*'none'"):
        Teachers([str(teacher)], 32, "none", 0.5)


def test_train_model_with_a_teacher_learns_other_weights_and_resumes_only_with_it(
    teacher: Path, parts: Any, tmp_path: Path
) -> None:
    taught = replace(RECIPE, teachers=(str(teacher),), distillation=0.9)
    losses = {
        recipe.teachers: train_model(recipe, parts, RunFolder(tmp_path / str(len(recipe.teachers)))).rows[-1].val_loss
        for recipe in (RECIPE, taught)
    }
    assert losses[()] != losses[taught.teachers]
    folder = RunFolder(tmp_path / "1")
    assert finalize_run(taught, parts, folder).is_file()
    with pytest.raises(UsageError, match="teachers"):
        train_model(RECIPE, parts, folder)
