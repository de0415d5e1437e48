"""The rate governor: slots per location, lanes, an adaptive limit of requests in flight."""

from __future__ import annotations

from hl_async.governor.budget import Budget
from hl_async.governor.concurrency import ConcurrencyLimit
from hl_async.governor.governor import Governor, Permit, Scope, ScopeSnapshot
from hl_async.governor.headers import parse_retry_after
from hl_async.governor.policy import GovernorPolicy

__all__ = [
    "Budget",
    "ConcurrencyLimit",
    "Governor",
    "GovernorPolicy",
    "Permit",
    "Scope",
    "ScopeSnapshot",
    "parse_retry_after",
]
