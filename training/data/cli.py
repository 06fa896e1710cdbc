"""`bt-data`: fetch, prepare and audit the data set."""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from braintumor.command import EPILOG, Command, Group, debug_option, version_option
from braintumor.errors import UnavailableError
from braintumor.progress import ProgressDisplay

if TYPE_CHECKING:
    from braintumor.bench.data.manifest import Split
    from braintumor.training.data.dataset import Dataset
    from braintumor.training.data.shortcuts import ShortcutAudit

__all__ = ["main"]

_KAGGLE = "masoudnickparvar/brain-tumor-mri-dataset"
_LICENCE = f"""\
The images come from the Kaggle data set {_KAGGLE}, a union of three published sets
(figshare by Cheng et al., SARTAJ, Br35H). All rights belong to the original contributors: read the licence on
https://www.kaggle.com/datasets/{_KAGGLE} before you use or pass on the images. Kaggle may ask for an account;
credentials go into ~/.kaggle/kaggle.json and are never seen by this program."""

_SOME_FAILED = 3


@click.group(cls=Group, epilog=EPILOG)
@version_option
def main() -> None:
    """Get the brain MRI data set into shape, and see what is wrong with it."""


@main.command(cls=Command, epilog=EPILOG)
@click.option("--yes", is_flag=True, help="You have read the licence.")
@debug_option
def fetch(*, yes: bool) -> None:
    """Download the data set from Kaggle.

    Nothing else here opens a network connection, but `bt-train --initial imagenet`.
    """
    click.echo(_LICENCE, err=True)
    if not yes:
        click.confirm("Download about 150 MB?", abort=True, err=True)
    from braintumor.optional import require

    kagglehub = require("kagglehub", extra="data", purpose="downloading from Kaggle")
    try:
        folder = kagglehub.dataset_download(_KAGGLE)
    except Exception as error:
        # kagglehub raises what its HTTP library raises: no common base to catch.
        raise UnavailableError(
            f"{_KAGGLE} cannot be downloaded ({type(error).__name__}: {error})",
            "check the network and the account, or download the archive with a browser and run: bt-data prepare "
            "archive.zip",
        ) from error
    click.echo(folder)
    click.echo(f"next: bt-data prepare {folder}", err=True)


@main.command(cls=Command, epilog=EPILOG)
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("brain-mri-224.npz"), show_default=True)
@click.option("--manifest", type=click.Path(path_type=Path), help="CSV of another split.  [default: our own]")
@click.option(
    "--tumour-only", type=click.Path(exists=True, path_type=Path), help="Slices with a tumour of unknown type."
)
@click.option("--tumour-parts", type=click.Path(path_type=Path), help="CSV file,part: which are train, which dev.")
@click.option("--incomplete", is_flag=True, help="Write the file although images are missing.")
@click.option("--findings", type=click.Path(path_type=Path), help="JSON file for all that is missing, foreign, …")
@debug_option
def prepare(
    *,
    source: Path,
    out: Path,
    manifest: Path | None,
    tumour_only: Path | None,
    tumour_parts: Path | None,
    incomplete: bool,
    findings: Path | None,
) -> None:
    """Match a copy of the data set (folder or .zip) with the 5618/702/703 split and write one file.

    SOURCE has one folder a class (glioma, healthy or notumor, meningioma, pituitary) at any depth. --tumour-only adds
    a folder or .zip of slices of other collections, whose tumours are of unknown type: training learns from them that
    they are not healthy.
    """
    from braintumor.bench.data.manifest import SPLITS, TEST_SUPPORTS, read_manifest
    from braintumor.training.data.dataset import save_dataset
    from braintumor.training.data.prepare import prepare_dataset, unpacked

    rows = read_manifest(manifest)
    with unpacked(source) as folder, ProgressDisplay() as display:
        display.begin("reading", len(rows))
        preparation = prepare_dataset(folder, rows, tick=display.tick)
    parts = preparation.parts | (_tumours(tumour_only, tumour_parts) if tumour_only else {})
    if findings:
        _write_json(findings, preparation.to_json())
    for line in preparation.findings():
        click.echo(line, err=True)
    for split in SPLITS:
        supports = ", ".join(f"{name} {number}" for name, number in preparation.supports(split).items())
        click.echo(f"{split:5} {len(preparation.parts[split]):5}  {supports}")
    if manifest is None and preparation.supports("test") != TEST_SUPPORTS:
        expected = ", ".join(f"{name} {number}" for name, number in TEST_SUPPORTS.items())
        click.echo(f"the test part differs from the study's ({expected})", err=True)
    if not preparation.complete and not incomplete:
        click.echo(
            f"{len(preparation.missing)} images of the manifest are missing: nothing was written; get a complete "
            "copy with bt-data fetch, or go on with --incomplete (your figures are then on other images than ours); "
            "--findings FILE lists all",
            err=True,
        )
        sys.exit(_SOME_FAILED)
    if lacking := preparation.lacking():
        click.echo(f"no usable image for {', '.join(lacking)}: nothing was written; get a complete copy", err=True)
        sys.exit(_SOME_FAILED)
    save_dataset(out, parts)
    click.echo(f"{out}  {out.stat().st_size / 1e6:.0f} MB")


