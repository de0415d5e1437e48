"""Internal. One rate budget for several processes.

Slots are reserved ahead from a shared store.
"""

from __future__ import annotations

from hl_async import lazy_exports

__getattr__, __dir__, __all__ = lazy_exports(
    __name__,
    {
        "memory": ("MemoryBudget",),
        "messages": ("BudgetStore",),
        "postgres": ("PostgresBudget",),
        "scopes": ("shared_scopes",),
    },
)
