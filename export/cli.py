"""`bt-export`: `.keras` and `.h5` files in, a verified bundle out."""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from braintumor.command import EPILOG, Command, debug_option, in_options, version_option
from braintumor.errors import ModelError, UsageError
from braintumor.export.origin import origin_lines
from braintumor.models.input_settings import CROPS
from braintumor.models.labels import CLASSES, parse_classes
from braintumor.models.spec import PREPROCESSES

if TYPE_CHECKING:
    from braintumor.export.graph.precision import Precision
    from braintumor.export.member import ExportedMember
    from braintumor.runtime.bundle.load import Bundle
    from braintumor.runtime.image.decode import Resize
    from braintumor.runtime.image.head import Crop

__all__ = ["main"]

# Names only: the modules that define them load ONNX, and --help must not.
_PRECISIONS = ("fp32", "fp16", "bf16", "int8", "mixed")
_QUANTISED = ("int8", "mixed")
_RESTS = ("fp32", "fp16")
# At these, a label may differ where Keras itself wavers.
_CLEAR_ONLY = ("bf16", "int8")
_RESIZES = ("antialias", "tf-bilinear", "nearest", "bilinear", "bicubic")

# Of model files; what they hold is looked at, not their names.
_SUFFIXES = (".keras", ".h5", ".hdf5")

# The largest side that a bundle may name.
_MAX_SIDE_PX = 4096

# Exit code where --check finds another bundle.
_DIFFERENT = 3

_PER_MODEL = "Once for all models, or once per model in order."

Value = TypeVar("Value")


@click.command(cls=Command, epilog=EPILOG, sets={"folder": "bundle"})
@click.argument("models", metavar="[MODEL.keras|MODEL.h5]...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--precision",
    type=click.Choice(_PRECISIONS),
    default="fp16",
    show_default=True,
    help="Precision of all models; mixed uses int8 only for those that it makes faster.",
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
    help="Images to verify with.  [default: $BRAINTUMOR_DATA, or generated phantoms]",
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
    "--rest",
    type=click.Choice(_RESTS),
    help="For int8: precision of the layers not quantised.  [default: fp32]",
)
@click.option(
    "--save-plans",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="For int8: save the plans, to export again without images.",
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
    rest: "Precision | None",
    save_plans: Path | None,
    timeout_s: float,
    verified: Path | None,
    checked: Path | None,
) -> None:
    """Export Keras classifiers as one bundle of verified ONNX models.

    Without MODEL, takes ./models/*.keras, else *.h5 there, else the weights that come with the package. Each
    model is converted, simplified, and accepted only when it answers what Keras answers.
    """
    if verified is not None or checked is not None:
        _revisit(verified, checked, models, images)
        return
    from braintumor.export.bundle import bundle_there
    from braintumor.export.int8.plan_source import Quantisation
    from braintumor.export.member import MemberOptions
    from braintumor.export.pipeline import ExportOptions, default_models, export_bundle, verification_images
    from braintumor.models.vote_calibration import parse_vote

    _require_int8(precision, calibrate=calibrate, validate=validate, rest=rest, save_plans=save_plans)
    if new_classes and not classes:
        raise UsageError("--new-classes takes unknown names in --classes, which is not given; give both, or neither")
    models = models or default_models()
    count = len(models)
    weights = parse_vote(vote, count)
    orders = [parse_classes(text, new=new_classes) for text in classes]
    each_classes = _for_each("--classes", orders, count, CLASSES)
    each_stated = [bool(orders)] * count
    each_preprocess = _for_each("--preprocess", preprocess, count, "auto")
    each_size = _for_each("--size", [_size(text) for text in size], count, None)
    each_resize = _for_each("--resize", resize, count, "antialias")
    each_crop = _for_each("--crop", crop, count, None)
    members = tuple(
        MemberOptions(path, _member_name(path), *rest)
        for path, *rest in zip(
            models,
            weights,
            each_classes,
            each_preprocess,
            each_size,
            each_resize,
            each_stated,
            each_crop,
            strict=True,
        )
    )
    folder = bundle or Path("bundles") / precision
    options = ExportOptions(
        members,
        precision,
        folder,
        name or folder.name,
        verification_images(images),
        _command_line(),
        Quantisation(calibrate, validate, rest=rest or "fp32", save_plans=save_plans),
        temperature,
        timeout_s,
        _end,
    )
    replaced = bundle_there(folder)
    reporter = _Reporter()
    try:
        written = export_bundle(options, reporter)
    finally:
        reporter.stop()
    _summary(folder, written, replaced)


