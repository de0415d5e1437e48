"""Internal. A token store in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hl_async.auth.stores.base import Stored


class MemoryStore:
    """Keeps tokens in memory, for one process: for tests, and for minted tokens."""

    __slots__ = ("_entries", "_locks")

    def __init__(self) -> None:
        self._entries: dict[str, Stored] = {}
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    async def load(self, name: str) -> Stored | None:
        """See :meth:`TokenStore.load`."""
        return self._entries.get(name)

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """See :meth:`TokenStore.save`; an entry lasts as long as the process."""
        if self._version(name) != version:
            return False
        self._entries[name] = Stored(version + 1, data)
        return True

    async def delete(self, name: str, version: int) -> bool:
        """See :meth:`TokenStore.delete`."""
        # version 0 stands for a missing entry
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
        # counted with its waiters: the last of them removes the lock
        lock, users = self._locks.get(name) or (asyncio.Lock(), 0)
        self._locks[name] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[name]
            if users == 1:
                # with thousands of locations, a lock for each of them would be most of the memory
                del self._locks[name]
            else:
                self._locks[name] = (lock, users - 1)

    async def aclose(self) -> None:
        """Do nothing; the entries stay."""

    def _version(self, name: str) -> int:
        entry = self._entries.get(name)
        return 0 if entry is None else entry.version

    def __repr__(self) -> str:
        return f"<MemoryStore, {len(self._entries)} entries>"
