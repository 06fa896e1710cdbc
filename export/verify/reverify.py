"""Verifying a bundle against Keras after it was exported, on a machine that has Keras."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from braintumor.bench.data.originals import keras_sources
from braintumor.errors import UnavailableError
from braintumor.export.from_keras.archive import open_archive
from braintumor.export.network import keras_is_installed
from braintumor.export.verify.compare import ReferenceAnswers, Verification, verify
from braintumor.export.verify.reference import VerificationImages
from braintumor.files import atomic_text
from braintumor.models.labels import class_permutation
from braintumor.models.outputs import class_probabilities
from braintumor.runtime.bundle.acceptance import manifest_text
from braintumor.runtime.bundle.checksum import CHECKSUM, with_checksum
from braintumor.runtime.bundle.load import MANIFEST, Bundle, Member, load_bundle

if TYPE_CHECKING:
    from braintumor.export.graph.precision import Precision

__all__ = ["verify_bundle"]


def verify_bundle(
    folder: Path,
    model_folders: Sequence[Path],
    images: VerificationImages,
    step: Callable[[str], None],
    public_key: Path | None = None,
) -> Bundle:
    """Compare every member with Keras, and write the figures into the bundle, which keeps its identity.

    Args:
        folder: The bundle.
        model_folders: Where the `.keras` files are looked for, by their hash; what ships with the package comes last.
        images: Of the verification.
        step: Gets a description of what is done next.
        public_key: The PEM file of a public key that must have signed it; None for any bundle.

    Raises:
        IntegrityError: It is not a bundle, it was changed, or it is not signed with that key.
        ParityError: A member does not answer what Keras answers. Nothing is written then.
        UnavailableError: Keras is not installed, or a `.keras` file is not found.
        OutputError: The bundle cannot be written.
    """
    if not keras_is_installed():
        raise UnavailableError(
            "verifying a bundle needs Keras, which is not installed here",
            "install it with: pip install 'braintumor[export]'",
        )
    bundle = load_bundle(folder, public_key=public_key)
    figures = {}
    for member, path in zip(bundle.members, keras_sources(bundle, model_folders), strict=True):
        step(f"{member.name}: asking Keras about {images.count} images")
        figures[member.name] = _verified(bundle, member, path, images).to_dict()
    manifest = folder / MANIFEST
    details = json.loads(manifest.read_bytes())
    for entry in details["members"]:
        entry["parity"] = figures[entry["name"]]
    if CHECKSUM in details:
        details = with_checksum(details)
    with atomic_text(manifest) as stream:
        stream.write(manifest_text(details))
    return load_bundle(folder)


def _verified(bundle: Bundle, member: Member, path: Path, images: VerificationImages) -> Verification:
    from braintumor.export.via_keras.answer import keras_answers

    source = member.details["source"]
    pixels = images.resized(member.geometry)
    outputs, answered_by = keras_answers(open_archive(path), source["channels"], source["preprocess"], pixels)
    probabilities = class_probabilities(outputs, logits=member.details["softmax_added"])
    order = class_permutation(source["classes"], bundle.classes)
    reference = ReferenceAnswers(pixels, probabilities[:, list(order)], images.kind, answered_by)
    return verify(member.path, reference, cast("Precision", member.precision))
