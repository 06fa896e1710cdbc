"""What bundles and references are called in a report: as in the latencies, and no two alike."""

from dataclasses import dataclass
from itertools import count

from braintumor.bench.accuracy.result import AccuracyResult, BundleResult, EnsembleResult

__all__ = ["Named", "ensembles", "named"]


@dataclass(frozen=True, slots=True)
class Named:
    """A bundle and what it is called.

    Attributes:
        key: Such as "fp32 on onnxruntime-cpu".
        result: What was found of it.
        reference_key: What its reference is called, such as "keras (fp32)"; "" without one.
    """

    key: str
    result: BundleResult
    reference_key: str


def named(accuracy: AccuracyResult) -> tuple[Named, ...]:
    """The bundles in their order.

    Of two that would be called alike the second becomes "… #2", as two bundles in folders of one name, or the
    originals of two ensembles.
    """
    taken: dict[str, object] = {}

    def key(one: EnsembleResult) -> str:
        whole = one.sha256 is not None
        base = f"{one.name} on {one.engine.name}" if whole else f"{one.name} ({one.precision})"
        identity = (one.sha256, one.engine.name) if whole else (one.name, one.scores)
        keys = (base if number == 1 else f"{base} #{number}" for number in count(1))
        return next(found for found in keys if taken.setdefault(found, identity) == identity)

    keys = [key(one) for one in accuracy.bundles]
    return tuple(
        Named(name, one, "" if one.reference is None else key(one.reference))
        for name, one in zip(keys, accuracy.bundles, strict=True)
    )


def ensembles(accuracy: AccuracyResult) -> dict[str, EnsembleResult]:
    """Key → how an ensemble does: every bundle, then every reference once."""
    bundles = named(accuracy)
    found: dict[str, EnsembleResult] = {one.key: one.result for one in bundles}
    for one in bundles:
        if one.result.reference is not None:
            found.setdefault(one.reference_key, one.result.reference)
    return found
