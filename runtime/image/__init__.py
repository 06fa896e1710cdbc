"""From an image file to the pixels that a member takes."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.runtime.image.decode import DECODE_VERSION, read_grey
    from braintumor.runtime.image.geometry import Geometry, apply_geometry

__all__ = ["DECODE_VERSION", "Geometry", "apply_geometry", "read_grey"]

__getattr__ = lazy_getattr(
    __name__,
    decode=("DECODE_VERSION", "read_grey"),
    geometry=("Geometry", "apply_geometry"),
)
