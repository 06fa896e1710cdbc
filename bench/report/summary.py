"""The verdict of a report in words, with the figures that carry it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from braintumor.bench.report.format import ms_text, named, share_text

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


def statements(accuracy: Mapping[str, Any] | None, latency: Mapping[str, Any] | None) -> tuple[Statement, ...]:
    """One verdict a bundle; of bundles that were only timed, how fast they are.

    Args:
        accuracy: JSON of schema `braintumor.accuracy/1`.
        latency: JSON of schema `braintumor.latency/1`.
    """
    judged = [] if accuracy is None else named(accuracy)["bundles"]
    told = {_what(one) for one in judged}
    found = [_judged(one, latency) for one in judged]
    timed = [] if latency is None else latency["contenders"]
    found += [
        Statement(one["key"], "timed", tuple(_speed(one, latency)))
        for one in timed
        if one["kind"] == "bundle" and _what(one) not in told
    ]
    return tuple(found)


def _judged(one: Mapping[str, Any], latency: Mapping[str, Any] | None) -> Statement:
    scores, verdict = one["scores"], one["verdict"]
    told = [f"{_sentence(verdict['reason'])}", f"It decides {share_text(scores)} rightly{_beside(one)}."]
    if (free := one["near_duplicate_free"]) is not None:
        told.append(f"On the images of which training has seen no near-duplicate: {share_text(free)}.")
    for kind, name in (("sick_called_healthy", "sick"), ("healthy_called_sick", "healthy")):
        if (share := scores[kind]) is not None:
            other = {"sick": "healthy", "healthy": "sick"}[name]
            low, high = (100 * end for end in share["interval"])
            verb = "is" if share["count"] == 1 else "are"
            told.append(
                f"Of {share['total']} {name}, {share['count']} {verb} called {other}: with 95 % confidence the share "
                f"lies between {low:.2f} and {high:.2f} %."
            )
    told += _speed(one, latency)
    return Statement(one["key"], verdict["status"], tuple(told))


def _beside(one: Mapping[str, Any]) -> str:
    if one["reference"] is None:
        return ""
    return f", its reference {one['reference']['key']} {share_text(one['reference']['scores'])}"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _what(one: Mapping[str, Any]) -> tuple[str, str]:
    """Which bundle on which engine, whatever it is called."""
    return one["sha256"], one["engine"]["name"]


def _speed(which: Mapping[str, Any], latency: Mapping[str, Any] | None) -> Iterator[str]:
    """How fast it is, and beside whom."""
    if latency is None:
        return
    for one in latency["contenders"]:
        if _what(one) != _what(which):
            continue
        small, large = one["batches"][0], one["batches"][-1]
        times = f"{ms_text(small['p50_ms'])} ms (95th percentile {ms_text(small['p95_ms'])})"
        told = f"An answer to {_images(small['batch'])} takes {times}"
        rate = f"{large['images_per_s']:.3g} images a second"
        told += f", {rate}" if large is small else f"; in batches of {large['batch']} it gives {rate}"
        memory = "" if large["peak_rss_mb"] is None else f", with {large['peak_rss_mb']:,.0f} MB at the peak"
        yield f"{told}{memory}."
        yield from _ratios(one["key"], large["batch"], latency)


def _images(count: int) -> str:
    return "one image" if count == 1 else f"{count} images"


def _ratios(key: str, batch: int, latency: Mapping[str, Any]) -> Iterator[str]:
    peers = {one["key"] for one in latency["contenders"] if one["kind"] == "peer"}
    for one in latency["comparisons"]:
        if one["batch"] == batch and one["first"] == key and one["second"] in peers:
            ratio = f"{one['ratio']['median']:.2f} {_ends(one['ratio'])}"
            doubt = "" if one["stable"] else " (the machine was disturbed)"
            yield f"{one['second']} takes {ratio} times as long for {_images(batch)}, measured pair by pair{doubt}."


def _ends(ratio: Mapping[str, Any]) -> str:
    return f"[{ratio['low']:.2f}, {ratio['high']:.2f}]"
