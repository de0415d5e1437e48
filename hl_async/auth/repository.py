"""Grants in a store: names, blobs, and every failure of a store as one kind of error."""

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
    """A grant as it was read; ``version`` is what a later write has to name."""

    name: str
    grant: TokenSet
    version: int


class TokenRepository:
    """The grants of one app in a store that may hold others too.

    Every method raises :class:`TokenStoreError`, and nothing else, when the store fails.
    """

    __slots__ = ("_client_id", "_store")

    def __init__(self, client_id: str, store: TokenStore) -> None:
        self._client_id = client_id
        self._store = store

    def name_of(self, kind: str, key: str) -> str:
        """The entry's name in the store."""
        return f"{self._client_id}/{kind.lower()}/{key}"

    async def load(self, name: str) -> Found | None:
        """The grant under ``name``."""
        key = name.rpartition("/")[2]
        stored = await self._guarded(key, "read", lambda: self._store.load(name))
        return None if stored is None else Found(name, decode_grant(stored.data, key), stored.version)

    async def find(self, key: str) -> Found | None:
        """The grant of a location, or of a company, of that id."""
        return await self.load(self.name_of(LOCATION, key)) or await self.load(self.name_of(COMPANY, key))

    async def save(self, name: str, grant: TokenSet, version: int) -> bool:
        """Write if the entry is still at ``version``; durable when this returns True."""
        data = encode_grant(grant)
        return await self._guarded(grant.key, "written", partial(self._save, name, data, version))

    async def replace_spent(self, name: str, grant: TokenSet, version: int, spent: str) -> TokenSet | None:
        """Write ``grant``, which came for the refresh token with the fingerprint ``spent``, whatever others did.

        Returns what stands in the store then: ``grant``, or that of a newer consent; None when the entry was removed.
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
            version = found.version  # a lock that was lost must not cost the only valid pair
        raise TokenStoreError(f"the entry for {grant.key} is written by others all the time", key=grant.key)

    async def put(self, name: str, grant: TokenSet) -> None:
        """Write whatever is there: for a grant that comes from a new consent and is newer than anything stored."""
        data = encode_grant(grant)
        for _ in range(_RACES):
            stored = await self._guarded(grant.key, "read", lambda: self._store.load(name))
            version = stored.version if stored else 0
            if await self._guarded(grant.key, "written", partial(self._save, name, data, version)):
                return
        raise TokenStoreError(f"the entry for {grant.key} is written by others all the time", key=grant.key)

    def _save(self, name: str, data: bytes, version: int) -> Awaitable[bool]:
        # plain bytes for a store of the user's: encoders such as msgspec refuse subclasses
        return self._store.save(name, bytes(data), version)

    async def remove(self, name: str) -> bool:
        """Remove an entry, readable or not; False when there was none."""
        key = name.rpartition("/")[2]
        for _ in range(_RACES):
            stored = await self._guarded(key, "read", lambda: self._store.load(name))
            if stored is None:
                return False
            if await self._guarded(key, "written", partial(self._store.delete, name, stored.version)):
                return True
        raise TokenStoreError(f"the entry for {key} is written by others all the time", key=key)

    async def names(self, kind: str) -> list[str]:
        """The names of all entries of a kind."""
        prefix = self.name_of(kind, "")
        return await self._guarded("", "read", lambda: self._store.names(prefix))

    @asynccontextmanager
    async def locked(self, name: str) -> AsyncIterator[None]:
        """Hold the entry's lock; errors of the block itself pass through untouched."""
        key = name.rpartition("/")[2]
        lock = self._store.locked(name)
        await self._guarded(key, "locked", lock.__aenter__)
        try:
            yield
        finally:
            # the lock is not told how the block ended: a store must not roll back what was saved inside
            await self._guarded(key, "unlocked", lambda: lock.__aexit__(None, None, None))

    async def remember(self, state: str, data: bytes) -> None:
        """Keep ``data`` under a one-time name."""
        name = self.name_of(_STATE, state)
        if not await self._guarded("", "written", lambda: self._store.save(name, data, 0)):
            raise TokenStoreError("a random name came up twice; is the random source broken?")

    async def recall(self, state: str) -> bytes | None:
        """The data under a one-time name, to exactly one of any number of callers; None to all others."""
        name = self.name_of(_STATE, state)
        stored = await self._guarded("", "read", lambda: self._store.load(name))
        if stored is None:
            return None
        version = stored.version
        taken = await self._guarded("", "written", lambda: self._store.delete(name, version))
        return stored.data if taken else None

    async def states(self) -> list[str]:
        """The one-time names that nobody has called for."""
        return [name.rpartition("/")[2] for name in await self.names(_STATE)]

    async def aclose(self) -> None:
        """Close the store."""
        await self._guarded("", "closed", self._store.aclose)

    async def _guarded(self, key: str, verb: str, act: Callable[[], Awaitable[T]]) -> T:
        """Whatever a store raises becomes a :class:`TokenStoreError` that holds none of its objects."""
        try:
            return await act()
        except TokenStoreError as error:
            failure = error
            failure.key = failure.key or key
        except Exception as error:  # noqa: BLE001 - a store of the user's may raise anything
            problem = f"{type(error).__name__}: {redact(str(error))[:200]}"
            failure = TokenStoreError(f"the token store could not be {verb}: {problem}", key=key)
        raise failure.with_traceback(None)
