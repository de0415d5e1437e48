"""Encryption at rest for any store: AES-256-GCM, keys that can be rotated, entries that can't be swapped."""

from __future__ import annotations

import base64
import binascii
import hashlib
import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeAlias

from hl_async.auth.stores.memory import Stored, TokenStore
from hl_async.errors import ConfigurationError, TokenStoreError
from hl_async.secret import Secret

Key: TypeAlias = bytes | str | Secret
"""32 bytes, or their base64 or hexadecimal text."""

KeySource: TypeAlias = Sequence[Key] | Callable[[], Sequence[Key] | Awaitable[Sequence[Key]]]

_MARK: Final = b"\x01hls"
_NONCE: Final = 12
_ID: Final = 4


class EncryptedStore:
    """Encrypts what ``store`` keeps.

    ``keys`` are tried in order of their ids and the first one encrypts, so that ``[new, old]`` rotates: an entry is
    written with the new key when it is next refreshed. They may also be a callable, sync or async, that is asked
    once, at the first use (a key service). The entry's name is authenticated: entries can't be exchanged for
    one another. ``accept_plain`` reads entries that were stored before encryption was switched on. Needs the
    package ``cryptography``; :class:`ConfigurationError` without it, or for a key that is not 32 bytes.
    """

    __slots__ = ("_accept_plain", "_aead", "_ciphers", "_keys", "_store")

    def __init__(self, store: TokenStore, keys: KeySource, *, accept_plain: bool = False) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            AESGCM = None  # type: ignore[assignment, misc]  # noqa: N806
        if AESGCM is None:
            raise ConfigurationError("keys", "encryption needs a package: pip install cryptography")
        self._store = store
        self._aead: Any = AESGCM
        self._keys: Callable[[], Sequence[Key] | Awaitable[Sequence[Key]]] | None = None
        self._ciphers: dict[bytes, Any] = {}
        self._accept_plain = accept_plain
        if callable(keys):
            self._keys = keys
        else:
            self._take(keys)

    async def load(self, name: str) -> Stored | None:
        """See :meth:`TokenStore.load`. Raises :class:`TokenStoreError` for what can't be decrypted."""
        stored = await self._store.load(name)
        if stored is None:
            return None
        await self._ready()
        return Stored(stored.version, self._open(name, stored.data))

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """See :meth:`TokenStore.save`."""
        await self._ready()
        key_id, cipher = next(iter(self._ciphers.items()))
        nonce = os.urandom(_NONCE)
        sealed = _MARK + key_id + nonce + cipher.encrypt(nonce, data, name.encode())
        return await self._store.save(name, sealed, version)

    async def delete(self, name: str, version: int) -> bool:
        """See :meth:`TokenStore.delete`."""
        return await self._store.delete(name, version)

    async def names(self, prefix: str) -> list[str]:
        """See :meth:`TokenStore.names`; names are not encrypted."""
        return await self._store.names(prefix)

    def locked(self, name: str) -> AbstractAsyncContextManager[None]:
        """See :meth:`TokenStore.locked`."""
        return self._store.locked(name)

    async def aclose(self) -> None:
        """Close the store inside."""
        await self._store.aclose()

    async def _ready(self) -> None:
        if self._ciphers or self._keys is None:
            return
        found = self._keys()
        self._take(await found if inspect.isawaitable(found) else found)

    def _take(self, keys: Sequence[Key]) -> None:
        if isinstance(keys, str | bytes | Secret) or not keys:
            raise ConfigurationError("keys", "give a list of one or more keys, the newest first")
        for key in keys:
            raw = _key_bytes(key)
            self._ciphers[hashlib.blake2b(raw, digest_size=_ID).digest()] = self._aead(raw)

    def _open(self, name: str, data: bytes) -> bytes:
        if not data.startswith(_MARK):
            if self._accept_plain:
                return data
            problem = "is not encrypted; open the store with accept_plain=True if it was written before it was sealed"
        else:
            head = len(_MARK)
            key_id = data[head : head + _ID]
            nonce = data[head + _ID : head + _ID + _NONCE]
            cipher = self._ciphers.get(key_id)
            if cipher is None:
                problem = (
                    f"was encrypted with another key (id {key_id.hex()}); add that key to keys=[new, old]"
                )
            else:
                plain = _decrypt(cipher, nonce, data[head + _ID + _NONCE :], name.encode())
                if plain is not None:
                    return plain
                problem = "does not decrypt: it was changed, or copied from another entry"
        raise TokenStoreError(f"the stored entry for {name.rpartition('/')[2]} {problem}")

    def __repr__(self) -> str:
        return f"<EncryptedStore around {self._store!r}>"


def _decrypt(cipher: Any, nonce: bytes, sealed: bytes, name: bytes) -> bytes | None:
    from cryptography.exceptions import InvalidTag

    try:
        plain: bytes = cipher.decrypt(nonce, sealed, name)
    except (InvalidTag, ValueError):
        return None
    return plain


def _key_bytes(key: Key) -> bytes:
    if isinstance(key, Secret):
        key = key.reveal()
    if isinstance(key, str):
        key = _from_text(key.strip())
    if not isinstance(key, bytes) or len(key) != 32:
        raise ConfigurationError(
            "keys", "a key is 32 bytes, or their base64 or hexadecimal text; try: openssl rand -base64 32"
        )
    return key


def _from_text(text: str) -> bytes:
    try:
        if len(text) == 64:
            return bytes.fromhex(text)
        return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_").rstrip("=") + "==")
    except (ValueError, binascii.Error):
        return b""
