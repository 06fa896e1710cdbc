"""`bt-train`: train the backbones, evaluate them, and get them ready to ship."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from braintumor.command import EPILOG, Command, Group, debug_option, version_option
from braintumor.models.catalog import CATALOG
from braintumor.models.input_settings import CROPS
from braintumor.progress import ProgressDisplay
from braintumor.training.recipe import Augmentation, Recipe

__all__ = ["calibrate", "evaluate", "grow", "main", "recipe_from_options", "report", "ship"]

_DEFAULTS = Recipe(next(iter(CATALOG)))
_PATH = click.Path(path_type=Path)

_data_option = click.option("--data", type=_PATH, required=True, help="File that `bt-data prepare` wrote.")

_TRAIN_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    _data_option,
    click.option("--out", type=_PATH, default=Path("runs"), show_default=True, help="Folder of the runs."),
    click.option("--size", default="128", show_default=True, help="Pixels; 96,128 shares the run, small first."),
    click.option("--epochs", default=_DEFAULTS.epochs, show_default=True, help="Length of the schedule."),
    click.option("--minutes", type=float, help="Time budget per model; the schedule adapts to it."),
    click.option("--batch-size", default=_DEFAULTS.batch_size, show_default=True, help="Images per step."),
    click.option(
        "--learning-rate", default=_DEFAULTS.peak_learning_rate, show_default=True, help="Top of the one-cycle."
    ),
    click.option("--weight-decay", default=_DEFAULTS.weight_decay, show_default=True, help="Weight decay of AdamW."),
    click.option("--dropout", default=_DEFAULTS.dropout, show_default=True, help="Before the last layer."),
    click.option("--label-smoothing", default=_DEFAULTS.label_smoothing, show_default=True, help="0 to below 1."),
    click.option("--ema", default=_DEFAULTS.ema, show_default=True, help="Momentum of averaged weights; 0 for none."),
    click.option(
        "--patience",
        default=_DEFAULTS.patience,
        show_default=True,
        help="Worse epochs before it stops; 0 for never.",
    ),
    click.option(
        "--precision", type=click.Choice(["auto", "float32", "bfloat16"]), default="auto", show_default=True
    ),
    click.option("--initial", help="A .keras file to start from, or imagenet (needs a network once)."),
    click.option("--teacher", "teachers", multiple=True, help="A .keras file to learn from too; can be given again."),
    click.option(
        "--distillation", default=_DEFAULTS.distillation, show_default=True, help="Teachers' part of a target."
    ),
    click.option("--seed", default=_DEFAULTS.seed, show_default=True, help="Random seed."),
    click.option("--rotation", default=_DEFAULTS.augmentation.rotation_deg, show_default=True, help="Degrees."),
    click.option("--zoom", default=_DEFAULTS.augmentation.zoom, show_default=True, help="Relative change of size."),
    click.option("--shift", default=_DEFAULTS.augmentation.shift, show_default=True, help="Part of the image."),
    click.option("--contrast", default=_DEFAULTS.augmentation.contrast, show_default=True, help="Relative change."),
    click.option("--flip/--no-flip", default=_DEFAULTS.augmentation.flip, show_default=True, help="Left to right."),
    click.option(
        "--degrade",
        default=_DEFAULTS.augmentation.degrade,
        show_default=True,
        help="Resampling, noise, JPEG, …: 0 to 1.",
    ),
    click.option(
        "--erase", default=_DEFAULTS.augmentation.erase, show_default=True, help="Part of images with a blank patch."
    ),
    click.option(
        "--crop", type=click.Choice(CROPS), default=_DEFAULTS.crop, show_default=True, help="Before resizing."
    ),
    click.option(
        "--batchnorm-momentum", default=_DEFAULTS.batchnorm_momentum, show_default=True, help="Of its averages."
    ),
    click.option("--checkpoint-every", default=240.0, show_default=True, help="Seconds, within an epoch."),
    click.option(
        "--restart",
        is_flag=True,
        help="Delete this model's checkpoint, history and predictions in --out, and begin anew.",
    ),
    debug_option,
)


class _Group(Group):
    """A group in which each backbone, and `all`, is a command of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*CATALOG, "all", *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in CATALOG:
            return _train_command(cmd_name, [cmd_name])
        if cmd_name == "all":
            return _train_command("all", list(CATALOG))
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Group, epilog=EPILOG)
@version_option
def main() -> None:
    """Train the backbones on the brain MRI data set, evaluate them, and get them ready to ship.

    The same command again goes on with a run that was cut off.
    """


