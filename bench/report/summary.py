"""The verdict of a report in words, with the figures that carry it."""

from collections.abc import Iterator
from dataclasses import dataclass

from braintumor.bench.accuracy.result import AccuracyResult, BundleResult
from braintumor.bench.latency.result import ContenderResult, LatencyResult
from braintumor.bench.metrics.ratio import Ratio
from braintumor.bench.report.format import ms_text, share_text
from braintumor.bench.report.naming import Named, named

__all__ = ["Statement", "statements"]


@dataclass(frozen=True, slots=True)
class Statement:
    """The verdict on one bundle, in words, with the figures that carry it.

    Attributes:
        name: Of the bundle on its engine.
        status: "accepted", "refused", "unjudged" (there was no reference), or "timed" (nothing was judged).
        sentences: The most important first.
    """

    name: str
    status: str
    sentences: tuple[str, ...]


def statements(accuracy: AccuracyResult | None, latency: LatencyResult | None) -> tuple[Statement, ...]:
    """One verdict a bundle; of bundles that were only timed, how fast they are."""
    judged = () if accuracy is None else named(accuracy)
    told = {_what(one.result) for one in judged}
    found = [_judged(one, latency) for one in judged]
    if latency is not None:
        found += [
            Statement(one.key, "timed", tuple(_speed(_what(one), latency)))
            for one in latency.contenders
            if one.kind == "bundle" and _what(one) not in told
        ]
    return tuple(found)


def _judged(one: Named, latency: LatencyResult | None) -> Statement:
    result, scores = one.result, one.result.scores
    told = [_sentence(result.verdict.reason), f"It decides {share_text(scores)} rightly{_beside(one)}."]
    if (free := result.near_duplicate_free) is not None:
        told.append(f"On the images of which training has seen no near-duplicate: {share_text(free)}.")
    for share, name, other in (
        (scores.sick_called_healthy, "sick", "healthy"),
        (scores.healthy_called_sick, "healthy", "sick"),
    ):
        if share is not None:
            low, high = (100 * end for end in share.interval)
            verb = "is" if share.count == 1 else "are"
            told.append(
                f"Of {share.total} {name}, {share.count} {verb} called {other}: with 95 % confidence the share "
                f"lies between {low:.2f} and {high:.2f} %."
            )
    if latency is not None:
        told += _speed(_what(result), latency)
    return Statement(one.key, result.verdict.status, tuple(told))


def _beside(one: Named) -> str:
    reference = one.result.reference
    return "" if reference is None else f", its reference {one.reference_key} {share_text(reference.scores)}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _what(one: BundleResult | ContenderResult) -> tuple[str | None, str]:
    """Which bundle on which engine, whatever it is called."""
    return one.sha256, one.engine.name


def _speed(which: tuple[str | None, str], latency: LatencyResult) -> Iterator[str]:
    """How fast it is, and beside whom."""
    for one in latency.contenders:
        if _what(one) != which:
            continue
        small, large = one.batches[0], one.batches[-1]
        times = f"{ms_text(small.p50_ms)} ms (95th percentile {ms_text(small.p95_ms)})"
        told = f"An answer to {_images(small.batch)} takes {times}"
        rate = f"{large.images_per_s:.3g} images a second"
        told += f", {rate}" if large is small else f"; in batches of {large.batch} it gives {rate}"
        memory = "" if large.peak_rss_mb is None else f", with {large.peak_rss_mb:,.0f} MB at the peak"
        yield f"{told}{memory}."
        yield from _ratios(one.key, large.batch, latency)


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"


def _ratios(key: str, batch: int, latency: LatencyResult) -> Iterator[str]:
    peers = {one.key for one in latency.contenders if one.kind == "peer"}
    for one in latency.comparisons:
        if one.batch == batch and one.first == key and one.second in peers:
            doubt = "" if one.stable else " (the machine was disturbed)"
            ratio = f"{one.ratio.median:.2f} {_ends(one.ratio)}"
            yield f"{one.second} takes {ratio} times as long for {_images(batch)}, measured pair by pair{doubt}."


def _ends(ratio: Ratio) -> str:
    return f"[{ratio.low:.2f}, {ratio.high:.2f}]"
