"""A bounded map of any coroutine over any iterable: lazily pulled, memory flat, outcomes as they finish."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import anyio
import msgspec
from anyio.streams.memory import MemoryObjectSendStream

from hl_async.errors import InvalidRequest

T = TypeVar("T")
R = TypeVar("R")


class MapResult(msgspec.Struct, Generic[T, R], frozen=True):
    """What became of one item: ``value`` or ``error``; ``index`` is its place in the input."""

    index: int
    item: T
    value: R | None = None
    error: Exception | None = None

    @property
    def ok(self) -> bool:
        """Whether the coroutine returned."""
        return self.error is None

    def result(self) -> R:
        """Return the value, or raise the error, as a Future does."""
        if self.error is not None:
            raise self.error
        return cast("R", self.value)


@asynccontextmanager
async def bulk_map(
    function: Callable[[T], Awaitable[R]], items: Iterable[T] | AsyncIterable[T], *, limit: int = 50
) -> AsyncIterator[AsyncIterator[MapResult[T, R]]]:
    """Run ``function`` over ``items``, at most ``limit`` at a time, and iterate over the outcomes as they finish::

        async with bulk_map(shop.invoices.void, ids, limit=20) as outcomes:
            async for outcome in outcomes:
                print(outcome.item, outcome.error or "done")

    Items are pulled when a worker is free, outcomes wait for the reader: a million items take no more memory than
    ``limit`` of them. A plain iterable is pulled on the event loop, so it must not block. An exception of
    ``function`` is an outcome and ends nothing. Leaving the block, by an exception too, or being cancelled, cancels
    what is in flight and waits for it. Exceptions come out as they are, not in a group: the block's own, or that
    of ``items`` when the block ends, after the outcomes of what came before it.
    """
    if isinstance(limit, bool) or limit < 1:
        raise InvalidRequest("limit", f"{limit!r} is below 1")
    send, receive = anyio.create_memory_object_stream[MapResult[T, R]](0)
    source = _Source(items)
    failed: Exception | None = None
    async with anyio.create_task_group() as group:
        async with send, receive:
            for _ in range(limit):
                group.start_soon(_work, function, source, send.clone())
            send.close()
            try:
                yield receive
            except Exception as error:  # noqa: BLE001 - kept, and raised where no group wraps it
                failed = error
        group.cancel_scope.cancel()
    if failed is None:
        failed = source.failed
    if failed is not None:
        try:
            raise failed
        finally:
            del failed  # an exception that its own frame holds is garbage for the collector


class _Source(Generic[T]):
    """The input behind one lock: workers pull from it in turn; ``failed`` is what ended it early."""

    def __init__(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        self._plain = iter(items) if isinstance(items, Iterable) else None
        self._later = items.__aiter__() if isinstance(items, AsyncIterable) else None
        self._lock = anyio.Lock()
        self._index = -1
        self._ended = False
        self.failed: Exception | None = None

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
            except Exception as error:  # noqa: BLE001 - the workers finish what they have; it is raised at the end
                self._ended = True
                self.failed = error
                return None
            except BaseException:
                self._ended = True
                raise
            self._index += 1
            return self._index, item


async def _work(
    function: Callable[[T], Awaitable[R]], source: _Source[T], send: MemoryObjectSendStream[MapResult[T, R]]
) -> None:
    async with send:
        while (pulled := await source.pull()) is not None:
            index, item = pulled
            try:
                outcome: MapResult[T, R] = MapResult(index, item, await function(item))
            except Exception as error:  # noqa: BLE001 - whatever went wrong is this item's outcome
                outcome = MapResult(index, item, None, error)
            try:
                await send.send(outcome)
            except anyio.BrokenResourceError:
                return  # the reader left: nobody wants the rest
