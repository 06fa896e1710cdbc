"""Unique names of bundles and references in a report, the same as in the latencies."""

from dataclasses import dataclass
from itertools import count

from braintumor.bench.accuracy.result import AccuracyResult, BundleResult, EnsembleResult

__all__ = ["NamedBundle", "ensembles_by_key", "named_bundles"]


@dataclass(frozen=True, slots=True)
class NamedBundle:
    """A bundle and its name.

    Attributes:
        key: Such as "fp32 on onnxruntime-cpu".
        result: Its evaluation.
        reference_key: The name of its reference, such as "keras (fp32)"; "" without one.
    """

    key: str
    result: BundleResult
    reference_key: str


def named_bundles(accuracy: AccuracyResult) -> tuple[NamedBundle, ...]:
    """Name the bundles, in their order.

    The second of two with the same name becomes "… #2": bundles in folders of one name, or the originals of two
    ensembles.
    """
    owners: dict[str, object] = {}

    def unique_key(ensemble: EnsembleResult) -> str:
        is_bundle = ensemble.sha256 is not None
        engine, precision = ensemble.engine.name, ensemble.precision
        base = f"{ensemble.name} on {engine}" if is_bundle else f"{ensemble.name} ({precision})"
        identity = (ensemble.sha256, engine) if is_bundle else (ensemble.name, ensemble.scores)
        keys = (base if number == 1 else f"{base} #{number}" for number in count(1))
        return next(key for key in keys if owners.setdefault(key, identity) == identity)

    keys = [unique_key(bundle) for bundle in accuracy.bundles]
    return tuple(
        NamedBundle(key, bundle, "" if bundle.reference is None else unique_key(bundle.reference))
        for key, bundle in zip(keys, accuracy.bundles, strict=True)
    )


def ensembles_by_key(accuracy: AccuracyResult) -> dict[str, EnsembleResult]:
    """List every bundle, then every reference once, by its name."""
    bundles = named_bundles(accuracy)
    ensembles: dict[str, EnsembleResult] = {bundle.key: bundle.result for bundle in bundles}
    for bundle in bundles:
        if bundle.result.reference is not None:
            ensembles.setdefault(bundle.reference_key, bundle.result.reference)
    return ensembles
