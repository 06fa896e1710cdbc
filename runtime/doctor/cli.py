"""`bt-doctor`: what this machine can run, and how to fix it where it cannot."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from braintumor.command import EPILOG, Command, debug_option, in_options, version_option
from braintumor.errors import UnavailableError

if TYPE_CHECKING:
    from braintumor.runtime.doctor.diagnosis import Diagnosis

__all__ = ["main"]


@click.command(cls=Command, epilog=EPILOG)
@click.option("--json", "as_json", is_flag=True, help="One JSON object (braintumor.doctor/1) instead of tables.")
@click.option(
    "--limit",
    "limit_s",
    metavar="SECONDS",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time limit for each library and engine.",
)
@debug_option
@version_option
def doctor(*, as_json: bool, limit_s: float) -> None:
    """Show what this machine has, which engines are usable, why the others are not, and how to fix them.

    Exit code 0 when at least one engine answers, 5 when none does.
    """
    from braintumor.runtime.doctor.diagnosis import diagnose
    from braintumor.runtime.doctor.render import write_json, write_tables

    diagnosis = _with_options(diagnose(limit_s=limit_s))
    (write_json if as_json else write_tables)(diagnosis, sys.stdout)
    if not diagnosis.usable:
        raise UnavailableError("no engine is usable on this machine", "see above how to fix each")


def _with_options(diagnosis: "Diagnosis") -> "Diagnosis":
    """The same with options of `bt-infer` in the remedies."""
    from braintumor.runtime.cli import infer

    def options(text: str) -> str:
        return in_options(text, infer)

    return replace(
        diagnosis,
        engines=tuple(replace(engine, remedy=options(engine.remedy)) for engine in diagnosis.engines),
        libraries=tuple(replace(library, remedy=options(library.remedy)) for library in diagnosis.libraries),
        bundle=replace(diagnosis.bundle, reason=options(diagnosis.bundle.reason)),
    )


def main() -> None:
    """Run `bt-doctor`."""
    doctor()
