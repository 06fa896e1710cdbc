"""Answer images from Python, one by one and many at a time."""

import sys
from pathlib import Path

import braintumor

# Without a bundle: the default of ./bundles, or the models that come with the package, exported at the first time.
bundle = sys.argv[1] if len(sys.argv) > 1 else None
scan = Path(__file__).with_name("scan.png")

with braintumor.Ensemble.load(bundle) as ensemble:
    record = ensemble.predict(scan)
    print(f"{record.label}, {record.probabilities[record.label]:.1%}, on {record.engine['provider']}")

    # An iterator: memory stays flat, the order is kept, a bad file gives a record with its error.
    for record in ensemble.predict_many([scan, "missing.png", scan], batch_size=2):
        print(record.status, record.label or record.error["message"])
