"""Internal. Errors of shared stores, apart from those of tokens and journals."""

from __future__ import annotations

from hl_async.errors.root import HighLevelError


class BudgetStoreError(HighLevelError):
    """The store of a shared rate budget can't be reached, is too slow, or refuses.

    Calls never raise it.
    """


class CursorError(HighLevelError):
    """The store of a change feed cannot be used, or another process reads the feed."""
