"""Internal. Signatures of deliveries: headers, encodings and keys.

The package cryptography is imported with the first key.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

from hl_async.errors import (
    ConfigurationError,
    InvalidRequest,
    SignatureInvalid,
    SignatureMalformed,
    SignatureMissing,
)

HIGHLEVEL_ED25519: Final = "MCowBQYDK2VwAyEAi2HR1srL4o18O8BRa7gVJY7G7bupbN3H9AwJrHCDiOg="
"""HighLevel's public key for ``X-GHL-Signature`` (docs/api-facts.md#api-webhook-signature)."""

HIGHLEVEL_RSA: Final = (
    "MIICIjANBgkqhkiG9w0BAQEFAAOCAg8AMIICCgKCAgEAokvo/r9tVgcfZ5DysOSCFrm602qYV0MaAiNnX9O8KxMbiyRKWeL9JpCpVpt4XHIc"
    "BOK4u3cLSqJGOLaPuXw6dO0t6Q/ZVdAV5Phz+ZtzPL16iCGeK9po6D6JHBpbi989mmzMryUnQJezlYJ3DVfBcsedpinheNnyYeFXolrJvcsj"
    "DtfAeRx5ByHQmTnSdFUzuAnC9/GepgLT9SM4nCpvuxmZMxrJt5Rw+VUaQ9B8JSvbMPpez4peKaJPZHBbU3OdeCVx5klVXXZQGNHOs8gF3kvo"
    "V5rTnXV0IknLBXlcKKAQLZcY/Q9rG6Ifi9c+5vqlvHPCUJFT5XUGG5RKgOKUJ062fRtN+rLYZUV+BjafxQauvC8wSWeYja63VSUruvmNj8xk"
    "x2zE/Juc+yjLjTXpIocmaiFeAO6fUtNjDeFVkhf5LNb59vECyrHD2SQIrhgXpO4Q3dVNA5rw576PwTzNh/AMfHKIjE4xQA1SZuYJmNnmVZLI"
    "ZBlQAF9Ntd03rfadZ+yDiOXCCs9FkHibELhCHULgCsnuDJHcrGNd5/Ddm5hxGQ0ASitgHeMZ0kcIOwKDOzOU53lDza6/Y09T7sYJPQe7z0cv"
    "j7aE4B+Ax1ZoZGPzpJlZtGXCsu9aTEGEnKzmsFqwcSsnw3JB31IGKAykT1hhTiaCeIY/OwwwNUY2yvcCAwEAAQ=="
)
"""HighLevel's public key for the legacy header ``X-WH-Signature``. HighLevel has announced its end
(docs/api-facts.md#api-webhook-legacy-signature)."""

_CURRENT: Final = "x-ghl-signature"
_LEGACY: Final = "x-wh-signature"
_ED25519_LENGTH: Final = 64

Headers = Mapping[str, str] | Iterable[tuple[str | bytes, str | bytes]]
"""A mapping with names in any case, or pairs as in ASGI."""


def check_signature(body: bytes, headers: Headers, keys: Sequence[str], legacy_keys: Sequence[str]) -> None:
    """Raise a :class:`WebhookError` unless one of the keys signed ``body``."""
    current = _signature(headers, _CURRENT)
    if current is not None:
        # A current signature decides alone. Falling back would let an attacker choose the weaker one.
        _check_ed25519(body, current, keys)
        return
    legacy = _signature(headers, _LEGACY) if legacy_keys else None
    if legacy is None:
        raise SignatureMissing(_missing_header(headers, legacy_keys))
    _check_rsa(body, legacy, legacy_keys)


def _signature(headers: Headers, name: str) -> str | None:
    """Return a header's value, or None if it is missing, empty or the text ``N/A``."""
    # A missing signature may appear as "N/A": docs/api-facts.md#api-webhook-checks. A set, because proxies may repeat a
    # header, and the same value twice does no harm.
    found: set[str] = set()
    for raw, value in _pairs(headers):
        key = _text(raw, "a name")
        if key.lower() == name:
            text = _text(value, name)
            if text.strip().upper() not in ("", "N/A"):
                found.add(text)
    if len(found) > 1:
        raise SignatureMalformed(f"there are {len(found)} different {name} headers")
    return found.pop() if found else None


