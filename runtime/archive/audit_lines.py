"""The lines of an audit log: a run that begins, and an answer. Their fields are the keys of `braintumor.audit/1`."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

__all__ = ["AnswerLine", "AuditLine", "AuditedBundle", "AuditedInput", "RunLine", "audit_lines"]


class AuditedBundle(msgspec.Struct, frozen=True):
    """The bundle that answered.

    Attributes:
        name: Given at export.
        sha256: Of all of it.
        verdict: Of `bt-bench accuracy`, as in a prediction; None where it was not judged.
    """

    name: str
    sha256: str
    verdict: str | None = None


class AuditedInput(msgspec.Struct, frozen=True):
    """The image.

    Attributes:
        sha256: Of the file; None where it could not be read.
        path_hmac: HMAC-SHA-256 of the path as it was given; None without a key.
    """

    sha256: str | None
    path_hmac: str | None


class RunLine(msgspec.Struct, frozen=True, tag_field="event", tag="run"):
    """A run that begins.

    Attributes:
        time: UTC, as 2026-01-31T12:00:00.000Z.
        run: A number of the run's own, in its other lines, too.
        host: Name of the machine.
        user: Hash of the user's name; None where the system has none.
        version: Of braintumor.
        bundle: That answers.
        engine: Its name, provider, device and version.
        policy: Of the ensemble.
        torn_bytes: Of a line that was not whole, cut off the log before.
    """

    time: str
    run: str
    host: str
    user: str | None
    version: str
    bundle: AuditedBundle
    engine: Mapping[str, str]
    policy: str
    torn_bytes: int


class AnswerLine(msgspec.Struct, frozen=True, tag_field="event", tag="answer"):
    """An answer.

    Attributes:
        time: UTC, as in `RunLine`.
        run: As in the line of its run.
        bundle: That answered.
        engine: Its name, provider, device and version.
        policy: Of the ensemble.
        input: The image.
        status: "ok" or "error".
        label: The ensemble's class; None for an error.
        probabilities: The vote, as in the prediction.
        error: Type of the error; None for an answer. Its message may name the file, and stays out.
    """

    time: str
    run: str
    bundle: AuditedBundle
    engine: Mapping[str, str]
    policy: str
    input: AuditedInput
    status: str
    label: str | None
    probabilities: Mapping[str, float]
    error: str | None


AuditLine = RunLine | AnswerLine


def audit_lines(path: Path) -> Iterator[AuditLine]:
    """The lines of a log that `read_chain` has verified; what is not whole at its end is left out."""
    decoder = msgspec.json.Decoder(AuditLine)
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n") or b"\0" in line:
                return
            yield decoder.decode(line)
