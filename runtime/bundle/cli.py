"""`bt-bundle`: look at bundles, sign and verify them, copy and remove them."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from braintumor.command import EPILOG, Command, Group, debug_option, require_signature_option, version_option
from braintumor.errors import IntegrityError, UsageError

__all__ = ["main"]

_DIFFERENT = 3
_PATH = click.Path(path_type=Path)

_bundle_argument = click.argument("bundle", type=_PATH)
_format_option = click.option(
    "--format", "form", type=click.Choice(("text", "json")), default="text", show_default=True
)


@click.group(cls=Group, epilog=EPILOG)
@version_option
def main() -> None:
    """Look at bundles, sign and verify them, copy and remove them."""


@main.command(cls=Command, epilog=EPILOG)
@_bundle_argument
@require_signature_option
@_format_option
@debug_option
def show(*, bundle: Path, public_key: Path | None, form: str) -> None:
    """Show what BUNDLE is: identity, members, precision, classes, verdict, cascade, signature, sizes."""
    from braintumor.runtime.bundle.load import load_bundle
    from braintumor.runtime.bundle.render import summary_lines
    from braintumor.runtime.bundle.summary import summarise

    summary = summarise(load_bundle(bundle, public_key=public_key))
    click.echo(_json(summary.to_dict()) if form == "json" else "\n".join(summary_lines(summary)))


@main.command("list", cls=Command, epilog=EPILOG)
@click.argument("folder", type=_PATH, default=Path("bundles"))
@require_signature_option
@_format_option
@debug_option
def list_bundles(*, folder: Path, public_key: Path | None, form: str) -> None:
    """List the bundles in FOLDER, by default ./bundles. Each is verified; exit code 4 when one is damaged."""
    from braintumor.runtime.bundle.load import load_bundle
    from braintumor.runtime.bundle.render import list_line
    from braintumor.runtime.bundle.summary import summarise
    from braintumor.runtime.inputs import bundles_in

    bundles = bundles_in(folder)
    if not bundles:
        raise UsageError(f"{folder} holds no bundle", "name a folder with bundles in it, or make one with bt-export")
    columns = max(len(path.name) for path in bundles)
    documents: list[dict[str, Any]] = []
    damaged = False
    for path in bundles:
        try:
            summary = summarise(load_bundle(path, public_key=public_key))
        except IntegrityError as error:
            damaged = True
            documents.append({"folder": str(path.absolute()), "error": str(error)})
            line = f"{path.name:{columns}}  {error.message}"
        else:
            documents.append(summary.to_dict())
            line = list_line(summary, columns)
        if form == "text":
            click.echo(line)
    if form == "json":
        click.echo(_json(documents))
    if damaged:
        sys.exit(IntegrityError.exit_code)


@main.command(cls=Command, epilog=EPILOG)
@_bundle_argument
@click.option("--key", metavar="KEY", type=_PATH, required=True, help="Private key, a PEM file.")
@debug_option
def sign(*, bundle: Path, key: Path) -> None:
    """Sign BUNDLE, and its verdict where it has one. Older signatures are replaced.

    The key is elliptic, on P-256, P-384 or P-521. The passphrase of an encrypted one is asked for, or taken from
    $BRAINTUMOR_KEY_PASSPHRASE.
    """
    from braintumor.runtime.bundle.folder import VERDICT
    from braintumor.runtime.bundle.passphrase import read_key_with_passphrase
    from braintumor.runtime.bundle.sign import sign_bundle

    signing_key = read_key_with_passphrase(key)
    signed = sign_bundle(bundle, signing_key)
    verdict = " and its verdict" if (signed.folder / VERDICT).is_file() else ""
    click.echo(f"{bundle}{verdict}: signed by the key {signing_key.sha256[:12]}")


@main.command(cls=Command, epilog=EPILOG)
@_bundle_argument
@click.option("--public-key", metavar="PUBKEY", type=_PATH, required=True, help="Public key, a PEM file.")
@debug_option
def verify(*, bundle: Path, public_key: Path) -> None:
    """Verify that BUNDLE is signed with a key, and that no file was changed, added or removed since."""
    from braintumor.runtime.bundle.load import load_bundle
    from braintumor.runtime.bundle.render import signature_text
    from braintumor.runtime.bundle.summary import summarise

    summary = summarise(load_bundle(bundle, public_key=public_key))
    click.echo(f"{bundle}: signed {signature_text(summary.signature)}")


@main.command(cls=Command, epilog=EPILOG)
@click.argument("first", type=_PATH)
@click.argument("second", type=_PATH)
@require_signature_option
@_format_option
@debug_option
def diff(*, first: Path, second: Path, public_key: Path | None, form: str) -> None:
    """Say what differs between two bundles. Exit code 3 when they may answer differently."""
    from braintumor.runtime.bundle.difference import differences
    from braintumor.runtime.bundle.load import load_bundle
    from braintumor.runtime.bundle.render import difference_lines

    bundles = load_bundle(first, public_key=public_key), load_bundle(second, public_key=public_key)
    same_identity = bundles[0].sha256 == bundles[1].sha256
    listed = differences(*bundles)
    if form == "json":
        click.echo(
            _json({"same_identity": same_identity, "differences": [asdict(difference) for difference in listed]})
        )
    else:
        click.echo("\n".join(difference_lines(listed, same_identity=same_identity)))
    if not same_identity:
        sys.exit(_DIFFERENT)


@main.command(cls=Command, epilog=EPILOG)
@_bundle_argument
@click.argument("target", metavar="DIR", type=_PATH)
@require_signature_option
@debug_option
def copy(*, bundle: Path, target: Path, public_key: Path | None) -> None:
    """Copy BUNDLE to DIR, or into it where it is there, and verify the copy."""
    from braintumor.runtime.bundle.transfer import copy_bundle

    click.echo(f"{bundle}: copied to {copy_bundle(bundle, target, public_key)}, and verified there")


@main.command(cls=Command, epilog=EPILOG)
@_bundle_argument
@click.option("--yes", is_flag=True, help="Do not ask.")
@debug_option
def remove(*, bundle: Path, yes: bool) -> None:
    """Remove BUNDLE, damaged or not; refused where the folder holds anything else."""
    from braintumor.runtime.bundle.transfer import check_removable, remove_bundle

    check_removable(bundle)
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{bundle} would be removed for good, and nobody can be asked", "add --yes")
        if not click.confirm(f"Remove {bundle.absolute()} for good?", err=True):
            click.echo(f"{bundle}: kept")
            return
    remove_bundle(bundle)
    click.echo(f"{bundle}: removed")


def _json(document: object) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False)
