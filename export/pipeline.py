"""A whole export: members, one class order, one bundle."""

import importlib.resources
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from braintumor.errors import UsageError
from braintumor.export.archive import open_archive
from braintumor.export.bundle import check_destination, write_bundle
from braintumor.export.member import ExportedMember, MemberOptions, VerificationImages, export_member
from braintumor.export.precision import Precision
from braintumor.export.verify import MIN_IMAGES
from braintumor.models.labels import CLASSES, class_permutation
from braintumor.runtime.bundle import Bundle
from braintumor.runtime.image import SUFFIXES

__all__ = ["DATA_VARIABLE", "ExportOptions", "Report", "default_models", "export_bundle", "verification_images"]

DATA_VARIABLE: Final = "BRAINTUMOR_DATA"

_WORKING_MODELS: Final = Path("models")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is asked of an export.

    Attributes:
        members: In the order of the bundle, at least one, with different names.
        precision: Of all members.
        folder: Where the bundle goes.
        name: Of the bundle.
        images: For the verification.
        command: What was typed, for the bundle.
    """

    members: tuple[MemberOptions, ...]
    precision: Precision
    folder: Path
    name: str
    images: VerificationImages
    command: str

    def __post_init__(self) -> None:
        """Check what cannot be checked member by member.

        Raises:
            UsageError: No member, two of one name, or a weight that is no weight.
        """
        names = [member.name for member in self.members]
        if not names:
            raise UsageError("no model to export; name one: bt-export MODEL.keras")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise UsageError(f"two models are called {', '.join(twice)}; rename one of the files")
        for member in self.members:
            if not 0 < member.weight < float("inf"):
                raise UsageError(f"--vote gives {member.name} the weight {member.weight}; allowed is more than 0")


Report = Callable[[MemberOptions, ExportedMember | None], None]
"""Called with a member before it is exported (and None) and after (and the result)."""


def _no_report(_member: MemberOptions, _exported: ExportedMember | None) -> None: ...


def export_bundle(options: ExportOptions, report: Report = _no_report) -> Bundle:
    """Export all members and write the bundle.

    Args:
        options: What is asked.
        report: Told before and after each member.

    Raises:
        ModelError: A file is not a classifier that can be exported.
        ParityError: A result does not answer what Keras answers.
        UsageError: The members do not know the same classes.
        OutputError: The bundle cannot be written.
    """
    check_destination(options.folder)
    classes = _bundle_classes(options.members)
    for member in options.members:
        # A misspelt third file is told before the minutes that the first two take.
        class_permutation(member.classes, classes)
        open_archive(member.path)
    exported = []
    for member in options.members:
        report(member, None)
        exported.append(export_member(member, classes, options.precision, options.images))
        report(member, exported[-1])
    return write_bundle(
        options.folder,
        name=options.name,
        classes=classes,
        members=[member.entry for member in exported],
        files={member.entry["name"]: member.model for member in exported},
        command=options.command,
    )


def _bundle_classes(members: Sequence[MemberOptions]) -> tuple[str, ...]:
    """The usual order where the members know the usual classes; otherwise the first member's."""
    first = members[0].classes
    return CLASSES if set(first) == set(CLASSES) else first


def default_models() -> tuple[Path, ...]:
    """What is exported when no model is named: ./models/*.keras, or the weights that come with the package.

    Raises:
        UsageError: There are neither.
    """
    if own := sorted(_WORKING_MODELS.glob("*.keras")):
        return tuple(own)
    shipped = Path(str(importlib.resources.files("braintumor.models") / "pretrained"))
    if found := sorted(shipped.glob("*.keras")):
        return tuple(found)
    raise UsageError(
        f"no model was named, {_WORKING_MODELS.absolute()} holds no .keras file and this installation ships none; "
        "name one: bt-export MODEL.keras"
    )


def verification_images(folder: Path | None) -> VerificationImages:
    """Images for the verification: `MIN_IMAGES` of the folder's, evenly spread over its sorted files, or phantoms.

    Args:
        folder: Searched recursively; $BRAINTUMOR_DATA when None; phantoms when neither is given.

    Raises:
        UsageError: There is no such folder, or it has too few images.
    """
    if folder is None and (named := os.environ.get(DATA_VARIABLE)):
        folder = Path(named)
    if folder is None:
        return VerificationImages((), MIN_IMAGES)
    if not folder.is_dir():
        raise UsageError(
            f"{folder} is no folder; name one of at least {MIN_IMAGES} images with --images DIR, or leave it and "
            f"${DATA_VARIABLE} out for generated phantoms"
        )
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if len(found) < MIN_IMAGES:
        raise UsageError(
            f"{folder} holds {len(found)} images; the verification needs {MIN_IMAGES}: name another folder with "
            f"--images DIR, or leave it and ${DATA_VARIABLE} out for generated phantoms"
        )
    spread = [found[index * len(found) // MIN_IMAGES] for index in range(MIN_IMAGES)]
    return VerificationImages(tuple(spread), MIN_IMAGES)