def _tumours(source: Path, parts: Path | None) -> "dict[Split, Dataset]":
    from braintumor.training.data.prepare import unpacked
    from braintumor.training.data.tumours import read_parts, read_tumours

    with unpacked(source) as folder, ProgressDisplay() as display:
        display.begin("reading slices with a tumour")
        tumours = read_tumours(folder, read_parts(parts) if parts else None)
    for line in tumours.unreadable:
        click.echo(f"unreadable: {line}", err=True)
    for split, data in tumours.parts.items():
        click.echo(f"{split:12} {len(data):5}  a tumour of unknown type")
    return tumours.parts


@main.command(cls=Command, epilog=EPILOG)
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), default=Path("audit"), show_default=True, help="Folder.")
@debug_option
def audit(*, data: Path, out: Path) -> None:
    """Look for what makes figures on a collection better than they are.

    DATA is a file of bt-data prepare (copies, near-duplicates, leakage, shortcuts in the pixels) or a folder or .zip
    with one folder a class (shortcuts in the files and the pixels: what tells the class without anatomy). Writes
    audit.html and audit.json or shortcuts.json.
    """
    from braintumor.files import output_error

    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from error
    prepared = data.is_file() and data.suffix.lower() != ".zip"
    for line in _audit_prepared(data, out) if prepared else _audit_folder(data, out):
        click.echo(line)
    click.echo(f"see {out / 'audit.html'}")


def _audit_prepared(data: Path, out: Path) -> Iterator[str]:
    from braintumor.bench.data.manifest import SPLITS
    from braintumor.models.labels import CLASSES
    from braintumor.training.data.audit import NEAR, audit_dataset
    from braintumor.training.data.audit_page import audit_page
    from braintumor.training.data.dataset import load_dataset
    from braintumor.training.data.shortcuts import audit_shortcuts, columns, pixel_cues

    parts = load_dataset(data)
    with ProgressDisplay() as display:
        display.begin("hashing and comparing")
        findings, pairs = audit_dataset(parts)
        display.begin("measuring what is not anatomy")
        shown = [parts[split] for split in SPLITS]
        names = [name for part in shown for name in part.files]
        cues = columns([pixel_cues(image) for part in shown for image in part.images], names)
        labels = [CLASSES[int(label)] for part in shown for label in part.labels]
        shortcuts = audit_shortcuts(cues, labels, tick=lambda name: display.begin(f"telling classes from {name}"))
    _write_json(out / "audit.json", findings.to_json())
    _write_json(out / "shortcuts.json", shortcuts.to_json())
    _write(out / "audit.html", audit_page(findings, pairs, parts, shortcuts))
    yield (
        f"{findings.images} images, {findings.exact_extras} exact copies, {findings.test_with_exact_copy} test "
        f"images with an exact copy and {findings.test_with_neighbour[NEAR]} with a neighbour "
        f"at {NEAR} bits or fewer in train or val"
    )
    yield from _shortcut_lines(shortcuts)


def _audit_folder(data: Path, out: Path) -> Iterator[str]:
    from braintumor.training.data.prepare import unpacked
    from braintumor.training.data.shortcuts import audit_shortcuts, read_folder
    from braintumor.training.data.shortcuts_page import shortcuts_page

    with unpacked(data) as folder, ProgressDisplay() as display:
        display.begin("reading")
        cues, labels, unreadable = read_folder(folder, tick=display.tick)
        shortcuts = audit_shortcuts(
            cues, labels, unreadable=unreadable, tick=lambda name: display.begin(f"telling classes from {name}")
        )
    for line in unreadable:
        click.echo(f"unreadable: {line}", err=True)
    _write_json(out / "shortcuts.json", shortcuts.to_json())
    _write(out / "audit.html", shortcuts_page(shortcuts))
    yield from _shortcut_lines(shortcuts)


def _shortcut_lines(audit: "ShortcutAudit") -> Iterator[str]:
    answer = "healthy or not" if audit.healthy_chance else "the class"
    chance = audit.healthy_chance or audit.chance
    yield f"{answer}, told without anatomy (chance {100 * chance.share:.1f} %):"
    for cue in audit.cues:
        yield f"  {100 * (cue.healthy or cue.classes).share:5.1f} %  {cue.name}"


def _write_json(path: Path, document: Mapping[str, Any]) -> None:
    _write(path, json.dumps(document, indent=1, ensure_ascii=False))


def _write(path: Path, text: str) -> None:
    from braintumor.files import atomic_text

    with atomic_text(path) as stream:
        stream.write(text)
