"""What one installation of the app holds, how long it is good, and how it is written into a store. Pure.

Tokens are :class:`Secret` from the decoder to the store; the only text form that shows them is the blob that
:func:`encode_grant` makes for a :class:`~hl_async.auth.stores.base.TokenStore`.
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
"""Seconds a token is believed to live when the server does not say; the server's 401 corrects it."""

LONGEST_LIFE: Final = 86_400.0
"""The longest life that is believed, in seconds: the documented one (docs/api-facts.md#api-token-lifetimes)."""

_ABSURD: Final = 7 * LONGEST_LIFE
_FORMAT: Final = 1


class TokenSet(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The tokens of one company or location. Times are seconds since the epoch, ``life`` is seconds.

    ``minted`` grants were made from the company's token and can be made again; they keep no refresh token.
    ``refreshing`` is the fingerprint of the refresh token that was sent at ``refreshing_since`` and whose
    answer nobody has seen; ``lost`` the fingerprint of one that the server has refused for good.
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
        """The id of the location, or of the company for a company's grant."""
        return (self.company_id if self.kind == COMPANY else self.location_id) or ""

    @property
    def header(self) -> MaskedText:
        """The ``Authorization`` header."""
        return MaskedText(f"Bearer {self.access_token.reveal()}")

    @property
    def expires_at(self) -> float:
        """Seconds since the epoch, by the clock of the host that obtained it."""
        return self.obtained_at + self.life

    def remaining(self, wall: float) -> float:
        """Seconds of life left at ``wall``; never more than ``life``, should the clock have gone back."""
        return self.life - max(wall - self.obtained_at, 0.0)

    def replace(self, **changes: Any) -> TokenSet:
        """A copy with ``changes``."""
        return msgspec.structs.replace(self, **changes)


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a grant, without its secrets. ``expires_at`` is in UTC.

    ``kind`` is ``Company`` or ``Location``, ``key`` its id. ``minted`` tokens come from the company's. ``state`` is
    ``ok``, ``expired`` (the next call renews it), ``uncertain`` (a refresh began and its answer was never seen; the
    next refresh tells) or ``lost`` (the app must be installed again).
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
    """The public side of ``grant`` as it stands at ``wall``."""
    refresh = fingerprint(grant.refresh_token)
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
        expires_at=datetime.fromtimestamp(round(grant.expires_at), UTC),
        refreshable=grant.minted or grant.refresh_token is not None,
        minted=grant.minted,
        state=state,
    )


def fingerprint(secret: Secret | None) -> str:
    """A short name for a secret that does not give it away; empty for None."""
    if secret is None:
        return ""
    return hashlib.blake2b(secret.reveal().encode(), digest_size=9).hexdigest()


def believed_life(expires_in: object) -> float:
    """Seconds to believe of an ``expires_in`` that may be missing, text, negative, milliseconds or nonsense."""
    if isinstance(expires_in, bool) or not isinstance(expires_in, int | float | str | Decimal):
        return DEFAULT_LIFE
    try:
        seconds = float(expires_in)
    except (ValueError, OverflowError):
        return DEFAULT_LIFE
    if not math.isfinite(seconds) or seconds <= 0:
        return DEFAULT_LIFE
    return LONGEST_LIFE if seconds > _ABSURD else seconds


def is_usable(answer: TokenGrant) -> bool:
    """Whether an answer holds an access token that can stand in a header."""
    access = answer.access_token
    return bool(access) and all(0x21 <= ord(character) <= 0x7E for character in access or "")


def grant_from_answer(answer: TokenGrant, wall: float, previous: TokenSet | None = None) -> TokenSet:
    """The grant in a usable answer of the token endpoint.

    What the answer leaves out (ids, scope, the refresh token) is taken from ``previous``.
    """
    access = answer.access_token
    assert access is not None
    location = answer.location_id or (previous.location_id if previous else None)
    company = answer.company_id or (previous.company_id if previous else None)
    kind = answer.user_type or (previous.kind if previous else None)
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
    """The blob for a store. It holds the tokens in the clear; see ``EncryptedStore`` for encryption."""
    return MaskedBytes(_encoder.encode(grant))


def decode_grant(data: bytes, key: str) -> TokenSet:
    """The grant in a blob. Raises :class:`TokenStoreError` when it is none, or of a later version."""
    data = MaskedBytes(data)  # the error below is raised from this frame
    try:
        grant = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        problem = "holds no readable grant: it is corrupt, or encrypted and opened without its key"
    else:
        if grant.format == _FORMAT:
            return grant
        problem = "was written by a later version of hl_async; upgrade it"
    raise TokenStoreError(f"the stored entry for {key} {problem}", key=key)
