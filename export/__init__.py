"""From trained `.keras` files to a verified bundle of ONNX models.

options = ExportOptions(members, "fp16", Path("bundles/mine"), "mine", verification_images(None), "by hand")
bundle = export_bundle(options)
"""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.export.bundle import write_bundle
    from braintumor.export.options import ExportOptions, MemberOptions, QuantisationOptions
    from braintumor.export.pipeline import VerificationImages, default_models, export_bundle, verification_images

__all__ = [
    "ExportOptions",
    "MemberOptions",
    "QuantisationOptions",
    "VerificationImages",
    "default_models",
    "export_bundle",
    "verification_images",
    "write_bundle",
]

__getattr__ = lazy_getattr(
    __name__,
    bundle=("write_bundle",),
    options=("ExportOptions", "MemberOptions", "QuantisationOptions"),
    pipeline=("VerificationImages", "default_models", "export_bundle", "verification_images"),
)
