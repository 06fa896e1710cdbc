"""`bt-export`: `.keras` and `.h5` files in, a verified bundle out."""

import os
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from braintumor.command import (
    EPILOG,
    Command,
    debug_option,
    in_options,
    require_signature_option,
    version_option,
)
from braintumor.errors import ModelError, UsageError
from braintumor.models.input_settings import CROPS
from braintumor.models.spec import PREPROCESSES
from braintumor.progress import ProgressDisplay

if TYPE_CHECKING:
    from braintumor.export.graph.precision import Precision
    from braintumor.export.member import ExportedMember
    from braintumor.export.options import CascadeOptions, ExportOptions
    from braintumor.runtime.bundle.sign import SigningKey
    from braintumor.runtime.image.decode import Resize
    from braintumor.runtime.image.head import Crop

__all__ = ["main"]

# Names only: the modules that define them load ONNX, and --help must not.
_PRECISIONS = ("fp32", "fp16", "bf16", "int8", "mixed")
_QUANTISED = ("int8", "mixed")
_FLOAT_PRECISIONS = ("fp32", "fp16", "bf16")
_RESIZES = ("antialias", "tf-bilinear", "nearest", "bilinear", "bicubic")

# Exit code where --check finds another bundle.
_DIFFERENT = 3

_PER_MODEL = "Once for all models, or once per model in order."


