"""Internal. The blocking surface: proxies of asynchronous objects, made at use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from hl_async.auth.credentials import Credentials
from hl_async.client import HighLevel as AsyncHighLevel
from hl_async.client import Location as AsyncLocation
from hl_async.errors import ClientStateError
from hl_async.pagination import Page, Pager
from hl_async.secret import Secret
from hl_async.sync.background import BackgroundLoop

T = TypeVar("T")

_RESOURCES: Final = "hl_async.resources"


class SyncPager(Generic[T]):
    """A list that is fetched as it is read: by iteration, or by its ``first`` page.

    ``for item in pager`` gives every item, ``pager.pages()`` every page, ``pager.collect()`` a list,
    ``pager.count()`` the number of items.
    """

    __slots__ = ("_loop", "_pager")

    def __init__(self, loop: BackgroundLoop, pager: Pager[T]) -> None:
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

    def count(self) -> int:
        """Return the number of items from the offset on, as the API states it."""
        return self._loop.run(self._pager.count)

    def __repr__(self) -> str:
        return f"<Sync{repr(self._pager)[1:]}"


class _Proxy:
    """An object of the asynchronous surface whose coroutines are waited for."""

    __slots__ = ("_loop", "_target")

    def __init__(self, loop: BackgroundLoop, target: Any) -> None:
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
        target = getattr(self, "_target", None)  # missing while the constructor raises
        return f"<sync {repr(target).removeprefix('<') if target else 'new>'}"


class HighLevel(_Proxy):
    """The blocking client: one per process, shared by all its threads.

    Takes the arguments of ``hl_async.HighLevel``. It opens itself at its first call, and closes when the process ends;
    a ``with`` block, or ``open()`` and ``close()``, do both at a time of your choice. A module may hold it although its
    server forks (Celery's prefork pool, gunicorn with preloading), as long as the first call comes after the fork.

    Raises:
        ClientStateError: It is used after it was closed, or in a thread that runs an event loop.
        ForkedClient: It was used before a fork.
    """

    __slots__ = ()

    def __init__(self, credentials: Credentials | Secret | str, **settings: Any) -> None:
        # Text is wrapped at once, so that no repr of a frame above shows the token.
        if isinstance(credentials, str):
            credentials = Secret(credentials)
        client = AsyncHighLevel(credentials, **settings)
        super().__init__(BackgroundLoop(client), client)

    @classmethod
    def from_env(cls, **settings: Any) -> Self:
        """Return a client from the environment; see ``hl_async.HighLevel.from_env``."""
        # The constructor would read its arguments and not the environment.
        made = cls.__new__(cls)
        client = AsyncHighLevel.from_env(**settings)
        _Proxy.__init__(made, BackgroundLoop(client), client)
        return made

    def open(self) -> Self:
        """Start the loop and open the pool before the first call. Return the client."""
        self._loop.open()
        return self

    def close(self) -> None:
        """Close the pool and end the background loop. A second call does nothing."""
        self._loop.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._loop.is_closed

    def run(self, function: Callable[[AsyncHighLevel], Coroutine[Any, Any, T]]) -> T:
        """Run an asynchronous function on the client's loop and return its result.

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


def _blocking(loop: BackgroundLoop, value: Any) -> Any:
    """Return ``value`` in the form that a synchronous caller can use."""
    if isinstance(value, Pager):
        return SyncPager(loop, value)
    if isinstance(value, AsyncLocation | AsyncHighLevel) or _is_resource(type(value)):
        return _Proxy(loop, value)
    if isinstance(value, Coroutine):
        try:
            result = loop.run(lambda: value)
        except ClientStateError:
            value.close()  # it never started, and Python would warn of that
            raise
        return _blocking(loop, result)
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
    """Return whether ``kind`` holds endpoints: its module then has the same name."""
    room, _, stem = kind.__module__.rpartition(".")
    return room == _RESOURCES and kind.__name__.lower() == stem.replace("_", "")


def _iterate(loop: BackgroundLoop, source: AsyncIterator[T]) -> Iterator[T]:
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
            # A loop that breaks off must not leave the generator open on the other thread. A closed client has ended
            # it. Garbage is collected in any thread, the loop's own among them, so nothing waits here.
            with suppress(ClientStateError):
                loop.start(close)
