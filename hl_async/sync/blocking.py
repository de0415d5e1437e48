"""Internal. The blocking surface: one background loop, and proxies made at each use."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from hl_async.client import HighLevel as AsyncHighLevel
from hl_async.client import Location as AsyncLocation
from hl_async.errors import ClientStateError, ForkedClient
from hl_async.pagination import Page, Pager

T = TypeVar("T")

_RESOURCES: Final = "hl_async.resources"


class _Loop:
    """The background event loop of one client."""

    __slots__ = ("_pid", "_portal", "_stack")

    def __init__(self) -> None:
        self._portal: BlockingPortal | None = None
        self._stack = ExitStack()
        self._pid = 0

    def open(self, client: AsyncHighLevel) -> None:
        """Start the loop's thread and open the client in it."""
        _refuse_running_loop()
        if self._portal is not None:
            raise ClientStateError("this client is open already; share the one block")
        # If the client cannot open, the loop's thread must end as well.
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            stack.enter_context(portal.wrap_async_context_manager(client))
            self._stack = stack.pop_all()
        self._portal = portal
        self._pid = os.getpid()

    def close(self) -> None:
        """Close the client and end the thread. A second call does nothing."""
        # After a fork the thread exists in the parent only, and waiting for it would never end.
        if self._portal is not None and self._pid == os.getpid():
            self._portal = None
            self._stack.close()

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Wait in this thread for the result of ``function`` in the loop's thread.

        A ``KeyboardInterrupt`` that arrives meanwhile cancels the call before it is raised.
        """
        _refuse_running_loop()
        if self._portal is None:
            raise ClientStateError("the client is not open; use it inside its 'with' block, or call open()")
        if self._pid != os.getpid():
            raise ForkedClient("this client was opened before a fork; open one in each process")
        future = self._portal.start_task_soon(function)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C ends the wait of this thread; the call must end too.
            future.cancel()
            raise


class SyncPager(Generic[T]):
    """A list that is fetched while it is read: iterate over it, or ask for its ``first`` page.

    ``for item in pager`` gives every item, ``pager.pages()`` every page, ``pager.collect()`` a list.
    """

    __slots__ = ("_loop", "_pager")

    def __init__(self, loop: _Loop, pager: Pager[T]) -> None:
        self._loop = loop
        self._pager = pager

    def __iter__(self) -> Iterator[T]:
        for page in self.pages():
            yield from page.items

    def first(self) -> Page[T]:
        """Return the first page, with the ``total`` that the server states."""

        async def first() -> Page[T]:
            return await self._pager

        return self._loop.run(first)

    def pages(self) -> Iterator[Page[T]]:
        """Yield every page, the first one even when it is empty."""
        return _iterate(self._loop, self._pager.pages())

    def collect(self, at_most: int | None = None) -> list[T]:
        """Return all items, or the first ``at_most``, as a list in memory."""
        return self._loop.run(lambda: self._pager.collect(at_most))

    def __repr__(self) -> str:
        return f"<Sync{repr(self._pager)[1:]}"


class _Proxy:
    """An object of the asynchronous surface whose coroutines are waited for."""

    __slots__ = ("_loop", "_target")

    def __init__(self, loop: _Loop, target: Any) -> None:
        self._loop = loop
        self._target = target

    # Looked up at each use, so that a method added to the asynchronous client is here as well.
    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return _blocking(self._loop, getattr(self._target, name))

    def __dir__(self) -> list[str]:
        return [name for name in dir(self._target) if not name.startswith("_")]

    def __repr__(self) -> str:
        return f"<sync {repr(self._target).removeprefix('<')}"


class HighLevel(_Proxy):
    """The blocking client: one per process, shared by all its threads.

    Takes the arguments of ``hl_async.HighLevel``. Use it as a block, or ``open()`` and ``close()`` it. After a fork
    (Celery's prefork pool, gunicorn with preloading) each process opens its own.

    Raises:
        ClientStateError: It is used while closed, or in a thread that runs an event loop (use ``hl_async`` there).
        ForkedClient: It was opened before a fork.
    """

    __slots__ = ()

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(_Loop(), AsyncHighLevel(*arguments, **settings))

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """Return a client from the environment; see ``hl_async.HighLevel.from_env``."""
        # The constructor would read its arguments and not the environment.
        made = cls.__new__(cls)
        _Proxy.__init__(made, _Loop(), AsyncHighLevel.from_env(**settings))
        return made

    def open(self) -> Self:
        """Start the background loop and open the pool. Return the client itself."""
        self._loop.open(self._target)
        return self

    def close(self) -> None:
        """Close the pool and end the background loop. A second call does nothing."""
        self._loop.close()

    def run(self, function: Callable[[AsyncHighLevel], Coroutine[Any, Any, T]]) -> T:
        """Run an asynchronous function of the caller on the client's loop and return its result.

        Example:
            ``report = hl.run(lambda client: bulk.migrate(client, "orders.csv", mapping="orders.toml"))``
        """
        return self._loop.run(lambda: function(self._target))

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _blocking(loop: _Loop, value: Any) -> Any:
    """Return ``value`` in the form that a synchronous caller can use."""
    if isinstance(value, Pager):
        return SyncPager(loop, value)
    if isinstance(value, AsyncLocation | AsyncHighLevel) or _is_resource(type(value)):
        return _Proxy(loop, value)
    if isinstance(value, Coroutine):
        return _blocking(loop, loop.run(lambda: value))
    if isinstance(value, AsyncIterator):
        return _iterate(loop, value)
    if callable(value) and not isinstance(value, type):

        def call(*arguments: Any, **keywords: Any) -> Any:
            return _blocking(loop, value(*arguments, **keywords))

        call.__name__ = call.__qualname__ = getattr(value, "__name__", "call")
        call.__doc__ = value.__doc__
        return call
    return value


def _is_resource(kind: type) -> bool:
    """Return whether ``kind`` holds endpoints: each such class has a module of its name."""
    room, _, stem = kind.__module__.rpartition(".")
    return room == _RESOURCES and kind.__name__.lower() == stem.replace("_", "")


def _iterate(loop: _Loop, source: AsyncIterator[T]) -> Iterator[T]:
    # An item may be None, so the end needs a value of its own.
    end = object()

    async def following() -> T | object:
        return await anext(source, end)

    try:
        while (item := loop.run(following)) is not end:
            yield item  # type: ignore[misc]
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            # A loop that breaks off must not leave the generator open on the other thread.
            loop.run(close)


def _refuse_running_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ClientStateError(
        "this thread runs an event loop, which a blocking call would stop; use hl_async here"
    )