def _train_command(name: str, models: list[str]) -> click.Command:
    def callback(**options: Any) -> None:
        _train(models, options)

    task = f"Train all {len(CATALOG)}, one after the other" if name == "all" else f"Train {name}"
    callback.__doc__ = f"{task}, or go on with a run that was cut off."
    for option in reversed(_TRAIN_OPTIONS):
        callback = option(callback)
    return click.command(name, cls=Command, epilog=EPILOG)(callback)


def _train(models: list[str], options: dict[str, Any]) -> None:
    recipes = [recipe_from_options(name, options) for name in models]
    from braintumor.training.data.dataset import load_dataset
    from braintumor.training.fit.checkpoint import RunFolder
    from braintumor.training.fit.console import live_progress
    from braintumor.training.fit.finalize import finalize_run
    from braintumor.training.fit.train import train_model

    parts = load_dataset(options["data"])
    for recipe in recipes:
        folder = RunFolder(options["out"] / recipe.model)
        if options["restart"]:
            folder.clear()
        with live_progress(recipe.model) as progress:
            position = train_model(
                recipe,
                parts,
                folder,
                progress,
                checkpoint_every_s=options["checkpoint_every"],
            )
        click.echo(f"{finalize_run(recipe, parts, folder)}: best epoch {position.best_epoch} of {position.epoch}")


def recipe_from_options(model: str, options: dict[str, Any]) -> Recipe:
    """Make a recipe of the options of a train command."""
    try:
        sizes = tuple(int(part) for part in options["size"].split(","))
    except ValueError:
        raise click.UsageError(f"--size {options['size']!r} is not a list of pixels such as 96,128") from None
    same: tuple[str, ...] = ("epochs", "minutes", "batch_size", "weight_decay", "dropout", "label_smoothing", "ema")
    same += ("patience", "teachers", "distillation")
    values = {name: options[name] for name in (*same, "precision", "initial", "seed", "crop", "batchnorm_momentum")}
    augmentation = Augmentation(
        rotation_deg=options["rotation"],
        zoom=options["zoom"],
        shift=options["shift"],
        contrast=options["contrast"],
        flip=options["flip"],
        degrade=options["degrade"],
        erase=options["erase"],
    )
    rate = options["learning_rate"]
    return replace(Recipe(model), sizes=sizes, peak_learning_rate=rate, augmentation=augmentation, **values)


