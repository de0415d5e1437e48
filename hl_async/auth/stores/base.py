"""Internal. The protocol of token stores.

They keep token sets between calls, processes and restarts. A store keeps small opaque blobs under names and has no
code about OAuth. The refresher relies on two promises: a write compares the version, and a lock holds for every
process that shares the store. ``hl_async.testing.stores.TokenStoreContract`` tests a store of your own.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
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
    """A store of blobs under names such as ``<client id>/location/<id>``.

    Processes may share it. A method may raise any exception: callers turn it into
    :class:`~hl_async.errors.TokenStoreError`.
    """

    async def load(self, name: str) -> Stored | None:
        """Return the entry that the last finished ``save`` of any process wrote, or None."""
        ...

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """Write an entry if its version is still ``version``, atomically and durably.

        Args:
            name: The name of the entry.
            data: The new content.
            version: The expected version; 0 for a missing entry. The new one is ``version + 1``.

        Returns:
            True if the entry was written, and then it survives a power cut. False if another process wrote first;
            nothing changed.
        """
        ...

    async def delete(self, name: str, version: int) -> bool:
        """Remove the entry if its version is still ``version``; else return False."""
        ...

    async def names(self, prefix: str) -> list[str]:
        """Return all names that start with ``prefix``, sorted."""
        ...

    def locked(self, name: str) -> AbstractAsyncContextManager[None]:
        """Hold the lock of ``name`` against every task and process that shares the store.

        The lock must end with its process, and ``load``, ``save`` and ``delete`` must work inside. It spares requests
        and refresh tokens; the comparison in ``save`` keeps tokens correct.
        """
        ...

    async def aclose(self) -> None:
        """Release resources. The store may be used again afterwards."""
        ...
