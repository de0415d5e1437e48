"""The protocol of token stores: where token sets are kept between calls, processes and restarts.

A store keeps small opaque blobs under names. It needs no knowledge of OAuth: compare-and-swap on a version, and a lock
that everything which shares the store respects, are all that the refresher builds on.
``hl_async.testing.stores.TokenStoreContract`` tests a store of your own.
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
