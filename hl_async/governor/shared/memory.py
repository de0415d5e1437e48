"""A store for the clients of one process that share their rate budgets."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from hl_async.governor.shared.allocator import SlotAllocator
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest


class MemoryBudget:
    """Rate budgets that several clients of one process share; also the model of every other store.

    ``clock`` is monotonic, in seconds. ``born`` is when it was made, if there was one before it that is lost: what was
    sent in the interval before is unknown then. By default nothing was.
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
        """Nothing to close: what is here stays for the other clients."""

    def __repr__(self) -> str:
        return f"<MemoryBudget of {len(self._books)} scopes>"
