"""A judgement as text: the verdict first, then the study's report, then what the verdict rests on."""

from collections.abc import Iterator, Sequence

from braintumor.bench.accuracy.comparison import Comparison
from braintumor.bench.accuracy.result import BundleResult, EnsembleResult
from braintumor.bench.metrics.classification import MeanScores, Scores
from braintumor.runtime.bundle.load import Bundle
from braintumor.runtime.bundle_lines import caution_lines

__all__ = ["judgement_lines"]

_LISTED = 20
_NAME_COLUMNS = 13
_NO_IMAGES = MeanScores(0.0, 0.0, 0.0, 0)


def judgement_lines(one: BundleResult, bundle: Bundle, classes: Sequence[str]) -> Iterator[str]:
    """What is printed of one bundle.

    Args:
        one: What was found.
        bundle: Of what.
        classes: Names, in the order of the scores.
    """
    yield f"{one.name} ({one.precision}, {(one.sha256 or '')[:12]}) on {one.engine.name} ({one.engine.version})"
    yield f"{one.verdict.status.upper()}: {one.verdict.reason}"
    yield from caution_lines(bundle)
    yield ""
    yield from _accuracy_lines(one)
    yield ""
    yield from _report_lines(one.scores, classes)
    if one.comparison is not None and one.reference is not None:
        yield ""
        yield from _comparison_lines(one.comparison, one.reference)
    yield ""
    yield from _robustness_lines(one)
    for finding in one.verdict.findings:
        yield f"{'ok     ' if finding.passed else 'REFUSED'} {finding.check}: {finding.text}"


def _accuracy_lines(one: EnsembleResult) -> Iterator[str]:
    scores = one.scores
    yield (
        f"accuracy {_certain(scores)}; loss {_figure(scores.loss)}, Brier {_figure(scores.brier)}, ECE "
        f"{_figure(scores.ece)}"
    )
    if one.near_duplicate_free is not None:
        yield f"without near-duplicates in training: {_certain(one.near_duplicate_free)}"
    for member in one.members:
        yield f"  {member.name}: {_certain(member.scores)}"
    for what, share in (
        ("sick called healthy", scores.sick_called_healthy),
        ("healthy called sick", scores.healthy_called_sick),
    ):
        if share is not None:
            low, high = share.interval
            yield f"{what}: {share.count} of {share.total} ({_percent(low)} to {_percent(high)} with 95 % confidence)"


def _report_lines(scores: Scores, classes: Sequence[str]) -> Iterator[str]:
    """As scikit-learn's `classification_report`, and the confusion matrix beside it."""
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


def _comparison_lines(found: Comparison, reference: EnsembleResult) -> Iterator[str]:
    flips = found.flips
    yield f"beside {reference.name} ({reference.engine.version}): {_certain(reference.scores)}"
    most = _percent(flips.upper_one_sided)
    yield f"  {flips.count} of {flips.total} labels differ (at most {most}, one-sided 95 %)"
    yield (
        f"  accuracy {found.accuracy_difference_points:+.2f} points: Tango {_points(found.tango_interval_points)}, "
        f"bootstrap {_points(found.bootstrap_interval_points)}; McNemar exact p = {found.mcnemar_p:.3g}"
    )
    yield (
        f"  max |Δp| {_figure(found.max_abs_difference)}, mean {_figure(found.mean_abs_difference)}; KL mean "
        f"{_figure(found.kl_mean_nats)}, max {_figure(found.kl_max_nats)} nats; mean margin "
        f"{_figure(found.reference_margin_mean)} before, {_figure(found.margin_mean)} now"
    )
    for name, one in found.members.items():
        yield (
            f"  {name}: {one.flips.count} labels differ, {one.accuracy_difference_points:+.2f} points, max |Δp| "
            f"{_figure(one.max_abs_difference)}"
        )
    for flip in found.flipped[:_LISTED]:
        yield (
            f"  {flip.name} ({flip.truth}): {flip.reference_label} (margin {_figure(flip.reference_margin)}) "
            f"became {flip.label} ({_figure(flip.margin)})"
        )
    if len(found.flipped) > _LISTED:
        yield f"  and {len(found.flipped) - _LISTED} more, listed by --json FILE"


def _robustness_lines(one: BundleResult) -> Iterator[str]:
    if one.robustness is None:
        return
    yield f"labels that change on {one.robustness.images} images under"
    beside = one.reference.robustness if one.reference is not None else None
    for name, found in one.robustness.perturbations.items():
        other = ""
        if beside is not None and one.reference is not None:
            other = f" ({one.reference.name}: {beside.perturbations[name].flips.count})"
        yield f"  {name}: {found.flips.count}{other}"


def _certain(scores: Scores) -> str:
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
