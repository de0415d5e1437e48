"""The rate governor: slots per location, lanes, an adaptive limit of requests in flight; shared if wanted."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from hl_async.governor.budget import Budget
from hl_async.governor.concurrency import ConcurrencyLimit
from hl_async.governor.governor import Governor, Permit, Scope
from hl_async.governor.headers import parse_retry_after
from hl_async.governor.policy import GovernorPolicy
from hl_async.governor.shared.messages import BudgetStore
from hl_async.governor.snapshot import ScopeSnapshot

if TYPE_CHECKING:
    from hl_async.governor.shared.memory import MemoryBudget
    from hl_async.governor.shared.postgres import PostgresBudget

_HOME_OF = {"MemoryBudget": "shared.memory", "PostgresBudget": "shared.postgres"}

__all__ = [
    "Budget",
    "BudgetStore",
    "ConcurrencyLimit",
    "Governor",
    "GovernorPolicy",
    "MemoryBudget",
    "Permit",
    "PostgresBudget",
    "Scope",
    "ScopeSnapshot",
    "parse_retry_after",
]


def __getattr__(name: str) -> Any:
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