@main.command(cls=Command, epilog=EPILOG)
@click.argument("runs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=_PATH, default=Path("report"), show_default=True, help="Folder of the report.")
@click.option("--manifest", type=_PATH, help="CSV of another split.  [default: our own]")
@click.option(
    "--foreign",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    help="Slices from elsewhere, for the runs' .keras files to answer: those in folders called healthy, notumor, no "
    "or normal are healthy, all others have a tumour.",
)
@debug_option
def report(*, runs: Path, out: Path, manifest: Path | None, foreign: tuple[Path, ...]) -> None:
    """Regenerate every figure and table from the finished RUNS, without training."""
    from braintumor.bench.data.manifest import read_manifest
    from braintumor.training.report.foreign import read_collection
    from braintumor.training.report.page import write_report
    from braintumor.training.report.result import make_report

    with ProgressDisplay() as display:
        display.begin("reading")
        collections = [read_collection(folder) for folder in foreign]
        result = make_report(runs, read_manifest(manifest), collections, display.begin)
    for line in (line for collection in collections for line in collection.unreadable):
        click.echo(f"unreadable: {line}", err=True)
    for name, evaluation in result.evaluations.items():
        click.echo(f"{name:18} val {evaluation.val.accuracy:.2%}  test {evaluation.test.text()}")
    for collection, models in result.foreign.items():
        for name, figures in models.items():
            shares = {"tumours found": figures.sensitivity, "healthy kept": figures.specificity}
            text = "  ".join(f"{key} {share.share:.2%}" for key, share in shares.items() if share)
            click.echo(f"{name:18} {collection}: {text}")
    for path in write_report(result, out):
        click.echo(str(path))


@main.command(cls=Command, epilog=EPILOG)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_data_option
@click.option("--out", type=_PATH, default=Path("runs"), show_default=True, help="Folder of the runs.")
@click.option("--name", type=click.Choice(list(CATALOG)), help="Its backbone.  [default: the start of the file name]")
@debug_option
def evaluate(*, model: Path, data: Path, out: Path, name: str | None) -> None:
    """Answer validation and test images with the file MODEL, so that `report` can evaluate it."""
    from braintumor.training.data.dataset import load_dataset
    from braintumor.training.data.predictions import predictions_csv
    from braintumor.training.data.targets import allowed
    from braintumor.training.fit.checkpoint import RunFolder
    from braintumor.training.keras_io import crop_of, load_keras_file, predict_parts

    backbone = name or next((backbone for backbone in CATALOG if model.name.startswith(backbone)), None)
    if backbone is None:
        raise click.UsageError(f"{model.name} does not begin with {', '.join(CATALOG)}; say which with --name")
    parts = load_dataset(data)
    probabilities = predict_parts(load_keras_file(model), parts, crop_of(model))
    folder = RunFolder(out / backbone)
    folder.create(needed_bytes=0)
    folder.write_text("predictions.csv", predictions_csv(parts, probabilities))
    for split, values in probabilities.items():
        click.echo(f"{split}: {allowed(values.astype(float), parts[split].labels).mean():.2%} of {len(parts[split])}")


@main.command(cls=Command, epilog=EPILOG)
@click.argument("model", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_data_option
@click.option("--to", "target", type=_PATH, required=True, help="Folder for the .keras file and its card.")
@debug_option
def ship(*, model: Path, data: Path, target: Path) -> None:
    """Write the file MODEL compactly, see that validation does not notice, and write its card."""
    from braintumor.bench.data.manifest import read_manifest
    from braintumor.training.data.audit import near_duplicate_free
    from braintumor.training.data.dataset import load_dataset
    from braintumor.training.publish import ship as ship_file

    shipped = ship_file(model, load_dataset(data), near_duplicate_free(read_manifest()), target, model.parent)
    click.echo(
        f"{shipped.path}  {shipped.path.stat().st_size / 1e6:.1f} MB, grid of {shipped.bits} bits; "
        f"validation {shipped.evaluation.val.accuracy:.2%} (as trained {shipped.val_accuracy_before:.2%}), "
        f"test {shipped.evaluation.test.text()}"
    )


@main.command(cls=Command, epilog=EPILOG)
@click.argument("models", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_data_option
@click.option("--vote", metavar="W,W,...", help="One weight per model in the soft vote.  [default: equal]")
@debug_option
def calibrate(*, models: tuple[Path, ...], data: Path, vote: str | None) -> None:
    """Fit the temperature of the vote of MODELS on validation images, and write it beside them for bt-export."""
    from braintumor.models.vote_calibration import parse_vote

    weights = parse_vote(vote, len(models))
    if min(weights) <= 0:
        raise click.UsageError(f"--vote {vote!r} must give each of the {len(models)} models a number above 0")
    from braintumor.training.data.dataset import load_dataset
    from braintumor.training.report.vote_calibration import calibrate_vote

    vote_file = calibrate_vote(models, weights, load_dataset(data))
    click.echo(f"{vote_file.path}: temperature {vote_file.calibration.temperature}")
    for part, (before, after) in vote_file.calibration.expected_calibration_error.items():
        click.echo(f"{part}: expected calibration error {before:.2%} before, {after:.2%} after")


@main.command(cls=Command, epilog=EPILOG)
@click.argument("small", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--into", type=click.Choice(list(CATALOG)), required=True, help="The larger backbone of its family.")
@click.option("--to", "target", type=_PATH, required=True, help="The .keras file to write, for --initial.")
@click.option("--seed", default=_DEFAULTS.seed, show_default=True, help="Of the weights that stay random.")
@debug_option
def grow(*, small: Path, into: str, target: Path, seed: int) -> None:
    """Grow the trained file SMALL into a larger backbone, from which training can begin."""
    from braintumor.training.fit.net2net import grow_file

    growth = grow_file(small, into, target, seed)
    click.echo(
        f"{target}: {growth.embedded} layers carried over, {growth.identities} blocks begin as the identity, "
        f"{growth.fresh} layers begin at random; train it with: bt-train {into} --initial {target} ..."
    )
