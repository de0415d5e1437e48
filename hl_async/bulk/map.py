"""Internal. A bounded concurrent map of a coroutine over items, with flat memory."""

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
    """The outcome of one item: its ``value`` or its ``error``.

    ``index`` is the item's position in the input.
    """

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
    """Run ``function`` over ``items`` concurrently, and iterate over the outcomes.

    Outcomes come as they finish. An item is pulled when a worker is free, and outcomes wait for the reader. Memory
    is bounded by ``limit``, even for a million items. An exception of ``function`` is an outcome and does not end
    the run. Leaving the block or cancelling it cancels the calls in flight and waits for them.

    Args:
        function: Called with each item.
        items: The items. A plain iterable is pulled on the event loop, so it must not block.
        limit: Concurrent calls.

    Yields:
        An iterator over the outcomes, in the order in which the calls end.

    Raises:
        InvalidRequest: ``limit`` is below 1.
        Exception: The block's own exception, or that of ``items`` after the outcomes of the earlier items. Neither is
            wrapped in a group.

    Example::

        async with bulk_map(shop.invoices.get, [invoice.id, open_invoice.id], limit=20) as outcomes:
            async for outcome in outcomes:
                print(outcome.item, outcome.error or outcome.result().total)
    """
    if isinstance(limit, bool) or limit < 1:
        raise InvalidRequest("limit", f"{limit!r} is below 1")
    # A buffer of zero: a worker waits until its outcome is read, which bounds memory by the number of workers.
    send, receive = anyio.create_memory_object_stream[MapResult[T, R]](0)
    source = _Source(items)
    failed: Exception | None = None
    async with anyio.create_task_group() as group:
        async with send, receive:
            for _ in range(limit):
                # Each worker has an end of its own, so that the reader ends with the last worker.
                group.start_soon(_work, function, source, send.clone())
            send.close()
            try:
                yield receive
            except Exception as error:  # noqa: BLE001 - kept, and raised where no group wraps it
                failed = error
        # Reached when the block is left early. A finished input has no worker left to cancel.
        group.cancel_scope.cancel()
    if failed is None:
        failed = source.failed
    if failed is not None:
        try:
            raise failed
        finally:
            del failed  # a reference from the exception's own frame would be a cycle for the collector


class _Source(Generic[T]):
    """The input, pulled by the workers in turn.

    ``failed`` is the exception that ended it early.
    """

    def __init__(self, items: Iterable[T] | AsyncIterable[T]) -> None:
        self._plain = iter(items) if isinstance(items, Iterable) else None
        self._later = items.__aiter__() if isinstance(items, AsyncIterable) else None
        self._lock = anyio.Lock()
        self._index = -1
        self._ended = False
        self.failed: Exception | None = None

    async def pull(self) -> tuple[int, T] | None:
        """Return the next item with its index, or None at the end."""
        # An async generator refuses a second __anext__ while the first one waits.
        async with self._lock:
            if self._ended:
                return None
            try:
                item: Any = next(self._plain) if self._plain is not None else await self._later.__anext__()  # type: ignore[union-attr]
            except (StopIteration, StopAsyncIteration):
                self._ended = True
                return None
            except Exception as error:  # noqa: BLE001 - raised at the end, after the workers finished their items
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
            except Exception as error:  # noqa: BLE001 - any failure is this item's outcome
                outcome = MapResult(index, item, None, error)
            try:
                await send.send(outcome)
            except anyio.BrokenResourceError:
                return  # the reader left the block
