"""Internal. The consent page and its return.

Both are protected against forgery and replay (RFC 6749, 10.12).
"""

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

# Hosts of the consent page: docs/api-facts.md#api-authorize
CONSENT_HOST: Final = "marketplace.gohighlevel.com"
WHITE_LABEL_HOST: Final = "marketplace.leadconnectorhq.com"

STATE_LIFE: Final = 600.0
"""Seconds for which a state is valid."""

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
"""Scopes of the invoice operations and of OAuth (docs/api-facts.md#api-scopes)."""

_OURS: Final = frozenset(("response_type", "client_id", "redirect_uri", "scope", "state", "version_id"))


class Consent(NamedTuple):
    """The consent page's URL, and the state to bind to the browser.

    Set the state as a cookie with HttpOnly, Secure and SameSite=Lax.
    """

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
    """The part of an app that a consent flow uses."""

    def authorize_url(
        self,
        state: str,
        *,
        scopes: Iterable[str] = ...,
        version_id: str | None = ...,
        host: str = ...,
        same_window: bool = ...,
        extra: Mapping[str, str] | None = ...,
        redirect_uri: str | None = ...,
    ) -> str:
        """Return the address of the consent page; see :class:`ConsentOptions`."""
        ...

    async def exchange_code(self, code: str, *, redirect_uri: str | None) -> Installation:
        """Exchange the returned code for tokens."""
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
    """Return the address of the consent page.

    Args:
        client_id: The app's client id.
        redirect_uri: The URI registered with the app.
        state: The value that returns with the code.
        scopes: The scopes to ask for.
        version_id: The app's id. Private apps need it.
        host: The consent host.
        same_window: Sends ``loginWindowOpenMode=self``.
        extra: Additional parameters.

    Raises:
        ConfigurationError: The page would refuse a value.
    """
    check_redirect(redirect_uri)
    words = tuple(scopes)
    if isinstance(scopes, str) or any(not word or " " in word for word in words):
        raise ConfigurationError("scopes", "give an iterable of scope names, without spaces")
    server = _address("host", host if "//" in host else f"https://{host}")
    taken = _OURS.intersection(extra or ())
    if taken:
        raise ConfigurationError("extra", f"{min(taken)} is set by another argument; leave it out of extra")
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
    """Return the redirect URI if its form is valid: https, or http on loopback.

    Raises:
        ConfigurationError: It is missing, or its form is not valid.
    """
    if not redirect_uri:
        raise ConfigurationError("redirect_uri", "is missing; give the one that is registered with the app")
    _address("redirect_uri", redirect_uri.partition("?")[0])
    return redirect_uri


class ConsentFlow:
    """Creates states and checks them on return.

    A state has 32 random bytes, is valid once and for ``life`` seconds, and is bound to one browser. States are kept
    in the app's token store, so any process of a web app can receive the return::

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
        """Create a state and the URL that carries it.

        ``options`` are those of :meth:`OAuthApp.authorize_url`. Raises its errors, and :class:`TokenStoreError` if the
        state cannot be stored.
        """
        # The time in front lets expired states be removed without reading them.
        state = f"{int(self._wall()):x}-{secrets.token_urlsafe(32)}"
        url = self._app.authorize_url(state, **options)
        # The exchange must repeat the redirect URI (RFC 6749, 4.1.3), so it is stored with the state.
        redirect_uri = dict(parse_qsl(urlsplit(url).query))["redirect_uri"]
        await self._forget_expired()
        await self._repository.remember(state, msgspec.json.encode(_State(self._wall(), redirect_uri)))
        return Consent(url, state)

    async def finish(self, returned: str | Mapping[str, str], bound: str | None) -> Installation:
        """Check the return, exchange the code and store the tokens.

        Args:
            returned: The query of the return as a mapping, or its whole URL.
            bound: The state in this browser's cookie.

        Returns:
            Facts about the new installation.

        Raises:
            StateMismatch: The state is missing, unknown, used, expired or bound to another browser. The code was not
                used.
            RefreshRejected: The user declined, or the server refused the code.
            RefreshUnavailable: The server gave no usable answer.
            TokenStoreError: The store failed. See :meth:`OAuthApp.exchange_code` for a failure after the exchange.
            InvalidRequest: The return has no code.
        """
        query = _query(returned)
        state = query.get("state", "")
        if not state or not bound:
            raise StateMismatch("the return or the browser's cookie has no state; start again")
        # As bytes: compare_digest refuses text that is not ASCII.
        if not hmac.compare_digest(state.encode(), bound.encode()):
            raise StateMismatch("the return's state is not the one of this browser's cookie; start again")
        # The state becomes part of the name of an entry in the store.
        if not state.isascii() or not state.replace("-", "").replace("_", "").isalnum():
            raise StateMismatch("the return's state has an unknown form; start again")
        kept = await self._repository.recall(state)
        if kept is None:
            raise StateMismatch("the return's state is unknown or was used already; start again")
        known = msgspec.json.decode(kept, type=_State)
        # The clock of the process that created the state may be a minute ahead.
        if not 0 <= self._wall() - known.created + 60 <= self._life + 60:
            raise StateMismatch(f"the consent took longer than {self._life:.0f} s; start again")
        # Read after the checks: anyone can forge a return with an error.
        if "error" in query:
            reason = redact(f"{query['error']} {query.get('error_description', '')}")[:200].strip()
            raise RefreshRejected(f"the consent was not given: {reason}", messages=(reason,))
        return await self._app.exchange_code(query.get("code", ""), redirect_uri=known.redirect_uri)

    async def _forget_expired(self) -> None:
        """Remove expired states. Recalling one deletes it."""
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
