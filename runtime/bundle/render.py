"""Text of `bt-bundle`."""

from collections.abc import Iterator, Sequence

from braintumor.runtime.bundle.difference import Difference
from braintumor.runtime.bundle.summary import BundleSummary, MemberSummary, SignatureSummary
from braintumor.runtime.bundle_lines import verdict_line

__all__ = ["difference_lines", "list_line", "signature_text", "summary_lines"]

_LABEL_COLUMNS = 11
_SHORT = 12

_VERDICT = {"none": "", "signed": "; the verdict is signed, too", "unsigned": "; the verdict is not signed"}


def summary_lines(summary: BundleSummary) -> Iterator[str]:
    """A bundle as `bt-bundle show` shows it."""
    yield summary.name
    yield _row("folder", summary.folder)
    yield _row("identity", summary.sha256)
    yield _row("precision", summary.precision)
    yield _row("classes", ", ".join(summary.classes))
    yield _row("size", f"{_megabytes(summary.size_bytes)} in {summary.files} files")
    if summary.temperature != 1:
        yield _row("vote", f"temperature {summary.temperature:g}")
    if (cascade := summary.cascade) is not None:
        order = " > ".join(cascade.order)
        yield _row("cascade", f"{order}, from {cascade.threshold:.3f}, risk {cascade.risk:.2%}")
    yield _row("verdict", "not judged" if summary.verdict is None else _verdict(summary))
    yield _row("signature", signature_text(summary.signature))
    yield "members"
    columns = max(len(member.name) for member in summary.members)
    yield from (_member(member, columns) for member in summary.members)


def _verdict(summary: BundleSummary) -> str:
    assert summary.verdict is not None  # noqa: S101 - the caller has checked
    return verdict_line(summary.verdict).replace("verdict ", "", 1)


def _member(member: MemberSummary, columns: int) -> str:
    crop = "" if member.crop == "none" else f", crop {member.crop}"
    source = f", from {member.source}" if member.source else ""
    return (
        f"  {member.name:{columns}}  {member.precision}, weight {member.weight:g}, {member.height}x{member.width} "
        f"pixels, {member.resize}{crop}, {_megabytes(member.size_bytes)}{source}"
    )


def signature_text(signature: SignatureSummary | None) -> str:
    """A signature in words."""
    if signature is None:
        return "not signed"
    if signature.key_sha256 is None:
        return "of a kind that this version does not read"
    verified = "verified" if signature.verified else "not verified (do: --require-signature PUBKEY)"
    return f"by the key {signature.key_sha256[:_SHORT]}, {verified}{_VERDICT[signature.verdict]}"


def list_line(summary: BundleSummary, columns: int) -> str:
    """A bundle as `bt-bundle list` lists it.

    Args:
        summary: Of the bundle.
        columns: Width of the longest name of a folder.
    """
    verdict = "not judged" if summary.verdict is None else summary.verdict["status"]
    signed = ", signed" if summary.signature is not None else ""
    folder = summary.folder.replace("\\", "/").rsplit("/", 1)[-1]
    names = " + ".join(member.name for member in summary.members)
    size = f"{_megabytes(summary.size_bytes):>9}"
    return f"{folder:{columns}}  {summary.sha256[:_SHORT]}  {summary.precision:5}  {size}  {verdict}{signed}  {names}"


def difference_lines(differences: Sequence[Difference], *, same_identity: bool) -> Iterator[str]:
    """What differs between two bundles, in words."""
    for difference in differences:
        yield f"{difference.what}: {difference.first} -> {difference.second}"
    if not differences:
        yield "the same bundle"
    elif same_identity:
        yield "the same identity: both answer alike"


def _row(label: str, value: str) -> str:
    return f"{label:{_LABEL_COLUMNS}}{value}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
