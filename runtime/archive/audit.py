"""The audit log: who asked what, when, of which bundle, and what it answered, in a chain that shows changes.

It holds no path and no message of an error, which may name a patient. With a key, paths are in it as HMAC-SHA-256
(RFC 2104): who has the key can find the line of an image, nobody else can read its name.
"""

import contextlib
import getpass
import hashlib
import hmac
import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from braintumor import __version__
from braintumor.errors import UsageError
from braintumor.runtime.archive.audit_lines import AnswerLine, AuditedBundle, AuditedInput, AuditLine, RunLine
from braintumor.runtime.archive.chain import Anchor, Chain, chained, read_chain
from braintumor.runtime.archive.journal import Journal, locked_by_this_process
from braintumor.runtime.archive.run import utc_now
from braintumor.runtime.ensemble import Ensemble
from braintumor.runtime.prediction import Prediction

__all__ = ["AuditLog", "open_audit", "pseudonym", "read_key"]

_MIN_KEY_BYTES: Final = 16
_MAX_KEY_BYTES: Final = 4096
_MAKE_KEY: Final = "make one with: python -c 'import secrets; print(secrets.token_hex(32))' > audit.key"


class AuditLog:
    """An audit log that is being written; make one with `open_audit`."""

    def __init__(self, journal: Journal, chain: Chain, key: bytes | None) -> None:
        self._journal, self._head, self._key = journal, chain.head, key
        self._torn_bytes = chain.extent.torn_bytes
        self._run = secrets.token_hex(8)

    @property
    def head(self) -> Anchor:
        """The head of the chain."""
        return self._head

    def begin(self, ensemble: Ensemble) -> None:
        """Write the line of a run that begins: who, with which bundle and engine, and what was cut off the log."""
        self._write(
            RunLine(
                time=utc_now(),
                run=self._run,
                host=socket.gethostname(),
                user=self._user(),
                version=__version__,
                bundle=_bundle(ensemble.bundle_info),
                engine=ensemble.engine_info,
                policy=ensemble.policy,
                torn_bytes=self._torn_bytes,
            )
        )

    def append(self, prediction: Prediction) -> None:
        """Write the line of an answer.

        Raises:
            OutputError: The disk is full, or has gone.
        """
        image = prediction.input
        path_hmac = None if self._key is None or image.path is None else pseudonym(image.path, self._key)
        self._write(
            AnswerLine(
                time=utc_now(),
                run=self._run,
                bundle=_bundle(prediction.bundle),
                engine=prediction.engine,
                policy=prediction.policy,
                input=AuditedInput(image.sha256, path_hmac),
                status=prediction.status,
                label=prediction.label,
                probabilities=prediction.probabilities,
                error=None if prediction.error is None else prediction.error["type"],
            )
        )

    def logged(self, predictions: Iterable[Prediction]) -> Iterator[Prediction]:
        """Write the line of each prediction before it is handed on."""
        for prediction in predictions:
            self.append(prediction)
            yield prediction

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        self._journal.sync()

    def _write(self, content: AuditLine) -> None:
        line, head = chained(content, self._head)
        self._journal.append(line)
        self._head = head

    def _user(self) -> str | None:
        """A hash of the user's name: with the key where there is one, otherwise with the name of the host."""
        try:
            name = getpass.getuser()
        except (OSError, KeyError, ImportError):
            # No name: a container's bare user number.
            return None
        return pseudonym(name, self._key or socket.gethostname().encode())


@contextlib.contextmanager
def open_audit(path: Path, key: bytes | None = None) -> Iterator[AuditLog]:
    """Lock and verify a log, and continue its chain; one that is missing is begun.

    Args:
        path: The log.
        key: For pseudonyms of paths; None leaves paths out.

    Raises:
        IntegrityError: The chain is broken.
        UsageError: Another process writes it, or it is not a file.
        OutputError: It cannot be written.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise UsageError(f"{path} is not a file", "name a file for `audit`")
    with locked_by_this_process(target):
        chain = read_chain(target)
        with Journal(target, chain.extent) as journal:
            yield AuditLog(journal, chain, key)


def _bundle(info: Mapping[str, str]) -> AuditedBundle:
    verdict = info["verdict"]
    return AuditedBundle(info["name"], info["sha256"], None if verdict == "not judged" else verdict)


def read_key(path: Path) -> bytes:
    """The key in a file, without white space at its ends.

    Raises:
        UsageError: It is missing, too short or too long.
    """
    try:
        with path.open("rb") as stream:
            key = stream.read(_MAX_KEY_BYTES + 1).strip()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read ({error.strerror})", "make a key as docs/archive.md shows"
        ) from error
    if not _MIN_KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise UsageError(
            f"the key in {path} has {len(key)} bytes; must be {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES}",
            _MAKE_KEY,
        )
    return key


def pseudonym(text: str, key: bytes) -> str:
    """HMAC-SHA-256 of a text, 64 hexadecimal digits; of a path, the bytes that the system knows it by."""
    return hmac.new(key, os.fsencode(text), hashlib.sha256).hexdigest()
