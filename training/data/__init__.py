"""The data set: prepared, audited, augmented; and predictions for it."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.training.data.audit import Audit, audit_dataset, near_duplicate_free
    from braintumor.training.data.dataset import Dataset, load_dataset, save_dataset
    from braintumor.training.data.predictions import Predictions, read_predictions
    from braintumor.training.data.prepare import Preparation, prepare_dataset
    from braintumor.training.data.shortcuts import ShortcutAudit, audit_shortcuts

__all__ = [
    "Audit",
    "Dataset",
    "Predictions",
    "Preparation",
    "ShortcutAudit",
    "audit_dataset",
    "audit_shortcuts",
    "load_dataset",
    "near_duplicate_free",
    "prepare_dataset",
    "read_predictions",
    "save_dataset",
]

__getattr__ = lazy_getattr(
    __name__,
    audit=("Audit", "audit_dataset", "near_duplicate_free"),
    dataset=("Dataset", "load_dataset", "save_dataset"),
    predictions=("Predictions", "read_predictions"),
    prepare=("Preparation", "prepare_dataset"),
    shortcuts=("ShortcutAudit", "audit_shortcuts"),
)
