"""Where grants are kept between calls, processes and restarts: the protocol, and the store in memory.

A store keeps small opaque blobs under names. It needs no knowledge of OAuth: compare-and-swap on a version,
and a lock that everybody who shares the store respects, are all that the refresher builds on.
``hl_async.testing.stores.TokenStoreContract`` tests a store of your own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol, runtime_checkable

import msgspec


class Stored(msgspec.Struct, frozen=True):
    """One entry. ``version`` counts its writes from 1; ``data`` is opaque and secret."""

    version: int
    data: bytes

    def __repr__(self) -> str:
        return f"Stored(version={self.version}, {len(self.data)} bytes)"


@runtime_checkable
class TokenStore(Protocol):
    """Keeps blobs under names such as ``<client id>/location/<id>``; safe to share between processes.

    Every method may raise anything: callers turn it into :class:`~hl_async.errors.TokenStoreError`.
    """

    async def load(self, name: str) -> Stored | None:
        """The entry, as the last finished ``save`` of any process left it; None when there is none."""
        ...

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """Write if the entry's version is still ``version`` (0: there is none yet), atomically and durably.

        The entry has ``version + 1`` then, and True is returned. False: somebody else wrote first, nothing
        was changed. When this returns, the entry survives a power cut.
        """
        ...

    async def delete(self, name: str, version: int) -> bool:
        """Remove the entry if its version is still ``version``; False when it is not, or there is none."""
        ...

    async def names(self, prefix: str) -> list[str]:
        """All names that start with ``prefix``, sorted."""
        ...

    def locked(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of ``name`` against every task and process that shares the store.

        It must not outlive the process that holds it, and ``load``, ``save`` and ``delete`` must work inside.
        It saves requests and refresh tokens; correctness rests on ``save``'s comparison.
        """
        ...

    async def aclose(self) -> None:
        """Give resources back. The store may be used again afterwards."""
        ...


class MemoryStore:
    """A store for one process: everything is gone when it ends. For tests, and for tokens that are minted."""

    __slots__ = ("_entries", "_locks")

    def __init__(self) -> None:
        self._entries: dict[str, Stored] = {}
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def load(self, name: str) -> Stored | None:
        """See :meth:`TokenStore.load`."""
        return self._entries.get(name)

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """See :meth:`TokenStore.save`; durable as long as the process lives."""
        if self._version(name) != version:
            return False
        self._entries[name] = Stored(version + 1, data)
        return True

    async def delete(self, name: str, version: int) -> bool:
        """See :meth:`TokenStore.delete`."""
        if version == 0 or self._version(name) != version:
            return False
        del self._entries[name]
        return True

    async def names(self, prefix: str) -> list[str]:
        """See :meth:`TokenStore.names`."""
        return sorted(name for name in self._entries if name.startswith(prefix))

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """See :meth:`TokenStore.locked`."""
        lock, users = self._locks.get(name) or (asyncio.Lock(), 0)
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[name]
            if users == 1:
                del self._locks[name]  # a lock per location for ever would be most of the memory
            else:
                self._locks[name] = (lock, users - 1)

    async def aclose(self) -> None:
        """Nothing to give back; the entries stay."""

    def _version(self, name: str) -> int:
        entry = self._entries.get(name)
        return 0 if entry is None else entry.version

    def __repr__(self) -> str:
        return f"<MemoryStore, {len(self._entries)} entries>"
