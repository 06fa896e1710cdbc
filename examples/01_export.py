"""Export a Keras classifier and look at what was verified."""

import sys
from pathlib import Path

from braintumor.export import (
    ExportOptions,
    MemberOptions,
    default_models,
    export_bundle,
    verification_images,
)
from braintumor.models.labels import CLASSES

target = Path(sys.argv[1] if len(sys.argv) > 1 else "bundles/example")

members = tuple(MemberOptions(path, path.stem, weight=1.0, classes=CLASSES) for path in default_models())
options = ExportOptions(
    members,
    precision="fp32",
    folder=target,
    name="example",
    images=verification_images(None),
    command="examples/01_export.py",
)
bundle = export_bundle(options)

for member in bundle.members:
    parity = member.details["parity"]["by_batch"]["32"]
    print(f"{member.name}: max |dp| {parity['max_abs_difference']:.1e} on {parity['images']} images")
