"""Internal. The tokens of one installation: lifetime, and form in a store.

Pure. Tokens are :class:`Secret` from the decoder to the store. Only the blob that :func:`encode_grant` creates for
a :class:`~hl_async.auth.stores.base.TokenStore` shows them.
"""

from __future__ import annotations

import hashlib
import math
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from hl_async.errors import TokenStoreError
from hl_async.models import TokenGrant
from hl_async.secret import MaskedBytes, MaskedText, Secret

COMPANY: Final = "Company"
LOCATION: Final = "Location"

DEFAULT_LIFE: Final = 3600.0
"""Assumed lifetime in seconds if the server names none. If it is too long, a 401 leads to a renewal."""

LONGEST_LIFE: Final = 86_400.0
"""The documented lifetime in seconds (docs/api-facts.md#api-token-lifetimes). It replaces one of more than a week."""

_ABSURD: Final = 7 * LONGEST_LIFE
_FORMAT: Final = 1


class TokenSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tokens of one company or location.

    Times are epoch seconds; ``life`` is the access token's lifetime in seconds.

    Attributes:
        minted: Made from the company's token. It can be made again and has no refresh token.
        refreshing: Fingerprint of a refresh token that was sent at ``refreshing_since`` without an answer so far.
        lost: Fingerprint of a refresh token that the server has refused for good.
    """

    format: int = _FORMAT
    kind: str
    access_token: Secret
    refresh_token: Secret | None = None
    company_id: str | None = None
    location_id: str | None = None
    user_id: str | None = None
    scope: str = ""
    obtained_at: float
    life: float
    minted: bool = False
    refreshing: str | None = None
    refreshing_since: float | None = None
    lost: str | None = None

    @property
    def key(self) -> str:
        """The id of the location, or of the company."""
        return (self.company_id if self.kind == COMPANY else self.location_id) or ""

    @property
    def header(self) -> MaskedText:
        """The ``Authorization`` header."""
        return MaskedText(f"Bearer {self.access_token.reveal()}")

    @property
    def expires_at(self) -> float:
        """End of the access token's life in epoch seconds."""
        return self.obtained_at + self.life

    def remaining(self, wall: float) -> float:
        """Return the seconds left at ``wall``, in epoch seconds; negative after the end."""
        # a clock that was set back must not lengthen the life of a token
        return self.life - max(wall - self.obtained_at, 0.0)

    def replace(self, **changes: Any) -> TokenSet:
        """Return a copy with ``changes``."""
        return msgspec.structs.replace(self, **changes)


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about an installation, without its secrets.

    Attributes:
        kind: ``Company`` or ``Location``.
        key: The id of the company or location.
        company_id: The company, if known.
        location_id: The location, None for a company.
        user_id: The user who installed the app, if known.
        scopes: The granted scopes.
        expires_at: End of the access token's life, in UTC.
        refreshable: The token can be renewed without a person.
        minted: The token was made from the company's token.
        state: ``ok``, ``expired`` (the next call renews it), ``uncertain`` (the answer to a refresh is missing; the
            next refresh decides) or ``lost`` (the app must be installed again).
    """

    kind: str
    key: str
    company_id: str | None
    location_id: str | None
    user_id: str | None
    scopes: tuple[str, ...]
    expires_at: datetime
    refreshable: bool
    minted: bool
    state: str


def installation(grant: TokenSet, wall: float) -> Installation:
    """Return the public facts of ``grant`` at ``wall``."""
    refresh = fingerprint(grant.refresh_token)
    # compared by fingerprint: a later refresh token makes both marks void without a write that clears them
    if grant.lost is not None and grant.lost == refresh:
        state = "lost"
    elif grant.refreshing is not None and grant.refreshing == refresh:
        state = "uncertain"
    else:
        state = "ok" if grant.remaining(wall) > 0 else "expired"
    return Installation(
        kind=grant.kind,
        key=grant.key,
        company_id=grant.company_id,
        location_id=grant.location_id,
        user_id=grant.user_id,
        scopes=tuple(grant.scope.split()),
        # whole seconds: the fraction is that of our clock, and means nothing to people
        expires_at=datetime.fromtimestamp(round(grant.expires_at), UTC),
        # a token of a location can be made again from that of its company, and needs no refresh token
        refreshable=grant.minted or grant.refresh_token is not None,
        minted=grant.minted,
        state=state,
    )


def fingerprint(secret: Secret | None) -> str:
    """Return a short name that does not reveal the secret, or an empty text for None."""
    if secret is None:
        return ""
    return hashlib.blake2b(secret.reveal().encode(), digest_size=9).hexdigest()


def believed_life(expires_in: object) -> float:
    """Return the lifetime in seconds that an ``expires_in`` of any type stands for.

    An invalid one stands for :data:`DEFAULT_LIFE`, one of more than a week for :data:`LONGEST_LIFE`.
    """
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str | Decimal):
        return DEFAULT_LIFE
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return DEFAULT_LIFE
    if not math.isfinite(seconds) or seconds <= 0:
        return DEFAULT_LIFE
    # Such a number has another unit, or is a moment: it says nothing about the life.
    return LONGEST_LIFE if seconds > _ABSURD else seconds


def is_usable(answer: TokenGrant) -> bool:
    """Return whether an answer contains an access token that is valid in a header."""
    access = answer.access_token
    return bool(access) and all(0x21 <= ord(character) <= 0x7E for character in access or "")


def grant_from_answer(answer: TokenGrant, wall: float, previous: TokenSet | None = None) -> TokenSet:
    """Return the tokens of a usable answer of the token endpoint.

    Missing parts (ids, scope, the refresh token) are taken from ``previous``.
    """
    access = answer.access_token
    assert access is not None
    # The answer to a refresh may leave out unchanged facts.
    location = answer.location_id or (previous.location_id if previous else None)
    company = answer.company_id or (previous.company_id if previous else None)
    kind = answer.user_type or (previous.kind if previous else None)
    # the field is not always there; a location in the answer decides in its place
    if kind not in (COMPANY, LOCATION):
        kind = LOCATION if location else COMPANY
    refresh = Secret(answer.refresh_token) if answer.refresh_token else None
    return TokenSet(
        kind=kind,
        access_token=Secret(access),
        refresh_token=refresh or (previous.refresh_token if previous else None),
        company_id=company,
        location_id=location if kind == LOCATION else None,
        user_id=answer.user_id or (previous.user_id if previous else None),
        scope=answer.scope or (previous.scope if previous else ""),
        obtained_at=wall,
        life=believed_life(answer.expires_in),
    )


def _reveal(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise NotImplementedError(f"{type(value).__name__} is not part of a grant")


def _conceal(kind: type[Any], value: Any) -> Any:
    if kind is Secret and isinstance(value, str):
        return Secret(value)
    raise NotImplementedError(f"{kind.__name__} is not part of a grant")


_encoder: Final = msgspec.json.Encoder(enc_hook=_reveal)
_decoder: Final = msgspec.json.Decoder(TokenSet, dec_hook=_conceal)


def encode_grant(grant: TokenSet) -> bytes:
    """Return the blob for a store, with the tokens in clear text.

    ``EncryptedStore`` encrypts it.
    """
    return MaskedBytes(_encoder.encode(grant))


def decode_grant(data: bytes, key: str) -> TokenSet:
    """Decode a blob.

    Raises:
        TokenStoreError: The blob is not a valid token set, or was written by a later version.
    """
    data = MaskedBytes(data)  # the error below shows this frame's locals to crash reporters
    try:
        grant = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = "holds no readable grant: it is corrupt, or encrypted and opened without its key"
    else:
        if grant.format == _FORMAT:
            return grant
        problem = "was written by a later version of hl_async; upgrade it"
    raise TokenStoreError(f"the stored entry for {key} {problem}", key=key)
