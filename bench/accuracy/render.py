"""A judgement as text: the verdict first, then the study's report, then what the verdict rests on."""

from collections.abc import Iterator, Sequence

from braintumor.bench.accuracy.comparison import Comparison
from braintumor.bench.accuracy.evaluate import Judged, Judgement
from braintumor.bench.metrics.classification import ClassScores, Scores
from braintumor.bench.metrics.intervals import (
    Share,
    bootstrap_interval,
    clopper_pearson_lower,
    clopper_pearson_upper,
    mcnemar_p,
    tango_interval,
)
from braintumor.runtime.bundle_lines import caution_lines

__all__ = ["judgement_lines"]

_LISTED = 20
_NAME_COLUMNS = 13


def judgement_lines(one: Judgement) -> Iterator[str]:
    """What is printed of one bundle."""
    deployed = one.deployed
    who = deployed.who
    yield f"{who.name} ({who.precision}, {(who.sha256 or '')[:12]}) on {who.engine.name} ({who.engine.version})"
    yield f"{one.verdict.status.upper()}: {one.verdict.reason}"
    yield from caution_lines(one.bundle)
    yield ""
    yield from _accuracy_lines(deployed)
    yield ""
    yield from _report_lines(deployed.vote)
    if one.comparison is not None and one.reference is not None:
        yield ""
        yield from _comparison_lines(one.comparison, one.reference)
    yield ""
    yield from _robustness_lines(one)
    for finding in one.verdict.findings:
        yield f"{'ok     ' if finding.passed else 'REFUSED'} {finding.check}: {finding.text}"


def _accuracy_lines(one: Judged) -> Iterator[str]:
    yield (
        f"accuracy {_certain(one.vote.right)}; loss {_figure(one.vote.loss)}, Brier {_figure(one.vote.brier)}, ECE "
        f"{_figure(one.vote.ece)}"
    )
    if one.near_duplicate_free is not None:
        yield f"without near-duplicates in training: {_certain(one.near_duplicate_free.right)}"
    for name, scores in one.members.items():
        yield f"  {name}: {_certain(scores.right)}"
    for what, share in (
        ("sick called healthy", one.vote.sick_called_healthy),
        ("healthy called sick", one.vote.healthy_called_sick),
    ):
        if share is not None:
            low, high = share.interval
            yield f"{what}: {share.count} of {share.total} ({_percent(low)} to {_percent(high)} with 95 % confidence)"


def _report_lines(scores: Scores) -> Iterator[str]:
    """As scikit-learn's `classification_report`, and the confusion matrix beside it."""
    width = max(map(len, scores.classes))
    yield f"{'':<{_NAME_COLUMNS}} precision  recall  f1-score  support   said: " + "  ".join(
        f"{name:>{width}}" for name in scores.classes
    )
    for name, line, row in zip(scores.classes, scores.per_class, scores.confusion, strict=True):
        counts = "  ".join(f"{count:>{width}}" for count in row)
        yield f"{_report_line(name, line)}         {counts}"
    yield f"{'accuracy':<{_NAME_COLUMNS}} {'':>9}  {'':>6}  {scores.accuracy:>8.4f}  {scores.right.total:>7}"
    yield _report_line("macro avg", scores.macro)
    yield _report_line("weighted avg", scores.weighted)


def _report_line(name: str, line: ClassScores) -> str:
    figures = f"{line.precision:>9.4f}  {line.recall:>6.4f}  {line.f1:>8.4f}  {line.support:>7}"
    return f"{name:<{_NAME_COLUMNS}} {figures}"


def _comparison_lines(found: Comparison, reference: Judged) -> Iterator[str]:
    vote = found.vote
    upper = clopper_pearson_upper(vote.flips.count, vote.flips.total)
    yield f"beside {reference.who.name} ({reference.who.engine.version}): {_certain(reference.vote.right)}"
    yield f"  {vote.flips.count} of {vote.flips.total} labels differ (at most {_percent(upper)}, one-sided 95 %)"
    yield (
        f"  accuracy {100 * vote.pairs.difference:+.2f} points: Tango {_points(tango_interval(vote.pairs))}, "
        f"bootstrap {_points(bootstrap_interval(vote.pairs))}; McNemar exact p = {mcnemar_p(vote.pairs):.3g}"
    )
    yield (
        f"  max |Δp| {_figure(vote.max_abs_difference)}, mean {_figure(vote.mean_abs_difference)}; KL mean "
        f"{_figure(vote.kl_mean)}, max {_figure(vote.kl_max)} nats; mean margin {_figure(vote.reference_margin)} "
        f"before, {_figure(vote.margin)} now"
    )
    for name, one in found.members.items():
        yield (
            f"  {name}: {one.flips.count} labels differ, {100 * one.pairs.difference:+.2f} points, max |Δp| "
            f"{_figure(one.max_abs_difference)}"
        )
    for flip in found.flips[:_LISTED]:
        told = flip.to_json()
        yield (
            f"  {flip.name} ({flip.truth}): {flip.reference_label} (margin {_figure(told['reference_margin'])}) "
            f"became {flip.label} ({_figure(told['margin'])})"
        )
    if len(found.flips) > _LISTED:
        yield f"  and {len(found.flips) - _LISTED} more, listed by --json FILE"


def _robustness_lines(one: Judgement) -> Iterator[str]:
    found = one.deployed.robustness
    if found is None:
        return
    yield f"labels that change on {found.images} images under"
    beside = one.reference.robustness if one.reference is not None else None
    for name, flips in found.flips.items():
        other = (
            ""
            if beside is None or one.reference is None
            else f" ({one.reference.who.name}: {beside.flips[name].count})"
        )
        yield f"  {name}: {flips.count}{other}"


def _certain(share: Share) -> str:
    low, high = share.interval
    lower = clopper_pearson_lower(share.count, share.total)
    one_sided = f", at least {_percent(lower)} one-sided" if share.count == share.total else ""
    interval = f"95 %: {_percent(low)} to {_percent(high)}{one_sided}"
    return f"{_percent(share.share)} ({share.count} of {share.total}; {interval})"


def _percent(share: float) -> str:
    return f"{100 * share:.2f} %"


def _points(interval: Sequence[float]) -> str:
    low, high = interval
    return f"{100 * low:+.2f} to {100 * high:+.2f}"


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"
