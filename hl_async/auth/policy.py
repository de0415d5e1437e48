"""What to do with a stored grant, and what a refusal means. Pure: clocks, headers and answers are passed in."""

from __future__ import annotations

import dataclasses
import math
from enum import Enum
from typing import Final

from hl_async.auth.token_endpoint import Denied, NoAnswer
from hl_async.auth.tokens import COMPANY, TokenSet, fingerprint
from hl_async.config import positive_seconds
from hl_async.errors import ConfigurationError, GrantLost, RefreshRejected, RefreshUnavailable, TokenMissing

_SKEW_SHARE: Final = 0.1
_OPERATOR_WORDS: Final = ("client credentials", "invalid_client", "not active", "invalid client")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RefreshPolicy:
    """When tokens are renewed. Times are in seconds.

    A token is renewed in the background once ``refresh_at`` of its life has passed, give or take ``jitter`` (both are
    shares of its life), and counts as used up ``skew`` before its end. ``attempts`` is how often one renewal is tried
    while no answer comes; after that, tries are ``backoff`` to ``max_backoff`` apart. ``rejection_pause``: a
    token that was renewed because the server refused its predecessor, and is refused too within this time, is not
    renewed again: the fault lies elsewhere, and refresh tokens are precious. ``timeout`` bounds one request.
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
                "refresh_at", f"{self.refresh_at} is not a share of a life between 0 and 1"
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
        """Seconds before its end at which a token of that life counts as used up."""
        return min(self.skew, life * _SKEW_SHARE)

    def renewal_age(self, life: float, random: float) -> float:
        """The age in seconds at which a token is renewed in the background; ``random`` is from [0, 1)."""
        return life * (self.refresh_at + self.jitter * (2 * random - 1))

    def pause(self, failures: int, random: float) -> float:
        """Seconds until the next try after that many failures in a row."""
        ceiling: float = min(self.max_backoff, self.backoff * 2 ** min(failures - 1, 30))
        return ceiling * (0.5 + 0.5 * random)


class RefreshStep(Enum):
    """What a stored grant calls for."""

    USE = "use"
    REFRESH = "refresh"
    MINT = "mint"
    LOST = "lost"
    STUCK = "stuck"


def next_step(
    grant: TokenSet, policy: RefreshPolicy, *, wall: float, unwanted: str | None, force: bool
) -> RefreshStep:
    """What to do with ``grant``, as it was just read from the store.

    ``unwanted`` is a header that is not good enough: refused by the server, or due for renewal. Any other one that
    lives is used, whoever obtained it. ``force`` renews it all the same, and tries a lost grant once more.
    """
    if not force and grant.header != unwanted and grant.remaining(wall) > policy.margin(grant.life):
        return RefreshStep.USE
    if grant.minted:
        return RefreshStep.MINT
    if grant.refresh_token is None:
        return RefreshStep.STUCK
    if grant.lost == fingerprint(grant.refresh_token) and not force:
        return RefreshStep.LOST
    return RefreshStep.REFRESH


def is_final(refused: Denied) -> bool:
    """Whether a refusal of a refresh says that the refresh token itself is worth nothing any more.

    Wrong app credentials and a suspended sub-account leave it good (docs/api-facts.md#api-oauth-errors).
    """
    words = " ".join(refused.messages).lower()
    return refused.status in (400, 401) and not any(word in words for word in _OPERATOR_WORDS)


def lost(grant: TokenSet, refused: Denied | None) -> GrantLost:
    """The error for a grant whose refresh token the server does not take."""
    said = f"refused ({refused})" if refused is not None else "refused earlier"
    doubt = ""
    if grant.refreshing is not None and grant.refreshing == fingerprint(grant.refresh_token):
        doubt = "; an earlier refresh got no answer, and it was probably spent then"
    return GrantLost(
        f"the refresh token of {subject(grant)} was {said}{doubt}. Install the app again: send its user through "
        "the consent page (ConsentFlow), or run 'hl-async auth login'",
        key=grant.key,
        status=refused.status if refused else 0,
        messages=refused.messages if refused else (),
    )


def rejected(key: str, action: str, refused: Denied) -> RefreshRejected:
    """The error for a refusal that leaves the stored grant as it was."""
    hint = ""
    if any(word in " ".join(refused.messages).lower() for word in _OPERATOR_WORDS):
        hint = "; check client_id and client_secret, and that the sub-account is active. The stored grant was kept"
    return RefreshRejected(
        f"the authorisation server refused to {action}: {refused}{hint}",
        key=key,
        status=refused.status,
        messages=refused.messages,
    )


def unavailable(key: str, reply: NoAnswer) -> RefreshUnavailable:
    """Return the error for a server that gave no verdict."""
    return RefreshUnavailable(
        f"the authorisation server gave no verdict: {reply.reason}. The stored token was kept; it is asked "
        "again by a later call",
        key=key,
        retry_after=reply.retry_after,
    )


def missing(key: str, why: str = "no token is stored for it") -> TokenMissing:
    """The error for a key that nothing can be obtained for."""
    return TokenMissing(
        f"{key}: {why}. Send a user of it through the consent page (ConsentFlow), or run 'hl-async auth login'",
        key=key,
    )


def subject(grant: TokenSet) -> str:
    """What a grant is for, in words."""
    return f"{'company' if grant.kind == COMPANY else 'location'} {grant.key}"
