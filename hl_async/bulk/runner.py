"""A bounded map of any coroutine over any iterable: lazily pulled, memory flat, outcomes as they finish."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectSendStream

from hl_async.errors import InvalidRequest

T = TypeVar("T")
R = TypeVar("R")


class Outcome(msgspec.Struct, Generic[T, R], frozen=True):
    """What became of one item: ``value`` or ``error``; ``index`` is its place in the input."""

    index: int
    item: T
    value: R | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the coroutine returned."""
        return self.error is None


@asynccontextmanager
async def bulk_map(
    function: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], *, limit: int = 50
) -> AsyncIterator[AsyncIterator[Outcome[T, R]]]:
    """Run ``function`` over ``items``, at most ``limit`` at a time, and iterate over the outcomes as they finish::

        async with bulk_map(shop.invoices.void, ids, limit=20) as outcomes:
            async for outcome in outcomes:
                print(outcome.item, outcome.error or "done")

    Items are pulled when a worker is free, outcomes wait for the reader: a million items take no more memory than
    ``limit`` of them. An exception of ``function`` is an outcome and ends nothing. Leaving the block early, or being
    cancelled, cancels what is in flight and waits for it. An exception of ``items`` itself is raised at the end.
    """
    if isinstance(limit, bool) or limit < 1:
        raise InvalidRequest("limit", f"{limit!r} is below 1")
    send, receive = anyio.create_memory_object_stream[Outcome[T, R]](0)
    source = _Source(items)
    async with anyio.create_task_group() as group:
        async with send, receive:
            for _ in range(limit):
                group.start_soon(_work, function, source, send.clone())
            send.close()
            yield receive
        group.cancel_scope.cancel()


class _Source(Generic[T]):
    """The input behind one lock: workers pull from it in turn."""

    def __init__(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        self._plain = iter(items) if isinstance(items, Iterable) else None
        self._later = items.__aiter__() if isinstance(items, AsyncIterable) else None
        self._lock = anyio.Lock()
        self._index = -1
        self._ended = False

    async def pull(self) -> tuple[int, T] | None:
        """The next item with its index, or None at the end."""
        async with self._lock:
            if self._ended:
                return None
            try:
                item: Any = next(self._plain) if self._plain is not None else await self._later.__anext__()  # type: ignore[union-attr]
            except (StopIteration, StopAsyncIteration):
                self._ended = True
                return None
            except BaseException:
                self._ended = True
                raise
            self._index += 1
            return self._index, item


async def _work(
    function: Callable[[T], Awaitable[R]], source: _Source[T], send: MemoryObjectSendStream[Outcome[T, R]]
) -> None:
    async with send:
        while (pulled := await source.pull()) is not None:
            index, item = pulled
            try:
                outcome: Outcome[T, R] = Outcome(index, item, await function(item))
            except Exception as error:  # noqa: BLE001 - whatever went wrong is this item's outcome
                outcome = Outcome(index, item, None, error)
            try:
                await send.send(outcome)
            except anyio.BrokenResourceError:
                return  # the reader left: nobody wants the rest
