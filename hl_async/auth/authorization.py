"""The consent page and the way back from it, safe against forged and repeated returns (RFC 6749, 10.12)."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple, Protocol, TypedDict, Unpack
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from hl_async.auth.repository import TokenRepository
from hl_async.auth.tokens import Installation
from hl_async.config import base_url
from hl_async.errors import ConfigurationError, RefreshRejected, StateMismatch
from hl_async.secret import MaskedText, redact

CONSENT_HOST: Final = "marketplace.gohighlevel.com"
WHITE_LABEL_HOST: Final = "marketplace.leadconnectorhq.com"
STATE_LIFE: Final = 600.0

DEFAULT_SCOPES: Final = (
    "invoices.readonly",
    "invoices.write",
    "invoices/schedule.readonly",
    "invoices/schedule.write",
    "invoices/template.readonly",
    "invoices/template.write",
    "invoices/estimate.readonly",
    "invoices/estimate.write",
    "oauth.readonly",
    "oauth.write",
)
"""What this package can use (docs/api-facts.md#api-scopes)."""

_OURS: Final = frozenset(("response_type", "client_id", "redirect_uri", "scope", "state", "version_id"))


class Consent(NamedTuple):
    """Where to send the browser, and the state to bind to it (a cookie: HttpOnly, Secure, SameSite=Lax)."""

    url: str
    state: str


class ConsentOptions(TypedDict, total=False):
    """The keywords of :meth:`OAuthApp.authorize_url`."""

    scopes: Iterable[str]
    version_id: str | None
    host: str
    same_window: bool
    extra: Mapping[str, str] | None
    redirect_uri: str | None


class ConsentApp(Protocol):
    """What a consent flow needs of an app."""

    def authorize_url(self, state: str, **options: Unpack[ConsentOptions]) -> str:
        """Return the address of the consent page."""
        ...

    async def exchange_code(self, code: str, *, redirect_uri: str | None) -> Installation:
        """Spend the code that came back."""
        ...


class _State(msgspec.Struct, frozen=True):
    created: float
    redirect_uri: str


def authorize_url(
    client_id: str,
    redirect_uri: str,
    state: str,
    *,
    scopes: Iterable[str] = DEFAULT_SCOPES,
    version_id: str | None = None,
    host: str = CONSENT_HOST,
    same_window: bool = False,
    extra: Mapping[str, str] | None = None,
) -> str:
    """The address of the consent page. Raises :class:`ConfigurationError` for what it would refuse."""
    check_redirect(redirect_uri)
    words = tuple(scopes)
    if isinstance(scopes, str) or any(not word or " " in word for word in words):
        raise ConfigurationError("scopes", "give an iterable of scope names, without spaces")
    server = _address("host", host if "//" in host else f"https://{host}")
    taken = _OURS.intersection(extra or ())
    if taken:
        raise ConfigurationError("extra", f"{min(taken)} has a parameter of its own")
    query = {
        "response_type": "code",
        "redirect_uri": redirect_uri,
        "client_id": client_id,
        "scope": " ".join(words),
        "state": state,
        "version_id": version_id,
        "loginWindowOpenMode": "self" if same_window else None,
        **(extra or {}),
    }
    text = urlencode({name: value for name, value in query.items() if value is not None})
    return f"{server}/v2/oauth/chooselocation?{text}"


def check_redirect(redirect_uri: str | None) -> str:
    """The redirect URI, if it is one that HighLevel takes: https, registered with the app to the letter."""
    if not redirect_uri:
        raise ConfigurationError("redirect_uri", "is missing; give the one that is registered with the app")
    _address("redirect_uri", redirect_uri.partition("?")[0])  # http is for loopback: the sandbox, a tunnel
    return redirect_uri


class ConsentFlow:
    """Makes states and checks them on return: 32 random bytes, one use, ``life`` seconds, bound to one browser.

    States are kept in the app's token store, so any process of a web app can receive the return::

        consent = await flow.begin()                      # redirect to consent.url, set consent.state as a cookie
        installed = await flow.finish(request.query, cookie_value)
    """

    __slots__ = ("_app", "_life", "_repository", "_wall")

    def __init__(
        self,
        app: ConsentApp,
        repository: TokenRepository,
        wall: Callable[[], float],
        *,
        life: float = STATE_LIFE,
    ) -> None:
        self._app = app
        self._repository = repository
        self._wall = wall
        self._life = life

    async def begin(self, **options: Unpack[ConsentOptions]) -> Consent:
        """A state and the URL that carries it; ``options`` are those of :meth:`OAuthApp.authorize_url`."""
        state = f"{int(self._wall()):x}-{secrets.token_urlsafe(32)}"
        url = self._app.authorize_url(state, **options)
        redirect_uri = dict(parse_qsl(urlsplit(url).query))["redirect_uri"]
        await self._forget_expired()
        await self._repository.remember(state, msgspec.json.encode(_State(self._wall(), redirect_uri)))
        return Consent(url, state)

    async def finish(self, returned: str | Mapping[str, str], bound: str | None) -> Installation:
        """Check what came back, exchange the code and store the tokens.

        ``returned`` is the query of the return as a mapping, or the whole URL; ``bound`` is the state that this
        browser was given (its cookie). Raises :class:`StateMismatch` before anything is spent: state missing, not
        this browser's, unknown, used before or expired; :class:`RefreshRejected` when the consent was
        declined or the code refused; :class:`RefreshUnavailable` when no answer came.
        """
        query = _query(returned)
        state = query.get("state", "")
        if not state or not bound:
            raise StateMismatch(
                "the return carries no state, or this browser was never given one; start again"
            )
        if not hmac.compare_digest(state.encode(), bound.encode()):
            raise StateMismatch("the return's state is not the one this browser was given; start again")
        if not state.isascii() or not state.replace("-", "").replace("_", "").isalnum():
            raise StateMismatch("the return's state is none of ours; start again")
        kept = await self._repository.recall(state)
        if kept is None:
            raise StateMismatch("the return's state is unknown or was used already; start again")
        known = msgspec.json.decode(kept, type=_State)
        if not 0 <= self._wall() - known.created + 60 <= self._life + 60:
            raise StateMismatch(f"the consent took longer than {self._life:.0f} s; start again")
        if "error" in query:
            reason = redact(f"{query['error']} {query.get('error_description', '')}")[:200].strip()
            raise RefreshRejected(f"the consent was not given: {reason}", messages=(reason,))
        return await self._app.exchange_code(query.get("code", ""), redirect_uri=known.redirect_uri)

    async def _forget_expired(self) -> None:
        """Remove the states of people who never came back; recalling one uses it up."""
        oldest = self._wall() - self._life
        for state in await self._repository.states():
            if int(state.partition("-")[0], 16) < oldest:
                await self._repository.recall(state)


def _query(returned: str | Mapping[str, str]) -> dict[str, str]:
    if isinstance(returned, str):
        pairs = parse_qsl(urlsplit(returned.strip()).query, keep_blank_values=True)
    else:
        pairs = [(name, str(value)) for name, value in returned.items()]
    return {name: MaskedText(value) if name == "code" else value for name, value in pairs}


def _address(field: str, url: str) -> str:
    try:
        return base_url(url)
    except ConfigurationError as error:
        problem = error.problem
    raise ConfigurationError(field, problem)
