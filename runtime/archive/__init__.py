"""Archives, answered in as many runs as it takes; the audit log and `bt-audit`."""

from typing import TYPE_CHECKING

from braintumor.front_door import lazy_getattr

if TYPE_CHECKING:
    from braintumor.runtime.archive.answer import ArchiveRun
    from braintumor.runtime.archive.audit import AuditLog, open_audit
    from braintumor.runtime.archive.chain import Anchor, Chain, read_chain
    from braintumor.runtime.archive.options import ArchiveOptions, archive_options
    from braintumor.runtime.archive.results import ResultsFile
    from braintumor.runtime.archive.run import Run, RunFile

__all__ = [
    "Anchor",
    "ArchiveOptions",
    "ArchiveRun",
    "AuditLog",
    "Chain",
    "ResultsFile",
    "Run",
    "RunFile",
    "archive_options",
    "open_audit",
    "read_chain",
]

__getattr__ = lazy_getattr(
    __name__,
    answer=("ArchiveRun",),
    audit=("AuditLog", "open_audit"),
    chain=("Anchor", "Chain", "read_chain"),
    options=("ArchiveOptions", "archive_options"),
    results=("ResultsFile",),
    run=("Run", "RunFile"),
)
