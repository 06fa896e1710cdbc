"""From an image file to the pixels that a member takes."""

from typing import TYPE_CHECKING

from braintumor.front_door import opened

if TYPE_CHECKING:
    from braintumor.runtime.image.decode import DECODE_VERSION, read_grey
    from braintumor.runtime.image.geometry import Geometry, fitted

__all__ = ["DECODE_VERSION", "Geometry", "fitted", "read_grey"]

__getattr__ = opened(
    __name__,
    decode=("DECODE_VERSION", "read_grey"),
    geometry=("Geometry", "fitted"),
)
