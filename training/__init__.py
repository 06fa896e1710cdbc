"""Training: from a copy of the data set to weights that ship.

- `data`: from a copy of the data set to one file; augmentation, audits, predictions.
- `fit`: from a `Recipe` to a run that survives a kill, then to a `.keras` file.
- `report`: every figure of the study, from the stored predictions.
"""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.training.publish import card, ship
    from braintumor.training.recipe import Augmentation, Recipe

__all__ = ["Augmentation", "Recipe", "card", "ship"]

__getattr__ = lazy_getattr(
    __name__,
    publish=("card", "ship"),
    recipe=("Augmentation", "Recipe"),
)
