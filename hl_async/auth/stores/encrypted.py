"""Internal. Encryption at rest for any token store."""

from __future__ import annotations

import base64
import binascii
import inspect
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from hl_async.auth.stores.base import Stored, TokenStore
from hl_async.errors import ConfigurationError, TokenStoreError
from hl_async.secret import MaskedBytes, Secret

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

Key: TypeAlias = bytes | str | Secret
"""32 bytes, or their base64 or hexadecimal text."""

KeySource: TypeAlias = Sequence[Key] | Callable[[], Sequence[Key] | Awaitable[Sequence[Key]]]

# in front of each encrypted entry: one that was stored in plain has no mark, and is recognized without a key
_MARK: Final = b"fernet:"
_KEY_BYTES: Final = 32


class _Entry(msgspec.Struct, array_like=True):
    """The plaintext of an entry, with the entry's name inside.

    Fernet authenticates no associated data, so the name has to be part of the plaintext.
    """

    name: str
    data: bytes

    def __repr__(self) -> str:
        return f"<entry {self.name}, {len(self.data)} secret bytes>"


class EncryptedStore:
    """Encrypts the entries of another store with ``cryptography.fernet.MultiFernet``.

    The entry's name is part of the plaintext: an entry that was copied under another name is refused. Make a key with
    ``openssl rand -base64 32`` or ``Fernet.generate_key()``. To rotate keys, put the new one first, ``[new, old]``:
    every entry is written with the new key when its token is next renewed, and then the old key can go.

    Args:
        store: The store that keeps the encrypted entries.
        keys: The keys, newest first: the first one encrypts, all of them decrypt. Or a function, sync or async, that
            returns them (a key service); it is called once, at the first use.
        accept_plain: Read entries that were stored before encryption was switched on.

    Raises:
        ConfigurationError: A key is not 32 bytes, or the package ``cryptography`` (extra ``webhooks``) is missing.
    """

    __slots__ = ("_accept_plain", "_cipher", "_keys", "_store")

    def __init__(self, store: TokenStore, keys: KeySource, *, accept_plain: bool = False) -> None:
        self._store = store
        self._keys: Callable[[], Sequence[Key] | Awaitable[Sequence[Key]]] | None = None
        self._cipher: MultiFernet | None = None
        # a store that was plain before stays readable, and each entry is encrypted at its next write
        self._accept_plain = accept_plain
        if callable(keys):
            # a missing package shows here, and not at the first token
            _check_installed()
            self._keys = keys
        else:
            self._cipher = _cipher(keys)

    async def load(self, name: str) -> Stored | None:
        """See :meth:`TokenStore.load`.

        Raises :class:`TokenStoreError` for an entry that does not decrypt.
        """
        stored = await self._store.load(name)
        if stored is None:
            return None
        return Stored(stored.version, self._open(await self._ready(), name, stored.data))

    async def save(self, name: str, data: bytes, version: int) -> bool:
        """See :meth:`TokenStore.save`."""
        data = MaskedBytes(data)  # this frame awaits and may raise
        cipher = await self._ready()
        sealed = cipher.encrypt(msgspec.msgpack.encode(_Entry(name, bytes(data))))
        return await self._store.save(name, _MARK + sealed, version)

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

    async def _ready(self) -> MultiFernet:
        if self._cipher is None:
            assert self._keys is not None
            found = self._keys()
            self._cipher = _cipher(await found if inspect.isawaitable(found) else found)
        return self._cipher

    def _open(self, cipher: MultiFernet, name: str, data: bytes) -> bytes:
        data = MaskedBytes(data)  # the error below is raised from this frame
        if data.startswith(_MARK):
            entry = _decrypt(cipher, data[len(_MARK) :])
            if entry is not None and entry.name == name:
                return entry.data
            if entry is None:
                problem = (
                    "does not decrypt: it was changed, or encrypted with another key; "
                    "add that key to keys=[new, old]"
                )
            else:
                problem = "was copied from another entry"
        elif self._accept_plain:
            return data
        else:
            problem = (
                "is not encrypted; open the store with accept_plain=True if it was written before encryption"
            )
        raise TokenStoreError(f"the stored entry for {name.rpartition('/')[2]} {problem}")

    def __repr__(self) -> str:
        return f"<EncryptedStore around {self._store!r}>"


def _cipher(keys: Sequence[Key]) -> MultiFernet:
    _check_installed()
    from cryptography.fernet import Fernet, MultiFernet

    if isinstance(keys, str | bytes | Secret) or not keys:
        raise ConfigurationError("keys", "give a list of one or more keys, the newest first")
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_key_bytes(key))) for key in keys])


def _check_installed() -> None:
    try:
        import cryptography.fernet  # noqa: F401
    except ImportError:
        missing = True
    else:
        missing = False
    if missing:
        raise ConfigurationError("keys", "encryption needs a package: pip install cryptography")


def _decrypt(cipher: MultiFernet, sealed: bytes) -> _Entry | None:
    from cryptography.fernet import InvalidToken

    try:
        return msgspec.msgpack.decode(cipher.decrypt(sealed), type=_Entry)
    # an authentic text that is not an entry was not written by this store
    except (InvalidToken, msgspec.MsgspecError):
        return None


def _key_bytes(key: Key) -> bytes:
    if isinstance(key, Secret):
        key = key.masked()
    if isinstance(key, bytes) and len(key) != _KEY_BYTES:
        # Fernet.generate_key() returns its text as bytes
        key = key.decode("ascii", "replace")
    if isinstance(key, str):
        key = _from_text(key.strip())
    if not isinstance(key, bytes) or len(key) != _KEY_BYTES:
        raise ConfigurationError(
            "keys", "a key is 32 bytes, or their base64 or hexadecimal text; try: openssl rand -base64 32"
        )
    return key


def _from_text(text: str) -> bytes:
    # keys are made by many tools: hexadecimal, base64 and its variant for URLs, with or without padding
    try:
        if len(text) == 2 * _KEY_BYTES:
            return bytes.fromhex(text)
        return base64.urlsafe_b64decode(text.replace("+", "-").replace("/", "_").rstrip("=") + "==")
    except (ValueError, binascii.Error):
        return b""