def _revisit(verified: Path | None, checked: Path | None, models: tuple[Path, ...], images: Path | None) -> None:
    """Verify an existing bundle, or export it again."""
    if verified is not None and checked is not None:
        raise UsageError("--verify and --check are two jobs; give one of them")
    folders = tuple(dict.fromkeys(model if model.is_dir() else model.parent for model in models)) or (Path("models"),)
    reporter = _Reporter()
    try:
        if verified is not None:
            _verify(verified, folders, images, reporter)
        elif checked is not None:
            _check(checked, folders, reporter)
    finally:
        reporter.stop()


def _verify(folder: Path, model_folders: tuple[Path, ...], images: Path | None, reporter: "_Reporter") -> None:
    from braintumor.export.pipeline import verification_images
    from braintumor.export.verify.reverify import verify_bundle

    bundle = verify_bundle(folder, model_folders, verification_images(images), reporter.step)
    reporter.stop()
    for member in bundle.members:
        click.echo(f"{member.name}: {_agreement(member.details)}")
    click.echo(f"{folder}: verified, sha256 {bundle.sha256[:12]} as before")


def _check(folder: Path, model_folders: tuple[Path, ...], reporter: "_Reporter") -> None:
    from braintumor.export.verify.reproduce import reproduce_bundle

    found = reproduce_bundle(folder, model_folders, reporter.step)
    reporter.stop()
    for member in found:
        state = f"{', '.join(member.different)} differs" if member.different else "the same"
        tools = ", ".join(f"{tool.tool} {tool.then}, here {tool.now or 'not installed'}" for tool in member.tools)
        click.echo(f"{member.member}: {state}" + (f"; made with {tools}" if tools else ""))
    if any(member.different for member in found):
        click.echo(f"{folder}: another bundle comes out")
        sys.exit(_DIFFERENT)
    click.echo(f"{folder}: the same bundle comes out")


def _require_int8(precision: str, **options: Path | str | None) -> None:
    """Refuse what only a quantised export would heed, rather than ignore it."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is not None]
    if given and precision not in _QUANTISED:
        raise UsageError(
            f"{', '.join(given)} {'is' if len(given) == 1 else 'are'} for --precision int8 and mixed; --precision "
            f"{precision} quantises nothing: leave {'it' if len(given) == 1 else 'them'} out, or ask for int8"
        )


def _member_name(path: Path) -> str:
    """The file's name without what the study puts around it: best_EfficientNetV2M.keras is EfficientNetV2M."""
    name = (path.stem if path.suffix.lower() in _SUFFIXES else path.name).removeprefix("best_")
    kept = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name).strip(".")
    # bundle.json is the one name in a bundle that is taken.
    if kept in {"", "bundle.json"}:
        raise UsageError(f"{path} has no name that it could go by in the bundle; rename it")
    return kept


def _for_each(option: str, values: Sequence[Value], count: int, default: Value) -> list[Value]:
    if len(values) in {0, 1}:
        return [values[0] if values else default] * count
    if len(values) != count:
        raise UsageError(
            f"{option} is given {len(values)} times for {count} models",
            "give it once for all, or once per model in order",
        )
    return list(values)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not all(side.isdecimal() and 1 <= int(side) <= _MAX_SIDE_PX for side in (height, width)):
        raise UsageError(
            f"--size {text!r} is not a size; must be height and width in pixels, 1 to {_MAX_SIDE_PX}",
            "write it as in --size 224x224",
        )
    return int(height), int(width)


def _end(message: str) -> None:
    """End the process at once: the main thread is in a library that does not come back."""
    click.echo(f"Error: {in_options(message, export)}", err=True)
    os._exit(ModelError.exit_code)


def _command_line() -> str:
    return shlex.join(["bt-export", *sys.argv[1:]])


