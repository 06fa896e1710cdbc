"""Reading bundles, and checking every byte of them first."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.runtime.bundle.load import Bundle, Member, load_bundle
    from braintumor.runtime.bundle.starter import default_bundle

__all__ = ["Bundle", "Member", "default_bundle", "load_bundle"]

__getattr__ = lazy_getattr(
    __name__,
    load=("Bundle", "Member", "load_bundle"),
    starter=("default_bundle",),
)
