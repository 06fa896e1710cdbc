"""The verdicts of a report as sentences, with the figures that carry them."""

from collections.abc import Iterator
from dataclasses import dataclass

from braintumor.bench.accuracy.result import AccuracyResult, BundleResult
from braintumor.bench.latency.result import LatencyResult, RunnerResult
from braintumor.bench.metrics.ratio import Ratio
from braintumor.bench.report.format import ms_text, share_text
from braintumor.bench.report.naming import NamedBundle, named_bundles

__all__ = ["Statement", "statements"]


@dataclass(frozen=True, slots=True)
class Statement:
    """The verdict on one bundle, in words, with the figures that carry it.

    Attributes:
        name: Of the bundle on its engine.
        status: "accepted", "refused", "not shown" (too few images), "unjudged" (there was no reference), or
            "timed" (nothing was judged).
        sentences: The most important first.
    """

    name: str
    status: str
    sentences: tuple[str, ...]


def statements(accuracy: AccuracyResult | None, latency: LatencyResult | None) -> tuple[Statement, ...]:
    """Give one verdict a bundle; of bundles that were only timed, how fast they are."""
    bundles = () if accuracy is None else named_bundles(accuracy)
    verdicts = [_verdict(bundle, latency) for bundle in bundles]
    if latency is None:
        return tuple(verdicts)
    evaluated = {_identity(bundle.result) for bundle in bundles}
    timed = [
        Statement(runner.key, "timed", tuple(_speed(_identity(runner), latency)))
        for runner in latency.runners
        if runner.kind == "bundle" and _identity(runner) not in evaluated
    ]
    return (*verdicts, *timed)


def _verdict(bundle: NamedBundle, latency: LatencyResult | None) -> Statement:
    result, scores = bundle.result, bundle.result.scores
    sentences = [_sentence(result.verdict.reason), f"It decides {share_text(scores)} rightly{_reference(bundle)}."]
    if (free := result.near_duplicate_free) is not None:
        sentences.append(f"On the images of which training has seen no near-duplicate: {share_text(free)}.")
    for share, name, other in (
        (scores.false_negatives, "sick", "healthy"),
        (scores.false_positives, "healthy", "sick"),
    ):
        if share is not None:
            low, high = (100 * end for end in share.interval)
            verb = "is" if share.count == 1 else "are"
            sentences.append(
                f"Of {share.total} {name}, {share.count} {verb} called {other}: with 95 % confidence the share "
                f"lies between {low:.2f} and {high:.2f} %."
            )
    if latency is not None:
        sentences += _speed(_identity(result), latency)
    return Statement(bundle.key, result.verdict.status, tuple(sentences))


def _reference(bundle: NamedBundle) -> str:
    reference = bundle.result.reference
    return "" if reference is None else f", its reference {bundle.reference_key} {share_text(reference.scores)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _identity(result: BundleResult | RunnerResult) -> tuple[str | None, str]:
    """Bundle and engine, whatever they are called."""
    return result.sha256, result.engine.name


def _speed(identity: tuple[str | None, str], latency: LatencyResult) -> Iterator[str]:
    """Say how fast it is, alone and compared with the baselines."""
    for runner in latency.runners:
        if _identity(runner) != identity:
            continue
        small, large = runner.batches[0], runner.batches[-1]
        times = f"{ms_text(small.p50_ms)} ms (95th percentile {ms_text(small.p95_ms)})"
        rate = f"{large.images_per_s:.3g} images a second"
        throughput = f", {rate}" if large is small else f"; in batches of {large.batch} it gives {rate}"
        memory = "" if large.peak_rss_mb is None else f", with {large.peak_rss_mb:,.0f} MB at the peak"
        yield f"An answer to {_images(small.batch)} takes {times}{throughput}{memory}."
        yield from _ratios(runner.key, large.batch, latency)


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"


def _ratios(key: str, batch: int, latency: LatencyResult) -> Iterator[str]:
    baselines = {runner.key for runner in latency.runners if runner.kind == "peer"}
    for comparison in latency.comparisons:
        if comparison.batch == batch and comparison.first == key and comparison.second in baselines:
            doubt = "" if comparison.stable else " (the machine was disturbed)"
            ratio = f"{comparison.ratio.median:.2f} {_interval(comparison.ratio)}"
            work = f"{_images(batch)}, measured pair by pair{doubt}"
            yield f"{comparison.second} takes {ratio} times as long for {work}."


def _interval(ratio: Ratio) -> str:
    return f"[{ratio.low:.2f}, {ratio.high:.2f}]"