class _Reporter:
    """Says on standard error what is going on: a spinner at a terminal, a line when a member is done."""

    def __init__(self) -> None:
        from rich.console import Console

        self._status = Console(stderr=True).status("")
        self._terminal = sys.stderr.isatty()

    def step(self, what: str) -> None:
        """Something begins that may take a while."""
        if self._terminal:
            self._status.update(what)
            self._status.start()

    def done(self, exported: "ExportedMember") -> None:
        """A member is ready."""
        self.stop()
        click.echo(_member_line(exported.entry), err=True)

    def stop(self) -> None:
        """Take the spinner away."""
        if self._terminal:
            self._status.stop()


def _member_line(entry: Mapping[str, Any]) -> str:
    added = "sigmoid" if entry["source"].get("unit") else "softmax"
    softmax = f", ends in logits, {added} added" if entry["softmax_added"] else ""
    line = (
        f"{entry['name']}: {entry['precision']}, {entry['height']}x{entry['width']} pixels, nodes "
        f"{entry['nodes']['simplified']}{softmax}, {_agreement(entry)}"
    )
    if not entry["parity"]["against_keras"]:
        line += f"\n  not verified against Keras: {entry['parity']['missing']}; later: bt-export --verify BUNDLE"
    if entry["route"]["reason"]:
        line += f"\n  converted by Keras and tf2onnx: {entry['route']['reason']}"
    line += "".join(f"\n  {in_options(told)}" for told in origin_lines(entry))
    if "mixed" in entry:
        line += f"\n  {'int8' if entry['mixed']['int8'] else 'not int8'}: {entry['mixed']['reason']}"
    return line + (_quantisation_lines(entry["quantisation"]) if entry["quantisation"] else "")


def _agreement(entry: Mapping[str, Any]) -> str:
    """How close a member is to its reference."""
    parity = entry["parity"]
    by_batch = parity["by_batch"].values()
    worst = max(figures["max_abs_difference"] for figures in by_batch)
    count = max(figures["images"] for figures in by_batch)
    kind = "phantoms" if parity["images"] == "phantoms" else "images"
    reference = "Keras" if parity["against_keras"] else "its own FP32 graph"
    clear = "clear " if entry["precision"] in _CLEAR_ONLY else ""
    return f"answers {count} {kind} as {reference} does (max |dp| {worst:.1e}, no {clear}label differs)"


def _quantisation_lines(found: Mapping[str, Any]) -> str:
    """What was searched: naive against searched on the validation images, and the groups by the damage they do."""
    kept = ", ".join(found["float_groups"]) or "nothing"
    naive, searched, vote = found["naive"], found["searched"], found["vote"]
    ranking = ", ".join(f"{entry['group']} {entry['divergence_nats']:.1e}" for entry in found["ranking"][:4])
    return (
        f"\n  int8 by {found['method']} on {found['calibration']['images']} training images; float stays {kept}; "
        f"rest {found['rest']}"
        f"\n  {searched['images']} validation images: naive {naive['flips']} labels differ from FP32 "
        f"({naive['accuracy']:.2%} right), searched {searched['flips']} ({searched['accuracy']:.2%}), FP32 "
        f"{searched['accuracy_fp32']:.2%}; in the vote of {' + '.join(found['members'])} {vote['flips']} "
        f"({vote['accuracy']:.2%}, FP32 {vote['accuracy_fp32']:.2%})"
        f"\n  most sensitive, in nats: {ranking}{_gain(found)}"
    )


def _gain(found: Mapping[str, Any]) -> str:
    """That int8 gains little where most of a member has to stay float; "" otherwise."""
    nodes = {entry["group"]: int(entry["nodes"]) for entry in found["ranking"]}
    in_float = sum(nodes.get(group, 0) for group in found["float_groups"])
    if 2 * in_float <= sum(nodes.values()):
        return ""
    return (
        f"\n  {in_float} of its {sum(nodes.values())} weighted nodes stay float to be faithful: hardly faster than "
        f"{found['rest']}; --precision mixed takes int8 only where it was measured to be faster"
    )


def _summary(folder: Path, bundle: "Bundle", replaced: str | None) -> None:
    megabytes = sum(member.details["size_bytes"] for member in bundle.members) / 1e6
    names = " + ".join(member.name for member in bundle.members)
    told = f"; replaced {folder} ({replaced})" if replaced else ""
    click.echo(f"{folder}: {names}, {bundle.precision}, {megabytes:.1f} MB, sha256 {bundle.sha256[:12]}{told}")


def main() -> None:
    """Run `bt-export`."""
    export()
