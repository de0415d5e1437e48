"""Internal. Decisions about stored tokens and refusals.

Pure: clocks, headers and answers are passed in.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final

import msgspec

from hl_async.auth.token_endpoint import Denied, NoAnswer
from hl_async.auth.tokens import COMPANY, TokenSet, fingerprint
from hl_async.config import positive_seconds
from hl_async.errors import ConfigurationError, GrantLost, RefreshRejected, RefreshUnavailable, TokenMissing

# A token with a short life must not count as expired from its first second.
_SKEW_SHARE: Final = 0.1
# Refusals whose cause is in the app's settings or the account. The refresh token stays valid.
# (docs/api-facts.md#api-oauth-errors)
_OPERATOR_WORDS: Final = ("client credentials", "invalid_client", "not active", "invalid client")


class RefreshPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Rules for renewing tokens. Times are seconds.

    Attributes:
        refresh_at: Part of a token's life after which it is renewed in the background.
        jitter: Largest random deviation from ``refresh_at``, as part of the life.
        skew: Time before its end at which a token counts as expired, at most a tenth of its life.
        attempts: Tries of one renewal while no answer arrives.
        backoff: First pause after a failure, doubled by each further one. A pause is random between half of that and
            all of it.
        max_backoff: Longest pause after a failure.
        rejection_pause: A token that replaced a refused one and is refused within this time is not renewed again.
            The cause lies elsewhere, and each renewal costs a refresh token.
        timeout: Limit of one request. After this time, a renewal without an answer starts no further try.

    Raises:
        ConfigurationError: A value is out of range.
    """

    refresh_at: float = 0.5
    jitter: float = 0.1
    skew: float = 60.0
    attempts: int = 3
    backoff: float = 1.0
    max_backoff: float = 30.0
    rejection_pause: float = 60.0
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.refresh_at < 1:
            raise ConfigurationError(
                "refresh_at", f"{self.refresh_at} is not a part of a life between 0 and 1"
            )
        if not 0 <= self.jitter < min(self.refresh_at, 1 - self.refresh_at):
            raise ConfigurationError("jitter", f"{self.jitter} would put a refresh outside the token's life")
        if isinstance(self.attempts, bool) or self.attempts < 1:
            raise ConfigurationError("attempts", f"{self.attempts} is below 1; 1 means no second try")
        for name in ("backoff", "max_backoff", "timeout"):
            positive_seconds(name, getattr(self, name))
        for name in ("skew", "rejection_pause"):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0:
                raise ConfigurationError(name, f"{value} is not a number of seconds from 0")

    def margin(self, life: float) -> float:
        """Return how many seconds before its end a token of this life counts as expired."""
        return min(self.skew, life * _SKEW_SHARE)

    def renewal_age(self, life: float, random: float) -> float:
        """Return the age in seconds at which a token is renewed; ``random`` is in [0, 1)."""
        return life * (self.refresh_at + self.jitter * (2 * random - 1))

    def pause(self, failures: int, random: float) -> float:
        """Return the seconds before the next try after this number of failures in a row."""
        # At least half of it is waited: a server that just failed needs the time.
        ceiling: float = min(self.max_backoff, self.backoff * 2 ** min(failures - 1, 30))
        return ceiling * (0.5 + 0.5 * random)


class RefreshStep(Enum):
    """The next step for a stored token set."""

    USE = "use"
    REFRESH = "refresh"
    MINT = "mint"
    LOST = "lost"
    """The server refused the refresh token for good."""
    STUCK = "stuck"
    """The token cannot be used, and a refresh token is missing."""


def next_step(
    grant: TokenSet, policy: RefreshPolicy, *, wall: float, unwanted: str | None, force: bool
) -> RefreshStep:
    """Decide the next step for a token set that was just read from the store.

    Args:
        grant: The stored token set.
        policy: The rules for renewal.
        wall: The epoch time in seconds.
        unwanted: A header that was refused by the server, or is due for renewal. Any other valid header is used,
            even if another process obtained it.
        force: Renew in any case, and try a lost token set once more.
    """
    if not force and grant.header != unwanted and grant.remaining(wall) > policy.margin(grant.life):
        return RefreshStep.USE
    if grant.minted:
        return RefreshStep.MINT
    if grant.refresh_token is None:
        return RefreshStep.STUCK
    # Compared by fingerprint: after a new consent, the refusal of the old token means nothing.
    if grant.lost == fingerprint(grant.refresh_token) and not force:
        return RefreshStep.LOST
    return RefreshStep.REFRESH


def is_final(refused: Denied) -> bool:
    """Return whether a refused refresh makes the refresh token invalid for good.

    It stays valid if the app's credentials are wrong or the sub-account is suspended
    (docs/api-facts.md#api-oauth-errors).
    """
    words = " ".join(refused.messages).lower()
    return refused.status in (400, 401) and not any(word in words for word in _OPERATOR_WORDS)


def lost(grant: TokenSet, refused: Denied | None) -> GrantLost:
    """Return the error for a refresh token that the server refuses for good."""
    said = f"refused ({refused})" if refused is not None else "refused earlier"
    doubt = ""
    if grant.refreshing is not None and grant.refreshing == fingerprint(grant.refresh_token):
        doubt = "; an earlier refresh got no answer and probably used it up"
    return GrantLost(
        f"the refresh token of {subject(grant)} was {said}{doubt}. Install the app again: send its user through "
        "the consent page (ConsentFlow), or run 'hl-async auth login'",
        key=grant.key,
        status=refused.status if refused else 0,
        messages=refused.messages if refused else (),
    )


def rejected(key: str, action: str, refused: Denied) -> RefreshRejected:
    """Return the error for a refusal that leaves the stored tokens valid."""
    hint = ""
    if any(word in " ".join(refused.messages).lower() for word in _OPERATOR_WORDS):
        hint = "; check client_id and client_secret, and that the sub-account is active. The stored tokens were kept"
    return RefreshRejected(
        f"the authorisation server refused to {action}: {refused}{hint}",
        key=key,
        status=refused.status,
        messages=refused.messages,
    )


def unavailable(key: str, reply: NoAnswer) -> RefreshUnavailable:
    """Return the error for a refresh without a usable answer."""
    return RefreshUnavailable(
        f"the authorisation server gave no usable answer: {reply.reason}. The stored tokens were kept; a later "
        "call tries again",
        key=key,
        retry_after=reply.retry_after,
    )


def missing(key: str, why: str = "no token is stored for it") -> TokenMissing:
    """Return the error for a location or company without tokens."""
    return TokenMissing(
        f"{key}: {why}. Send one of its users through the consent page (ConsentFlow), or run 'hl-async auth login'",
        key=key,
    )


def subject(grant: TokenSet) -> str:
    """Return the name of the company or location in words."""
    return f"{'company' if grant.kind == COMPANY else 'location'} {grant.key}"
