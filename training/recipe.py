"""Everything that decides what a training run computes, as one value."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from braintumor.errors import UsageError
from braintumor.models.catalog import model_spec
from braintumor.models.input_settings import CROPS, Crop

__all__ = ["Augmentation", "Precision", "Recipe", "recipe_from_json"]

Precision = Literal["auto", "float32", "bfloat16"]
"""Arithmetic of convolutions; weights stay float32. `auto` takes bfloat16 where the device has it."""


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of a training image. Zero switches a change off.

    Attributes:
        rotation_deg: Largest turn to either side, in degrees.
        zoom: Largest relative change of size, 0.12 for 0.88 to 1.12.
        shift: Largest shift to either side, as a part of the image's size.
        contrast: Largest relative change of contrast about the image's mean.
        flip: Whether half of the images are mirrored left to right.
        degrade: Strength, 0 to 1, of what makes the source of a picture hard to tell: resampling through other sizes
            and filters, blur and sharpening, gamma, brightness, coil sensitivity, noise and JPEG.
        erase: Part of the images in which a random rectangle is blanked.
    """

    rotation_deg: float = 18.0
    zoom: float = 0.12
    shift: float = 0.04
    contrast: float = 0.2
    flip: bool = True
    degrade: float = 1.0
    erase: float = 0.2

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, limit in (
            ("rotation_deg", 180.0),
            ("zoom", 0.9),
            ("shift", 0.5),
            ("contrast", 1.0),
            ("degrade", 1.0),
            ("erase", 1.0),
        ):
            value = getattr(self, name)
            if not 0 <= value <= limit:
                raise UsageError(f"augmentation `{name}` must be 0 to {limit}, got {value}")


@dataclass(frozen=True, slots=True)
class Recipe:
    """One training run.

    Attributes:
        model: A name of the catalog.
        sizes: Image sizes in pixels, small first; each has an equal share of the run (progressive resizing).
        epochs: Length of the schedule.
        minutes: Wall-clock budget. The schedule ends with whichever of `epochs` and `minutes` is used up
            first; time in which the process was suspended does not count. None for no budget.
        batch_size: Images a step.
        seed: Decides initial weights, order, augmentation and dropout.
        peak_learning_rate: The top of the one-cycle schedule.
        warmup: Part of the schedule that the learning rate rises, 0 to 0.9.
        weight_decay: Decoupled (AdamW).
        label_smoothing: 0 up to but not including 1.
        dropout: Before the last layer.
        class_weights: Whether rare classes weigh more in the loss.
        ema: Momentum of the moving average of the weights that is evaluated and kept; 0 for none.
        batchnorm_momentum: Of every BatchNormalization layer; Keras's 0.99 lags behind at high rates.
        batchnorm_refresh: Batches over which those statistics are estimated afresh at the end; 0 for none.
        patience: Epochs without a better validation loss before the run stops; 0 for never.
        precision: See `Precision`.
        crop: What is cut off before an image is resized, see `braintumor.runtime.image.head`.
        initial: Path of a `.keras` file or "imagenet" to start from; None for random weights.
        teachers: Paths of `.keras` files whose mean probabilities soften the targets; none for no distillation.
        distillation: Part of a target that the teachers give, 0 to 1.
        augmentation: Random changes of the training images.
    """

    model: str
    sizes: tuple[int, ...] = (128,)
    epochs: int = 20
    minutes: float | None = None
    batch_size: int = 32
    seed: int = 0
    peak_learning_rate: float = 2e-3
    warmup: float = 0.15
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    dropout: float = 0.3
    class_weights: bool = True
    ema: float = 0.0
    batchnorm_momentum: float = 0.9
    batchnorm_refresh: int = 40
    patience: int = 0
    precision: Precision = "auto"
    crop: Crop = "head"
    initial: str | None = None
    teachers: tuple[str, ...] = ()
    distillation: float = 0.5
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        """Check the ranges."""
        smallest = model_spec(self.model).min_size
        if not self.sizes or min(self.sizes) < smallest:
            raise UsageError(f"sizes of {self.model} must be >= {smallest} px, got {self.sizes}")
        if self.minutes is not None and self.minutes <= 0:
            raise UsageError(f"`minutes` must be > 0, got {self.minutes}")
        if self.precision not in get_args(Precision):
            raise UsageError(f"`precision` must be one of {', '.join(get_args(Precision))}, got {self.precision!r}")
        if not 0 <= self.distillation <= 1:
            raise UsageError(f"`distillation` must be 0 to 1, got {self.distillation}")
        if self.crop not in CROPS:
            raise UsageError(f"`crop` must be one of {', '.join(CROPS)}, got {self.crop!r}")
        _check_ranges(self)

    @property
    def final_size(self) -> int:
        """The size in pixels that the model ends with."""
        return self.sizes[-1]

    def size_at(self, progress: float) -> int:
        """Return the image size in pixels at a progress of 0 to 1."""
        return self.sizes[min(int(progress * len(self.sizes)), len(self.sizes) - 1)]

    def to_json(self) -> dict[str, Any]:
        """Convert to plain data for `run.json`."""
        return asdict(self) | {"sizes": list(self.sizes), "teachers": list(self.teachers)}


def _check_ranges(recipe: Recipe) -> None:
    at_least_one = ("epochs", "batch_size")
    not_negative = ("seed", "peak_learning_rate", "weight_decay", "batchnorm_refresh", "patience")
    below_one = ("warmup", "label_smoothing", "dropout", "ema", "batchnorm_momentum")
    for name in (item.name for item in fields(recipe)):
        value = getattr(recipe, name)
        if name in at_least_one and value < 1:
            raise UsageError(f"{name} must be >= 1, got {value}")
        if name in not_negative and value < 0:
            raise UsageError(f"{name} must be >= 0, got {value}")
        if name in below_one and not 0 <= value < 1:
            raise UsageError(f"{name} must be >= 0 and < 1, got {value}")


def recipe_from_json(data: dict[str, Any]) -> Recipe:
    """Read what `Recipe.to_json` wrote."""
    known = {item.name for item in fields(Recipe)}
    values = {name: value for name, value in data.items() if name in known}
    values["sizes"] = tuple(values["sizes"])
    values["teachers"] = tuple(values.get("teachers", ()))
    values["augmentation"] = Augmentation(**values["augmentation"])
    return Recipe(**values)
