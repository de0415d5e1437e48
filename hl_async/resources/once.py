"""Create once: locks, records and pauses around a request that is never repeated."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from typing import Final, Protocol

import msgspec

from hl_async.auth.stores.base import Stored
from hl_async.auth.stores.memory import MemoryStore
from hl_async.config import positive_seconds
from hl_async.errors import ConfigurationError, HighLevelError, TokenStoreError
from hl_async.resources.once_rules import OnceRecord

_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 2.0
_REMEMBERED: Final = 10_000
"""Keys that a process without a store remembers. A long-lived server would otherwise collect them forever."""
_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(OnceRecord)


class OnceStore(Protocol):
    """A store of the records and locks of keys.

    `SqliteStore`, `PostgresTokenStore` and `MemoryStore` implement it.
    """

    async def load(self, name: str) -> Stored | None:
        """Return the entry, or None."""
        ...

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """Write the entry durably if its version is still `version`; else return False.

        Version 0 means a new entry.
        """
        ...

    def locked(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of a name against every task and process that shares the store."""
        ...

    async def aclose(self) -> None:
        """Release resources."""
        ...


class Once(msgspec.Struct, frozen=True):
    """How documents and contacts are created once.

    Without a store the promise covers the tasks of one process, and estimates that lists return with `meta`.

    Attributes:
        store: Where locks and keys are kept: `SqliteStore` for the processes of a host, `PostgresTokenStore` for
            several hosts. It is closed with the client.
        settle: Seconds after which a request without an answer can no longer take effect. Proxies end a request
            after 100 to 120 seconds, and the server may go on.
        patience: Seconds for which one call looks for the result of a request without an answer.
        depth: Number of the contact's newest documents that one look reads.

    Raises:
        ConfigurationError: A value is out of range, or the store has no locks.
    """

    store: OnceStore | None = None
    settle: float = 150.0
    patience: float = 10.0
    depth: int = 200

    def __post_init__(self) -> None:
        # A path or a connection passed by mistake must fail here, not at the first document.
        if self.store is not None and not callable(getattr(self.store, "locked", None)):
            raise ConfigurationError("once.store", f"{self.store!r} is not a store; pass SqliteStore(path)")
        positive_seconds("once.settle", self.settle)
        positive_seconds("once.patience", self.patience)
        if not isinstance(self.depth, int) or self.depth < 1:
            raise ConfigurationError("once.depth", f"{self.depth!r} is not a positive whole number")


class KeyKeeper:
    """Internal. The locks and records of one client."""

    __slots__ = ("_local", "_recent", "_store", "meta_in_lists", "settings")

    def __init__(self, settings: Once | None) -> None:
        if settings is not None and not isinstance(settings, Once):
            raise ConfigurationError("once", f"takes Once(store), got {type(settings).__name__}")
        self.settings: Once = settings or Once()
        self._local = MemoryStore()
        self._recent: deque[str] = deque()
        self._store: OnceStore = self.settings.store or self._local
        self.meta_in_lists: dict[str, bool] = {}
        """Whether the lists of a location return `meta`, as far as it was seen."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes see the keys."""
        return self._store is not self._local and not isinstance(self._store, MemoryStore)

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of a name in this process and in those that share the store.

        Raises:
            TokenStoreError: The store can't be reached. Nothing was sent.
        """
        # One task per process waits at the store, so that waiting tasks occupy none of its connections.
        async with self._local.locked(f"queue/{name}"):
            lock = self._store.locked(name)
            with _store_errors():
                await lock.__aenter__()
            try:
                yield
            finally:
                # A store that fails now must not hide the document. The lock ends with its connection.
                with suppress(Exception):
                    await lock.__aexit__(None, None, None)

    async def load(self, name: str) -> OnceRecord | None:
        """Return the record of a key."""
        with _store_errors():
            stored = await self._store.load(name)
            return None if stored is None else _decoder.decode(stored.data)

    async def save(self, name: str, record: OnceRecord) -> None:
        """Write the record of a key, durably."""
        data = _encoder.encode(record)
        with _store_errors():
            while True:
                stored = await self._store.load(name)
                if await self._store.save(name, data, 0 if stored is None else stored.version):
                    break
            # Only the memory of this process is bounded. A store keeps its keys.
            if stored is None and self._store is self._local:
                await self._forget_oldest(name)

    async def _forget_oldest(self, name: str) -> None:
        self._recent.append(name)
        if len(self._recent) > _REMEMBERED:
            oldest = self._recent.popleft()
            known = await self._local.load(oldest)
            if known is not None:
                await self._local.delete(oldest, known.version)

    async def claim(self, name: str, owner: str, *, take_over: bool = False) -> bool:
        """Make a name the owner's. Return False if it belongs to another owner.

        Args:
            name: The claimed thing, such as an invoice number.
            owner: The name of a key.
            take_over: Take the name from a key whose request was refused. A number that was generated for that key
                stays with it.
        """
        # Another process may write between load and save. Its version differs then, and the loop reads again.
        mine = _encoder.encode(OnceRecord(owner))
        while True:
            with _store_errors():
                stored = await self._store.load(name)
                if stored is None:
                    if await self._store.save(name, mine, 0):
                        return True
                    continue
            holder = _decoder.decode(stored.data).content
            if holder == owner:
                return True
            # Only a key without a request, a document and a generated number may lose the name.
            record = await self.load(holder) if take_over else None
            if record is None or record.sent_at or record.document or record.number:
                return False
            with _store_errors():
                if await self._store.save(name, mine, stored.version):
                    return True

    async def aclose(self) -> None:
        """Release the store."""
        await self._store.aclose()


@contextmanager
def _store_errors() -> Iterator[None]:
    """Turn the exceptions of any store into :class:`TokenStoreError`."""
    try:
        yield
    # A store of ours reports its own errors.
    except HighLevelError:
        raise
    except Exception as error:
        raise TokenStoreError(f"the store of keys failed: {type(error).__name__}: {error}") from error


class Patience:
    """Internal. Growing pauses until a deadline."""

    __slots__ = ("_pause", "_until")

    def __init__(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self._pause = _FIRST_PAUSE

    async def rest(self) -> bool:
        """Sleep for a while. Return False at once if the deadline has passed."""
        left = self._until - time.monotonic()
        if left <= 0:
            return False
        await asyncio.sleep(min(self._pause, left))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        return True
