"""INT8: calibration, the search for plans, and the choice of members that gain by it."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.export.int8.evaluator import Subject
    from braintumor.export.int8.images import calibration_set, validation_set
    from braintumor.export.int8.mixed import Candidate, PrecisionChoice, choose_precisions
    from braintumor.export.int8.plan_source import keeps_decisions, plans_for
    from braintumor.export.int8.quality import Limits, QuantizationQuality, quantization_quality
    from braintumor.export.int8.search import search_plans

__all__ = [
    "Candidate",
    "Limits",
    "PrecisionChoice",
    "QuantizationQuality",
    "Subject",
    "calibration_set",
    "choose_precisions",
    "keeps_decisions",
    "plans_for",
    "quantization_quality",
    "search_plans",
    "validation_set",
]

__getattr__ = lazy_getattr(
    __name__,
    evaluator=("Subject",),
    images=("calibration_set", "validation_set"),
    mixed=("Candidate", "PrecisionChoice", "choose_precisions"),
    plan_source=("keeps_decisions", "plans_for"),
    quality=("Limits", "QuantizationQuality", "quantization_quality"),
    search=("search_plans",),
)
