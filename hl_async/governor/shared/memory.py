"""Internal. Store for clients of one process that share their rate budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from hl_async.governor.shared.allocator import SlotAllocator
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest


class MemoryBudget:
    """Rate budgets that several clients of one process share.

    It is also the model of every other store.

    Args:
        clock: A monotonic clock in seconds.
        born: Creation time, if this store replaces one that was lost. The requests of the interval before it are
            unknown then. The default is a first store.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, born: float = -math.inf) -> None:
        self._clock = clock
        self._born = born
        self._books: dict[str, SlotAllocator] = {}

    async def exchange(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
        """See :meth:`BudgetStore.exchange`."""
        now = self._clock()
        book = self._books.get(scope)
        if book is None:
            book = self._books[scope] = SlotAllocator.opened(
                request.terms, self._born, now, lost=self._born > -math.inf
            )
        return book.exchange(now, request)

    async def aclose(self) -> None:
        """Keep the budgets: other clients may still use them."""

    def __repr__(self) -> str:
        return f"<MemoryBudget of {len(self._books)} scopes>"
