"""A latency result as lines for a terminal."""

from collections.abc import Iterator

from braintumor.bench.latency.result import BatchTimes, Comparison, LatencyResult, RunnerResult

__all__ = ["latency_lines"]


def latency_lines(result: LatencyResult) -> Iterator[str]:
    """Lines with times, comparisons, skipped runners and notes."""
    images = result.images
    decided = "the same" if images.decided == images.count else f"all {images.decided}"
    yield f"{images.count} images ({images.source}); decisions on {decided}"
    bundles = {runner.key for runner in result.runners if runner.kind == "bundle"}
    width = max(len(runner.key) for runner in result.runners)
    yield ""
    yield f"{'':<{width}}  cold start  right  flips  max |dp|"
    for runner in result.runners:
        yield f"{runner.key:<{width}}  {_start(runner)}"
    for batch in result.batches:
        yield ""
        yield f"{f'batch {batch}':<{width}}   first ms    p50 ms    p99 ms    max ms  images/s  peak MB  samples"
        for runner in result.runners:
            yield f"{runner.key:<{width}}  {_times(runner.at(batch))}"
        for comparison in result.comparisons:
            if comparison.batch == batch and comparison.first in bundles:
                yield _comparison_line(comparison)
    for skipped in result.skipped:
        yield f"skipped: {skipped.name}: {skipped.reason}"
    for runner in result.runners:
        if runner.note:
            yield f"{runner.key}: {runner.note}"


def _start(runner: RunnerResult) -> str:
    decisions = runner.decisions
    seconds = runner.cold_start.p50_ms / 1000
    if decisions is None:
        return f"{seconds:8.2f} s"
    right = "    -" if decisions.accuracy is None else f"{decisions.accuracy:5.1%}"
    return f"{seconds:8.2f} s  {right}  {decisions.flips:5}  {decisions.max_abs_difference:8.1g}"


def _times(times: BatchTimes) -> str:
    figures = (times.first_ms, times.p50_ms, times.p99_ms, times.max_ms, times.images_per_s)
    peak = "      -" if times.peak_rss_mb is None else f"{times.peak_rss_mb:7.0f}"
    unstable = "" if times.stable else "  not reliable: the computer was busy; repeat with --seconds 60"
    return f"{' '.join(f'{figure:9.2f}' for figure in figures)}  {peak}  {len(times.samples_ms):7}{unstable}"


def _comparison_line(comparison: Comparison) -> str:
    ratio = comparison.ratio
    return (
        f"{comparison.second} takes {ratio.median:.3f} times as long as {comparison.first} ({ratio.low:.3f} to "
        f"{ratio.high:.3f}, {ratio.pairs} pairs)"
    )