@click.command(cls=Command, epilog=EPILOG, sets={"folder": "bundle"})
@click.argument("models", metavar="[MODEL.keras|MODEL.h5]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(_PRECISIONS),
    default="fp16",
    show_default=True,
    help="Precision of all models; mixed measures here, and uses int8 only for those that it speeds up.",
)
@click.option(
    "--bundle",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the bundle.  [default: bundles/PRECISION]",
)
@click.option("--name", help="Name of the bundle.  [default: that of its folder]")
@click.option("--vote", metavar="W,W,...", help="One weight per model in the soft vote.  [default: equal]")
@click.option(
    "--temperature",
    type=click.FloatRange(0.05, 20),
    help="Temperature of the vote; above 1 is less sure.  [default: what bt-train calibrate fitted, or 1]",
)
@click.option(
    "--classes",
    metavar="A,B,...",
    multiple=True,
    help="Order of a model's outputs; kaggle is the folder order glioma, meningioma, notumor, pituitary in Keras. "
    f"{_PER_MODEL}",
)
@click.option("--new-classes", is_flag=True, help="Keep unknown names in --classes as they are.")
@click.option(
    "--preprocess",
    type=click.Choice(PREPROCESSES),
    multiple=True,
    help=f"Scaling of the pixels, where the model does not do it. {_PER_MODEL}  [default: the model scales inside]",
)
@click.option("--size", metavar="HxW", multiple=True, help=f"Input size, for a model that takes any. {_PER_MODEL}")
@click.option(
    "--resize",
    type=click.Choice(_RESIZES),
    multiple=True,
    help="How images were brought to size: nearest, bilinear or bicubic by flow_from_directory and load_img (nearest "
    "unless you chose), tf-bilinear by image_dataset_from_directory, tf.image.resize and cv2.resize; antialias is "
    f"bilinear. {_PER_MODEL}  [default: antialias]",
)
@click.option(
    "--crop",
    type=click.Choice(CROPS),
    multiple=True,
    help=f"What is cut off first: everything around the head, or nothing. {_PER_MODEL}  [default: as the file says]",
)
@click.option(
    "--images",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Images to verify with.  [default: the folder $BRAINTUMOR_DATA where Keras is installed, else generated "
    "phantoms]",
)
@click.option(
    "--calibrate",
    metavar="DIR|NPZ",
    type=click.Path(path_type=Path),
    help="For int8: real training images, one folder per class, or a file of bt-data prepare."
    "  [default: the plans beside the models]",
)
@click.option(
    "--validate",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="For int8: other images, to validate the search with.  [default: the validation part of the NPZ]",
)
@click.option(
    "--float-precision",
    "--rest",
    "float_precision",
    type=click.Choice(_FLOAT_PRECISIONS),
    help="For int8: precision of the layers not quantised.  [default: fp32]",
)
@click.option(
    "--save-plans",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Save the plans of int8 and the cascade, to export again without images.",
)
@click.option(
    "--cascade",
    metavar="DIR|NPZ",
    type=click.Path(path_type=Path),
    help="Validation images: choose when sure models may answer for all, for bt-infer --policy cascade.",
)
@click.option(
    "--risk",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="For --cascade: share of labels that may differ from the full vote.  [default: 0.005]",
)
@click.option(
    "--timeout",
    "timeout_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    show_default=True,
    help="Time limit per model, without a search for int8.",
)
@click.option(
    "--verify",
    "verified",
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="Export nothing: compare a bundle with Keras and write the figures into it.",
)
@click.option(
    "--check",
    "checked",
    metavar="BUNDLE",
    type=click.Path(path_type=Path),
    help="Export a bundle again and say whether the same files come out.",
)
@click.option(
    "--sign",
    "signing_key",
    metavar="KEY",
    type=click.Path(path_type=Path),
    help="Sign the bundle with this private key, a PEM file; after --verify, again.",
)
@require_signature_option
@debug_option
@version_option
def export(  # noqa: PLR0913 - one parameter an option
    *,
    models: tuple[Path, ...],
    precision: "Precision",
    bundle: Path | None,
    name: str | None,
    vote: str | None,
    temperature: float | None,
    classes: tuple[str, ...],
    new_classes: bool,
    preprocess: tuple[str, ...],
    size: tuple[str, ...],
    resize: tuple["Resize", ...],
    crop: tuple["Crop", ...],
    images: Path | None,
    calibrate: Path | None,
    validate: Path | None,
    float_precision: "Precision | None",
    save_plans: Path | None,
    cascade: Path | None,
    risk: float | None,
    timeout_s: float,
    verified: Path | None,
    checked: Path | None,
    signing_key: Path | None,
    public_key: Path | None,
) -> None:
    """Export Keras classifiers as one bundle of verified ONNX models.

    Without MODEL, takes ./models/*.keras, else *.h5 there, else the weights that come with the package. Each
    model is converted, and kept only if it answers as Keras does, or as its own FP32 graph where Keras is not
    installed (the bundle then says "not verified").
    """
    if verified is not None or checked is not None or public_key is not None:
        _revisit(verified, checked, models, images, signing_key, public_key)
        return
    searched = save_plans if cascade is None or calibrate is not None else None
    _require_int8(
        precision, calibrate=calibrate, validate=validate, float_precision=float_precision, save_plans=searched
    )
    from braintumor.export.member_arguments import MemberArguments, member_options
    from braintumor.export.options import ExportOptions, QuantisationOptions
    from braintumor.export.pipeline import default_models, verification_images

    folder = bundle or Path("bundles") / precision
    arguments = MemberArguments(vote, classes, new_classes, preprocess, size, resize, crop)
    options = ExportOptions(
        member_options(models or default_models(), arguments),
        precision,
        folder,
        name or folder.name,
        verification_images(images, _echo),
        shlex.join(["bt-export", *sys.argv[1:]]),
        QuantisationOptions(calibrate, validate, save_plans=searched, float_precision=float_precision or "fp32"),
        temperature,
        _cascade_options(cascade, risk, save_plans),
        timeout_s,
        _end,
    )
    _export(options, _read_key(signing_key))


def _export(options: "ExportOptions", key: "SigningKey | None") -> None:
    from braintumor.export.bundle import bundle_there
    from braintumor.export.pipeline import export_bundle
    from braintumor.export.render import summary_line

    replaced = bundle_there(options.folder)
    with _Reporter() as reporter:
        bundle = export_bundle(options, reporter)
    _sign(options.folder, key)
    click.echo(summary_line(options.folder, bundle, replaced))


def _read_key(path: Path | None) -> "SigningKey | None":
    """The key to sign with, before anything is done that may take long."""
    if path is None:
        return None
    from braintumor.runtime.bundle.passphrase import read_key_with_passphrase

    return read_key_with_passphrase(path)


def _sign(folder: Path, key: "SigningKey | None") -> None:
    if key is not None:
        from braintumor.runtime.bundle.sign import sign_bundle

        sign_bundle(folder, key)
        click.echo(f"{folder}: signed by the key {key.sha256[:12]}")


def _cascade_options(images: Path | None, risk: float | None, save_to: Path | None) -> "CascadeOptions | None":
    from braintumor.export.options import CascadeOptions

    if images is None:
        if risk is not None:
            raise UsageError("`risk` is for a cascade", "name validation images with `cascade`, or leave it out")
        return None
    options = CascadeOptions(images, save_to=save_to)
    return options if risk is None else replace(options, risk=risk)


def _require_int8(precision: str, **options: Path | str | None) -> None:
    """Refuse what only a quantised export would use, rather than ignore it."""
    names = [f"`{name}`" for name, value in options.items() if value is not None]
    if names and precision not in _QUANTISED:
        raise UsageError(
            f"{', '.join(names)} {'is' if len(names) == 1 else 'are'} for `precision=int8` and mixed; "
            f"`precision={precision}` quantises nothing",
            f"leave {'it' if len(names) == 1 else 'them'} out, or use `precision=int8`",
        )


def _revisit(
    verified: Path | None,
    checked: Path | None,
    models: tuple[Path, ...],
    images: Path | None,
    signing_key: Path | None,
    public_key: Path | None,
) -> None:
    """Verify an existing bundle, or export it again."""
    if verified is not None and checked is not None:
        raise UsageError("`verified` and `checked` cannot be combined", "give one of them")
    folders = tuple(dict.fromkeys(model if model.is_dir() else model.parent for model in models)) or (Path("models"),)
    if verified is not None:
        _verify(verified, folders, images, signing_key, public_key)
    elif checked is not None:
        if signing_key is not None:
            raise UsageError("`checked` changes nothing, so there is nothing to sign", "leave `signing_key` out")
        _check(checked, folders, public_key)
    else:
        raise UsageError("`public_key` is for a bundle that is there", "leave it out, or add --verify or --check")


def _verify(
    folder: Path,
    model_folders: tuple[Path, ...],
    images: Path | None,
    signing_key: Path | None,
    public_key: Path | None,
) -> None:
    from braintumor.runtime.bundle.folder import is_signed

    if is_signed(folder) and signing_key is None:
        raise UsageError(
            f"{folder} is signed, and the figures that are written into it would end its signature",
            "name the private key to sign it again with `signing_key`, or verify a copy without bundle.sig",
        )
    key = _read_key(signing_key)
    from braintumor.export.pipeline import verification_images
    from braintumor.export.render import agreement
    from braintumor.export.verify.reverify import verify_bundle

    with _Reporter() as reporter:
        bundle = verify_bundle(folder, model_folders, verification_images(images, _echo), reporter.begin, public_key)
    _sign(folder, key)
    for member in bundle.members:
        click.echo(f"{member.name}: {agreement(member.details)}")
    click.echo(f"{folder}: verified, sha256 {bundle.sha256[:12]} as before")


def _check(folder: Path, model_folders: tuple[Path, ...], public_key: Path | None) -> None:
    from braintumor.export.render import reproduction_line
    from braintumor.export.verify.reproduce import reproduce_bundle

    with _Reporter() as reporter:
        reproductions = reproduce_bundle(folder, model_folders, reporter.begin, public_key)
    for reproduction in reproductions:
        click.echo(reproduction_line(reproduction))
    if any(reproduction.different for reproduction in reproductions):
        click.echo(f"{folder}: another bundle comes out")
        sys.exit(_DIFFERENT)
    click.echo(f"{folder}: the same bundle comes out")


def _end(message: str) -> None:
    """End the process at once: the main thread is in a library that does not come back."""
    click.echo(f"Error: {in_options(message, export)}", err=True)
    os._exit(ModelError.exit_code)


class _Reporter(ProgressDisplay):
    """Shows the progress of an export, and each member that is done."""

    def done(self, exported: "ExportedMember") -> None:
        """A member is ready."""
        from braintumor.export.render import member_lines

        self.clear()
        self.write("\n".join(member_lines(exported.entry)), dim=False)


def _echo(line: str) -> None:
    click.echo(line, err=True)


def main() -> None:
    """Run `bt-export`."""
    export()