def _pairs(headers: Headers) -> Iterable[tuple[Any, Any]]:
    pairs: Any = headers.items() if isinstance(headers, Mapping) else headers
    # Text can be iterated too, and would give characters.
    if not isinstance(pairs, str | bytes):
        with suppress(TypeError, ValueError):
            return [(name, value) for name, value in pairs]
    raise InvalidRequest("headers", "must be a mapping of names to values, or pairs as in ASGI")


def _text(value: object, what: str) -> str:
    """Return text or Latin-1 bytes of a header as text."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, str):
        return value
    raise InvalidRequest(
        "headers",
        f"{what} is a {type(value).__name__}, not text; pass one value per name (a list is several)",
    )


def _missing_header(headers: Headers, legacy_keys: Sequence[str]) -> str:
    if legacy_keys:
        return f"neither {_CURRENT} nor {_LEGACY} holds a signature"
    text = f"no {_CURRENT} header holds a signature"
    try:
        legacy = _signature(headers, _LEGACY) is not None
    except SignatureMalformed:
        legacy = True
    return f"{text}; the legacy header needs legacy_keys=(HIGHLEVEL_RSA,)" if legacy else text


def _decoded(text: str, length: int | None) -> bytes:
    """Decode canonical base64 only, so that each signature has one accepted spelling."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise SignatureMalformed("the signature is not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise SignatureMalformed("the signature is not canonical base64")
    if length is not None and len(raw) != length:
        raise SignatureMalformed(f"the signature has {len(raw)} bytes instead of {length}")
    return raw


def _check_ed25519(body: bytes, text: str, keys: Sequence[str]) -> None:
    signature = _decoded(text, _ED25519_LENGTH)
    # While one key replaces another, both are valid.
    for key in keys:
        if _ed25519(key)(signature, body):
            return
    raise SignatureInvalid("the signature belongs to another body or another key")


def _check_rsa(body: bytes, text: str, keys: Sequence[str]) -> None:
    signature = _decoded(text, None)
    for key in keys:
        if _rsa(key)(signature, body):
            return
    raise SignatureInvalid("the legacy signature belongs to another body or another key")


# parsing a key takes longer than checking a signature with it
@lru_cache(maxsize=32)
def _ed25519(key: str) -> Callable[[bytes, bytes], bool]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    loaded = _load(key)
    if not isinstance(loaded, Ed25519PublicKey):
        raise ConfigurationError("keys", "an Ed25519 public key is needed; RSA keys belong in legacy_keys")
    return _checker(loaded.verify)


@lru_cache(maxsize=32)
def _rsa(key: str) -> Callable[[bytes, bytes], bool]:
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256

    loaded = _load(key)
    if not isinstance(loaded, RSAPublicKey):
        raise ConfigurationError("legacy_keys", "an RSA public key is needed; Ed25519 keys belong in keys")
    padding, digest = PKCS1v15(), SHA256()
    return _checker(lambda signature, body: loaded.verify(signature, body, padding, digest))


def _checker(check: Callable[[bytes, bytes], None]) -> Callable[[bytes, bytes], bool]:
    from cryptography.exceptions import InvalidSignature

    def is_good(signature: bytes, body: bytes) -> bool:
        try:
            check(signature, body)
        except InvalidSignature:
            return False
        return True

    return is_good


def _load(key: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        # Both forms are in use: the documentation shows PEM, environment variables hold one line.
        if "-----BEGIN" in key:
            return load_pem_public_key(key.strip().encode())
        return load_der_public_key(base64.b64decode("".join(key.split()), validate=True))
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        raise ConfigurationError(
            "keys", "is not a public key; give PEM, or base64 of the SPKI form"
        ) from None


def prepare(keys: Sequence[str], legacy_keys: Sequence[str]) -> None:
    """Load the keys, so that an invalid one fails now and no delivery waits.

    Raises:
        ConfigurationError: A key is not valid, or the package ``cryptography`` is missing.
    """
    try:
        for key in keys:
            _ed25519(key)
        for key in legacy_keys:
            _rsa(key)
    # The package is an extra, because most programs receive no webhooks.
    except ImportError:
        raise ConfigurationError(
            "webhooks", "verifying needs the package cryptography: pip install 'hl-async[webhooks]'"
        ) from None
