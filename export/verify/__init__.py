"""Verification of exports: against their reference, again with Keras, and by exporting once more."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.export.verify.compare import TOLERANCES, ReferenceAnswers, Verification, verify_and_run
    from braintumor.export.verify.reference import VerificationImages, reference_for
    from braintumor.export.verify.reproduce import Reproduction, reproduce_bundle
    from braintumor.export.verify.reverify import verify_bundle

__all__ = [
    "TOLERANCES",
    "ReferenceAnswers",
    "Reproduction",
    "Verification",
    "VerificationImages",
    "reference_for",
    "reproduce_bundle",
    "verify_and_run",
    "verify_bundle",
]

__getattr__ = lazy_getattr(
    __name__,
    compare=("TOLERANCES", "ReferenceAnswers", "Verification", "verify_and_run"),
    reference=("VerificationImages", "reference_for"),
    reproduce=("Reproduction", "reproduce_bundle"),
    reverify=("verify_bundle",),
)
