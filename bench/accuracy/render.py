"""The result of a bundle as text: the verdict, the scores, the comparison with the reference, the findings."""

from collections.abc import Iterator, Sequence

from braintumor.bench.accuracy.comparison import Comparison
from braintumor.bench.accuracy.result import BundleResult, EnsembleResult
from braintumor.bench.metrics.classification import MeanScores, Scores
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.bundle_lines import caution_lines

__all__ = ["evaluation_lines"]

_LISTED = 20
_NAME_COLUMNS = 13
_NO_IMAGES = MeanScores(0.0, 0.0, 0.0, 0)


def evaluation_lines(result: BundleResult, bundle: Bundle, classes: Sequence[str]) -> Iterator[str]:
    """Lines about one bundle for a terminal.

    Args:
        result: The result of the bundle.
        bundle: The bundle.
        classes: Names, in the order of the scores.
    """
    engine = result.engine
    yield f"{result.name} ({result.precision}, {(result.sha256 or '')[:12]}) on {engine.name} ({engine.version})"
    yield f"{result.verdict.status.upper()}: {result.verdict.reason}"
    yield from caution_lines(bundle)
    yield ""
    yield from _accuracy_lines(result)
    yield ""
    yield from _report_lines(result.scores, classes)
    if result.comparison is not None and result.reference is not None:
        yield ""
        yield from _comparison_lines(result.comparison, result.reference)
    yield ""
    yield from _robustness_lines(result)
    failed = "OPEN   " if result.verdict.status == "not shown" else "REFUSED"
    for finding in result.verdict.findings:
        yield f"{'ok     ' if finding.passed else failed} {finding.check}: {finding.text}"


def _accuracy_lines(result: EnsembleResult) -> Iterator[str]:
    scores = result.scores
    yield (
        f"accuracy {_accuracy(scores)}; loss {_figure(scores.loss)}, Brier {_figure(scores.brier)}, ECE "
        f"{_figure(scores.ece)}"
    )
    if result.near_duplicate_free is not None:
        yield f"without near-duplicates in training: {_accuracy(result.near_duplicate_free)}"
    for member in result.members:
        yield f"  {member.name}: {_accuracy(member.scores)}"
    for name, share in (
        ("sick called healthy", scores.false_negatives),
        ("healthy called sick", scores.false_positives),
    ):
        if share is not None:
            low, high = share.interval
            yield f"{name}: {share.count} of {share.total} ({_percent(low)} to {_percent(high)} with 95 % confidence)"


def _report_lines(scores: Scores, classes: Sequence[str]) -> Iterator[str]:
    """The lines of scikit-learn's `classification_report`, with the confusion matrix beside them."""
    width = max(map(len, classes))
    yield f"{'':<{_NAME_COLUMNS}} precision  recall  f1-score  support   said: " + "  ".join(
        f"{name:>{width}}" for name in classes
    )
    for name, row in zip(classes, scores.confusion, strict=True):
        counts = "  ".join(f"{count:>{width}}" for count in row)
        yield f"{_report_line(name, scores.per_class.get(name, _NO_IMAGES))}         {counts}"
    yield f"{'accuracy':<{_NAME_COLUMNS}} {'':>9}  {'':>6}  {scores.accuracy:>8.4f}  {scores.images:>7}"
    yield _report_line("macro avg", scores.macro)
    yield _report_line("weighted avg", scores.weighted)


def _report_line(name: str, line: MeanScores) -> str:
    figures = f"{line.precision:>9.4f}  {line.recall:>6.4f}  {line.f1:>8.4f}  {line.support:>7}"
    return f"{name:<{_NAME_COLUMNS}} {figures}"


def _comparison_lines(comparison: Comparison, reference: EnsembleResult) -> Iterator[str]:
    flips = comparison.flips
    yield f"beside {reference.name} ({reference.engine.version}): {_accuracy(reference.scores)}"
    upper = _percent(flips.upper_one_sided)
    yield f"  {flips.count} of {flips.total} labels differ (at most {upper}, one-sided 95 %)"
    yield (
        f"  accuracy {comparison.accuracy_difference_points:+.2f} points: Tango "
        f"{_points(comparison.tango_interval_points)}, bootstrap {_points(comparison.bootstrap_interval_points)}; "
        f"McNemar exact p = {comparison.mcnemar_p:.3g}"
    )
    yield (
        f"  max |Δp| {_figure(comparison.max_abs_difference)}, mean {_figure(comparison.mean_abs_difference)}; KL "
        f"mean {_figure(comparison.kl_mean_nats)}, max {_figure(comparison.kl_max_nats)} nats; mean margin "
        f"{_figure(comparison.reference_margin_mean)} before, {_figure(comparison.margin_mean)} now"
    )
    for name, metrics in comparison.members.items():
        yield (
            f"  {name}: {metrics.flips.count} labels differ, {metrics.accuracy_difference_points:+.2f} points, max "
            f"|Δp| {_figure(metrics.max_abs_difference)}"
        )
    for flip in comparison.flipped[:_LISTED]:
        yield (
            f"  {flip.name} ({flip.truth}): {flip.reference_label} (margin {_figure(flip.reference_margin)}) "
            f"became {flip.label} ({_figure(flip.margin)})"
        )
    if len(comparison.flipped) > _LISTED:
        yield f"  and {len(comparison.flipped) - _LISTED} more, listed by --json FILE"


def _robustness_lines(result: BundleResult) -> Iterator[str]:
    if result.robustness is None:
        return
    yield f"labels that change on {result.robustness.images} images under"
    reference = result.reference
    for name, perturbation in result.robustness.perturbations.items():
        beside = ""
        if reference is not None and reference.robustness is not None:
            beside = f" ({reference.name}: {reference.robustness.perturbations[name].flips.count})"
        yield f"  {name}: {perturbation.flips.count}{beside}"


def _accuracy(scores: Scores) -> str:
    low, high = scores.interval
    one_sided = f", at least {_percent(scores.lower_one_sided)} one-sided" if scores.correct == scores.images else ""
    interval = f"95 %: {_percent(low)} to {_percent(high)}{one_sided}"
    return f"{_percent(scores.accuracy)} ({scores.correct} of {scores.images}; {interval})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{low:+.2f} to {high:+.2f}"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
