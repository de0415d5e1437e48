"""Internal. Token sets in a store: names of entries, encoding, compare and swap.

Every failure of a store becomes a :class:`TokenStoreError`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, NamedTuple, TypeVar

from hl_async.auth.stores.base import TokenStore
from hl_async.auth.tokens import COMPANY, LOCATION, TokenSet, decode_grant, encode_grant, fingerprint
from hl_async.errors import TokenStoreError
from hl_async.secret import redact

T = TypeVar("T")

_STATE: Final = "state"
_RACES: Final = 16


class Found(NamedTuple):
    """A token set as it was read. A later write must name ``version``."""

    name: str
    grant: TokenSet
    version: int


class TokenRepository:
    """The token sets of one app, in a store that other apps may share.

    If the store fails, every method raises :class:`TokenStoreError` and no other exception.
    """

    __slots__ = ("_client_id", "_store")

    def __init__(self, client_id: str, store: TokenStore) -> None:
        self._client_id = client_id
        self._store = store

    def name_of(self, kind: str, key: str) -> str:
        """Return the name of an entry in the store."""
        return f"{self._client_id}/{kind.lower()}/{key}"

    async def load(self, name: str) -> Found | None:
        """Return the token set under ``name``, or None."""
        key = name.rpartition("/")[2]
        stored = await self._guarded(key, "read", lambda: self._store.load(name))
        return None if stored is None else Found(name, decode_grant(stored.data, key), stored.version)

    async def find(self, key: str) -> Found | None:
        """Return the token set of the location or company with this id, or None."""
        return await self.load(self.name_of(LOCATION, key)) or await self.load(self.name_of(COMPANY, key))

    async def save(self, name: str, grant: TokenSet, version: int) -> bool:
        """Write durably if the entry is still at ``version``; else return False."""
        data = encode_grant(grant)
        return await self._guarded(grant.key, "written", partial(self._save, name, data, version))

    async def replace_spent(self, name: str, grant: TokenSet, version: int, spent: str) -> TokenSet | None:
        """Store the successor of a used refresh token, against concurrent writes.

        Args:
            name: The entry.
            grant: The new token set.
            version: Version of the entry that was read.
            spent: Fingerprint of the refresh token that was exchanged for ``grant``.

        Returns:
            The token set in the store: ``grant``, or the one of a newer consent. None if the entry was removed.
        """
        ours = fingerprint(grant.refresh_token)
        for _ in range(_RACES):
            if await self.save(name, grant, version):
                return grant
            found = await self.load(name)
            if found is None:
                return None
            if fingerprint(found.grant.refresh_token) not in (spent, ours):
                return found.grant
            # Another process wrote the same token's entry: the lock was lost. This pair is the only valid one, so it is
            # written over that entry.
            version = found.version
        raise contended(grant.key)

    async def put(self, name: str, grant: TokenSet) -> None:
        """Overwrite the entry with the token set of a new consent.

        A consent is newer than any stored token set.
        """
        data = encode_grant(grant)
        # A refresh that runs at the same time must not win, so the write is repeated until it holds.
        for _ in range(_RACES):
            stored = await self._guarded(grant.key, "read", lambda: self._store.load(name))
            version = stored.version if stored else 0
            if await self._guarded(grant.key, "written", partial(self._save, name, data, version)):
                return
        raise contended(grant.key)

    def _save(self, name: str, data: bytes, version: int) -> Awaitable[bool]:
        # A store of the user's own gets plain bytes: encoders such as msgspec refuse subclasses.
        return self._store.save(name, bytes(data), version)

    async def remove(self, name: str) -> bool:
        """Remove an entry, even an unreadable one. Return False if it was missing."""
        key = name.rpartition("/")[2]
        for _ in range(_RACES):
            stored = await self._guarded(key, "read", lambda: self._store.load(name))
            if stored is None:
                return False
            if await self._guarded(key, "written", partial(self._store.delete, name, stored.version)):
                return True
        raise contended(key)

    async def names(self, kind: str) -> list[str]:
        """Return the names of all entries of a kind."""
        prefix = self.name_of(kind, "")
        return await self._guarded("", "read", lambda: self._store.names(prefix))

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """Hold the entry's lock. Errors of the block itself pass through unchanged."""
        key = name.rpartition("/")[2]
        lock = self._store.locked(name)
        await self._guarded(key, "locked", lock.__aenter__)
        try:
            yield
        finally:
            # The lock never sees the block's error: a store must not roll back the writes made inside.
            await self._guarded(key, "unlocked", lambda: lock.__aexit__(None, None, None))

    async def remember(self, state: str, data: bytes) -> None:
        """Store ``data`` under a one-time name, for one :meth:`recall`."""
        name = self.name_of(_STATE, state)
        if not await self._guarded("", "written", lambda: self._store.save(name, data, 0)):
            raise TokenStoreError("a random name came up twice; is the random source broken?")

    async def recall(self, state: str) -> bytes | None:
        """Return the data under a one-time name to one caller, and None to all others."""
        name = self.name_of(_STATE, state)
        stored = await self._guarded("", "read", lambda: self._store.load(name))
        if stored is None:
            return None
        version = stored.version
        # Deleted at the version that was read, so that one of two callers gets it.
        taken = await self._guarded("", "written", lambda: self._store.delete(name, version))
        return stored.data if taken else None

    async def states(self) -> list[str]:
        """Return the one-time names that are still unused."""
        return [name.rpartition("/")[2] for name in await self.names(_STATE)]

    async def aclose(self) -> None:
        """Close the store."""
        await self._guarded("", "closed", self._store.aclose)

    async def _guarded(self, key: str, verb: str, act: Callable[[], Awaitable[T]]) -> T:
        """Turn every failure of a store into a :class:`TokenStoreError`.

        Its traceback is dropped: the frames refer to the store's objects and may show tokens.
        """
        try:
            return await act()
        except TokenStoreError as error:
            failure = error
            failure.key = failure.key or key
        except Exception as error:  # noqa: BLE001 - a store of the user's may raise anything
            problem = f"{type(error).__name__}: {redact(str(error))[:200]}"
            failure = TokenStoreError(f"the token store could not be {verb}: {problem}", key=key)
        raise failure.with_traceback(None)


def contended(key: str) -> TokenStoreError:
    """Return the error for an entry that other processes keep writing."""
    return TokenStoreError(
        f"the entry for {key} changes continuously; other processes keep writing it", key=key
    )
