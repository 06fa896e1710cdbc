"""Options of an export: of the whole, of each member, of the quantisation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from braintumor.errors import UsageError
from braintumor.export.graph.precision import Precision
from braintumor.export.graph.quantization_plan import QuantisationPlan
from braintumor.export.int8.images import DEFAULT_COUNT
from braintumor.export.int8.quality import Limits
from braintumor.export.verify.reference import VerificationImages
from braintumor.runtime.image.head import Crop
from braintumor.runtime.image.resize import Resize

__all__ = ["CascadeOptions", "ExportOptions", "MemberOptions", "QuantisationOptions", "Target"]


@dataclass(frozen=True, slots=True)
class MemberOptions:
    """Options of one member.

    Attributes:
        path: The `.keras` or `.h5` file.
        name: In the bundle.
        weight: In the vote, greater than 0.
        classes: Order of the model's outputs.
        preprocess: "auto", "none", "unit", "tf", "torch" or "caffe".
        size: Height and width in pixels; None for the model's own.
        resize: Method that brings images to that size.
        classes_stated: Somebody, or the file itself, said that `classes` is the order; False where it is assumed.
        crop: Cut off before; None for the crop that the file states, or none.
    """

    path: Path
    name: str
    weight: float
    classes: tuple[str, ...]
    preprocess: str = "auto"
    size: tuple[int, int] | None = None
    resize: Resize = "antialias"
    classes_stated: bool = True
    crop: Crop | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The precision that a member is brought to.

    Attributes:
        precision: Of the weights and of what is computed.
        plan: For int8: what is quantised, and how.
        float_precision: For int8: precision of what is not quantised: "fp32", "bf16" for CPUs that have it, or
            "fp16" for GPUs.
    """

    precision: Precision
    plan: QuantisationPlan | None = None
    float_precision: Precision = "fp32"


@dataclass(frozen=True, slots=True)
class QuantisationOptions:
    """Options of an int8 export.

    Attributes:
        calibrate: Training images: a folder with one folder a class, or a file of `bt-data prepare`. None takes the
            plans that lie beside the models.
        validate: Validation images, a folder likewise; None takes the validation part of the file.
        count: Calibration images.
        limits: Of what int8 may cost on the validation images.
        save_plans: Folder that gets the plans that were searched.
        float_precision: Of what is not quantised.
    """

    calibrate: Path | None = None
    validate: Path | None = None
    count: int = DEFAULT_COUNT
    limits: Limits = field(default_factory=Limits)
    save_plans: Path | None = None
    float_precision: Precision = "fp32"

    def __post_init__(self) -> None:
        """Check what belongs together.

        Raises:
            UsageError: Something of a search, and no images to search on.
        """
        searched = {"`validate`": self.validate, "`save_plans`": self.save_plans}
        present = [name for name, value in searched.items() if value is not None]
        if present and self.calibrate is None:
            raise UsageError(
                f"{' and '.join(present)} without `calibrate`: nothing is searched, plans beside the models are used",
                "name training images with `calibrate`, or leave it out",
            )


@dataclass(frozen=True, slots=True)
class CascadeOptions:
    """Options of a cascade.

    Attributes:
        images: Validation images: a folder with one folder a class, or a file of `bt-data prepare`.
        risk: Share of labels that may differ from the full vote, above 0, below 1.
        save_to: Folder whose `cascades.json` gets it, for exports of the same vote without images.
    """

    images: Path
    risk: float = 0.005
    save_to: Path | None = None

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 < self.risk < 1:
            raise UsageError(f"`risk` must be > 0 and < 1, got {self.risk:g}")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of a whole export.

    Attributes:
        members: In the order of the bundle, at least one, with different names.
        precision: Of all members; "mixed" is int8 for those that keep their decisions in int8 and were measured to be
            faster by it on this machine, and `quantisation.float_precision` for the others.
        folder: Where the bundle goes.
        name: Of the bundle.
        images: For the verification.
        command: The command line, for the bundle.
        quantisation: For int8 and mixed.
        temperature: Of the vote; None for what `bt-train calibrate` left beside the models for this very vote, or 1.
        cascade: Images and risk of a cascade; None for what was saved beside the models for this very vote, or none.
        timeout_s: Time limit of one member, in seconds; None for no limit. A search for int8 is not counted.
        end: Ends the process with a message, for a member whose time is up inside a library that does not come back.
    """

    members: tuple[MemberOptions, ...]
    precision: Precision | Literal["mixed"]
    folder: Path
    name: str
    images: VerificationImages
    command: str
    quantisation: QuantisationOptions = field(default_factory=QuantisationOptions)
    temperature: float | None = None
    cascade: CascadeOptions | None = None
    timeout_s: float | None = None
    end: Callable[[str], object] | None = None

    def __post_init__(self) -> None:
        """Check what cannot be checked member by member.

        Raises:
            UsageError: No member, two of one name, or a weight that is not greater than 0.
        """
        names = [member.name for member in self.members]
        if not names:
            raise UsageError("no model to export", "name one")
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two models are called {', '.join(repeated)}", "rename one of the files")
        for member in self.members:
            if not 0 < member.weight < float("inf"):
                raise UsageError(f"`vote` gives {member.name} the weight {member.weight}; must be > 0")
