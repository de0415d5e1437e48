"""Internal. The rate governor: slots per location, lanes, requests in flight."""

from __future__ import annotations

from hl_async.governor.budget import Budget
from hl_async.governor.concurrency import ConcurrencyLimit
from hl_async.governor.governor import Governor, Permit, Scope, ScopeFactory
from hl_async.governor.headers import parse_retry_after
from hl_async.governor.policy import GovernorPolicy
from hl_async.governor.snapshot import ScopeSnapshot

__all__ = [
    "Budget",
    "ConcurrencyLimit",
    "Governor",
    "GovernorPolicy",
    "Permit",
    "Scope",
    "ScopeFactory",
    "ScopeSnapshot",
    "parse_retry_after",
]
