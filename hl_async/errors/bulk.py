"""Internal. Errors of bulk runs, their journals and their sources."""

from __future__ import annotations

from hl_async.errors.root import HighLevelError


class BulkError(HighLevelError):
    """A bulk run could not start or continue.

    The journal holds all finished work.
    """


class JournalError(BulkError):
    """The journal cannot be used."""


class JournalMissing(JournalError):
    """The journal of this run does not exist."""


class JournalLocked(JournalError):
    """Another process works on this journal."""


class JournalMismatch(JournalError):
    """The journal belongs to another source file, operation or location."""


class JournalCorrupt(JournalError):
    """The file is not a journal, or this version cannot read it."""


class LaneLost(JournalError):
    """Another process took this location over.

    The journal refused the write that raises this error.
    """


class CanaryFailed(BulkError):
    """The first document is listed without its key, so resuming would not be safe.

    Choose another key location.
    """


class AlreadyMigrated(BulkError):
    """Another run created documents of this source already. Nothing was sent."""


class TooManyRejects(BulkError):
    """So many documents were refused that the mapping is probably wrong.

    The run was stopped early.
    """


class SourceError(BulkError, ValueError):
    """The input file or its mapping cannot be read.

    ``line`` is set when one line is at fault.
    """

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line
