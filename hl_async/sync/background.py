"""Internal. The event loop of a blocking client, in a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import warnings
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from hl_async.client import HighLevel
from hl_async.errors import ClientStateError, ForkedClient

T = TypeVar("T")

_SLICE: Final = 1.0
_Started = tuple[asyncio.AbstractEventLoop, asyncio.Event]


class BackgroundLoop:
    """The loop of one client, from its first call to :meth:`close` or process end."""

    __slots__ = ("__weakref__", "_client", "_is_closed", "_is_owned", "_lock", "_pid", "_started", "_thread")

    def __init__(self, client: HighLevel) -> None:
        self._client = client
        # Reentrant: garbage may be collected while it is held, and a generator in it starts its own end.
        self._lock = threading.RLock()
        self._is_closed = False
        self._is_owned = False
        self._pid = 0
        self._started: _Started | None = None
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Start the thread and open the client in it, if a call has not done so."""
        refuse_running_loop("open the client")
        self._check_process()
        with self._lock:
            if self._is_owned and not self._is_closed:
                raise ClientStateError("this client is open already; share the one block")
            self._loop()
            self._is_owned = True

    def close(self) -> None:
        """Close the client and end the thread. A second call does nothing."""
        # After a fork the thread exists in the parent only, and waiting for it would never end.
        if self._pid not in (0, os.getpid()):
            return
        if threading.current_thread() is self._thread:
            raise ClientStateError("close() in a function that run() was given would wait for itself")
        with self._lock:
            # a client that never opened is closed as well: a call after this is a mistake
            self._is_closed = True
            started, self._started = self._started, None
        if started is None or self._thread is None:
            return
        loop, stop = started
        try:
            _waited(asyncio.run_coroutine_threadsafe(self._client.aclose(), loop))
        finally:
            _OPEN.discard(self)
            loop.call_soon_threadsafe(stop.set)
            self._thread.join()

    @property
    def is_closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._is_closed

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Wait in this thread for the result of ``function`` in the loop's thread.

        A ``KeyboardInterrupt`` that arrives meanwhile cancels the call before it is raised.
        """
        refuse_running_loop("call it")
        call = _Call(function)
        try:
            return _waited(self.start(call.run))
        except CancelledError:
            if self._is_closed:
                raise ClientStateError("the client was closed during this call") from None
            raise
        except BaseException:
            # Ctrl-C ends the wait of this thread; the call must end too.
            call.abandon()
            raise

    def start(self, function: Callable[[], Awaitable[T]]) -> Future[T]:
        """Start ``function`` in the loop's thread."""

        async def awaited() -> T:
            return await function()

        self._check_process()
        # Under the lock, so that the loop cannot end between the look and the start: the future would stay open.
        with self._lock:
            loop = self._loop()
            return asyncio.run_coroutine_threadsafe(awaited(), loop)

    def _loop(self) -> asyncio.AbstractEventLoop:
        """Return the running loop; start it first if need be. The lock is held."""
        if self._is_closed:
            raise ClientStateError("the client is closed; make a new one")
        if self._started is None:
            self._pid = os.getpid()
            started: Future[_Started] = Future()
            # A daemon: a client that is never closed must not keep the process alive.
            self._thread = threading.Thread(target=_serve, args=(started,), name="hl_async-sync", daemon=True)
            self._thread.start()
            loop, stop = started.result()
            try:
                asyncio.run_coroutine_threadsafe(self._client.aopen(), loop).result()
            except BaseException:
                loop.call_soon_threadsafe(stop.set)
                self._thread.join()
                self._pid = 0
                raise
            self._started = (loop, stop)
            _OPEN.add(self)
        return self._started[0]

    def _check_process(self) -> None:
        # Before the lock is touched: another thread of the parent may have held it at the fork.
        if self._pid not in (0, os.getpid()):
            raise ForkedClient(
                "this client was used before a fork; make it before, use it after, or make one in each process"
            )

    def __del__(self) -> None:
        started = getattr(self, "_started", None)
        if started is None or self._pid != os.getpid():
            return
        text = f"unclosed HighLevel client for {self._client.base_url}; use 'with' or close()"
        warnings.warn(text, ResourceWarning, source=self, stacklevel=2)
        loop, stop = started
        # Not waited for: garbage is collected in any thread, the loop's own among them.
        asyncio.run_coroutine_threadsafe(_close(self._client, stop), loop)


def _waited(future: Future[T]) -> T:
    # In slices: a signal that arrives just before the thread blocks is seen when it wakes. On Windows, none wakes it.
    while True:
        try:
            return future.result(_SLICE)
        except TimeoutError:
            if future.done():
                return future.result()


class _Call(Generic[T]):
    """A call of another thread, which can be abandoned even before it started."""

    __slots__ = ("_function", "_is_abandoned", "_task")

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._is_abandoned = False
        self._task: asyncio.Task[Any] | None = None

    async def run(self) -> T:
        """Run the function, in the loop's thread."""
        # Each side writes its own field before it reads the other's, so one of them sees the other.
        self._task = asyncio.current_task()
        if self._is_abandoned:
            raise asyncio.CancelledError
        return await self._function()

    def abandon(self) -> None:
        """Cancel the call, in the thread that waited for it."""
        self._is_abandoned = True
        task = self._task
        if task is not None and not task.done():
            # the loop may have ended meanwhile, and the task with it
            with suppress(RuntimeError):
                task.get_loop().call_soon_threadsafe(task.cancel)


def refuse_running_loop(what: str) -> None:
    """Raise :class:`ClientStateError` where a blocking call would stop a loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise ClientStateError(
        f"this thread runs an event loop, which a blocking call would stop; use hl_async here, or {what} in a "
        "thread, with asyncio.to_thread()"
    )


def _serve(started: Future[_Started]) -> None:
    """Run a loop until its event is set; what still runs then is cancelled."""

    async def until_stopped() -> None:
        stop = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()

    asyncio.run(until_stopped())


async def _close(client: HighLevel, stop: asyncio.Event) -> None:
    try:
        await client.aclose()
    finally:
        stop.set()


_OPEN: Final[WeakSet[BackgroundLoop]] = WeakSet()


@atexit.register
def _close_all() -> None:
    """Close each open loop while the process ends."""
    # Its threads still run at this point, so connections end in good order.
    for loop in list(_OPEN):
        with suppress(Exception):
            loop.close()
