"""A latency result as lines for a terminal."""

from collections.abc import Iterator, Sequence

from braintumor.bench.latency.result import BatchTimes, Comparison, ContenderResult, LatencyResult

__all__ = ["latency_lines"]


def latency_lines(result: LatencyResult) -> Iterator[str]:
    """Times, comparisons, and what has to be said about them."""
    images = result.images
    decided = "the same" if images.decided == images.count else f"all {images.decided}"
    yield f"{images.count} images ({images.source}); decisions on {decided}"
    ours = {one.key for one in result.contenders if one.kind == "bundle"}
    width = max(len(one.key) for one in result.contenders)
    yield ""
    yield f"{'':<{width}}  cold start  right  flips  max |dp|"
    for one in result.contenders:
        yield f"{one.key:<{width}}  {_start(one)}"
    for batch in result.batches:
        yield ""
        yield f"{f'batch {batch}':<{width}}   first ms    p50 ms    p99 ms    max ms  images/s  peak MB  samples"
        for one in result.contenders:
            yield f"{one.key:<{width}}  {_times(one.at(batch))}"
        yield from _comparisons([one for one in result.comparisons if one.batch == batch and one.first in ours])
    for skipped in result.skipped:
        yield f"skipped: {skipped.name}: {skipped.reason}"
    for one in result.contenders:
        if one.note:
            yield f"{one.key}: {one.note}"


def _start(one: ContenderResult) -> str:
    decided = one.decisions
    seconds = one.cold_start.p50_ms / 1000
    if decided is None:
        return f"{seconds:8.2f} s"
    right = "    -" if decided.accuracy is None else f"{decided.accuracy:5.1%}"
    return f"{seconds:8.2f} s  {right}  {decided.flips:5}  {decided.max_abs_difference:8.1g}"


def _times(times: BatchTimes) -> str:
    figures = (times.first_ms, times.p50_ms, times.p99_ms, times.max_ms, times.images_per_s)
    peak = "      -" if times.peak_rss_mb is None else f"{times.peak_rss_mb:7.0f}"
    unstable = "" if times.stable else "  UNSTABLE: disturbed, or too short; measure again, with more --seconds"
    return f"{' '.join(f'{figure:9.2f}' for figure in figures)}  {peak}  {len(times.samples_ms):7}{unstable}"


def _comparisons(found: Sequence[Comparison]) -> Iterator[str]:
    for one in found:
        ratio = one.ratio
        yield (
            f"{one.second} takes {ratio.median:.3f} times as long as {one.first} ({ratio.low:.3f} to "
            f"{ratio.high:.3f}, {ratio.pairs} pairs)"
        )
