"""From a trained `.keras` file to a verified bundle of ONNX models."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.export.bundle import write_bundle
    from braintumor.export.member import MemberOptions
    from braintumor.export.pipeline import ExportOptions, export_bundle

__all__ = ["ExportOptions", "MemberOptions", "export_bundle", "write_bundle"]

__getattr__ = lazy_getattr(
    __name__,
    bundle=("write_bundle",),
    member=("MemberOptions",),
    pipeline=("ExportOptions", "export_bundle"),
)
