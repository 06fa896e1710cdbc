"""`bt-engine`: TensorRT plans of a bundle's members, built ahead of time, for RTX on a machine without a GPU, too."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from braintumor.command import EPILOG, Command, debug_option, require_signature_option, version_option

if TYPE_CHECKING:
    from braintumor.export.tensorrt.build import BuiltEngine

__all__ = ["main"]

# Names only: the modules that define them load ONNX, and --help must not.
_ENGINES = ("tensorrt-rtx", "tensorrt")
_HARDWARE = ("none", "same", "ampere+")


@click.command(cls=Command, epilog=EPILOG, sets={"capabilities": "capability"})
@click.argument("bundle", metavar="[BUNDLE]", required=False)
@click.option(
    "--engine",
    type=click.Choice(_ENGINES),
    default=_ENGINES[0],
    show_default=True,
    help="Engine of the plans; tensorrt needs the GPU that it builds for.",
)
@click.option(
    "--batch",
    metavar="MIN,BEST,MAX",
    default="1,8,32",
    show_default=True,
    help="Batch sizes that the plans run, and the one that they are tuned for.",
)
@click.option(
    "--capability",
    metavar="SM86,SM89,...",
    help="For tensorrt-rtx: compute capabilities of the GPUs.  [default: that of the GPU here; without one "
    "SM80,SM86,SM89,SM120]",
)
@click.option("--version-compatible", is_flag=True, help="For tensorrt: newer versions load the plans as well.")
@click.option(
    "--hardware-compatibility",
    type=click.Choice(_HARDWARE),
    default=_HARDWARE[0],
    show_default=True,
    help="For tensorrt: other GPUs of the same compute capability, or all from Ampere on, load the plans as well.",
)
@click.option("--device", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the GPU.")
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path),
    default=Path("plans"),
    show_default=True,
    help="Folder of the plans.",
)
@require_signature_option
@debug_option
@version_option
def engine(  # noqa: PLR0913 - one parameter an option
    *,
    bundle: str | None,
    engine: str,
    batch: str,
    capability: str | None,
    version_compatible: bool,
    hardware_compatibility: str,
    device: int,
    out: Path,
    public_key: Path | None,
) -> None:
    """Build a TensorRT plan of every member of a bundle, with a JSON file beside it that says what it is.

    bt-infer builds what it needs by itself, once a machine; this is for doing it beforehand: for other machines,
    for other batch sizes, or to see that a model builds at all. BUNDLE is a folder, by default the one exported last.
    """
    from braintumor.export.tensorrt.build import EngineOptions, build_engines
    from braintumor.runtime.bundle.load import load_bundle
    from braintumor.runtime.engines.tensorrt.build import BuildOptions
    from braintumor.runtime.engines.tensorrt.plan_cache import PLANS_VARIABLE
    from braintumor.runtime.engines.tensorrt.profile import BatchProfile
    from braintumor.runtime.inputs import choose_bundle

    capabilities = tuple(part.strip().upper() for part in capability.split(",")) if capability is not None else ()
    build = BuildOptions(BatchProfile.parse(batch), capabilities, version_compatible, hardware_compatibility)
    options = EngineOptions(engine, out, build, device)
    chosen = load_bundle(choose_bundle(bundle), public_key=public_key)
    for built in build_engines(chosen, options):
        click.echo(_line(built))
    click.echo(f"To use them: export {PLANS_VARIABLE}={out.absolute()}", err=True)


def _line(built: "BuiltEngine") -> str:
    facts = built.facts
    return (
        f"{built.path}: {built.member} for {', '.join(facts.compute_capabilities)}, batches {facts.profile}, "
        f"{facts.plan_bytes / 1e6:.1f} MB, built in {facts.build_s:.1f} s by {facts.library} {facts.library_version}"
    )


def main() -> None:
    """Run `bt-engine`."""
    engine()
