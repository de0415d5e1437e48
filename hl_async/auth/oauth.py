"""Internal. OAuth apps: their installations, and valid tokens for each of them."""

from __future__ import annotations

import random as random_module
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Self, TypedDict, Unpack

from hl_async.auth.app_credentials import AppCredentials
from hl_async.auth.authorization import (
    CONSENT_HOST,
    DEFAULT_SCOPES,
    STATE_LIFE,
    ConsentFlow,
    authorize_url,
    check_redirect,
)
from hl_async.auth.credentials import Credentials
from hl_async.auth.policy import RefreshPolicy, missing, rejected
from hl_async.auth.refresher import CompanyOf, Refresher
from hl_async.auth.repository import TokenRepository
from hl_async.auth.stores.base import TokenStore
from hl_async.auth.stores.memory import MemoryStore
from hl_async.auth.token_endpoint import Denied, Issued
from hl_async.auth.tokens import COMPANY, LOCATION, Installation, grant_from_answer, installation
from hl_async.config import Environment, header_text
from hl_async.errors import (
    ConfigurationError,
    InvalidRequest,
    RefreshUnavailable,
    TokenStoreError,
)
from hl_async.governor import Governor
from hl_async.models.choices import UserType
from hl_async.secret import Secret
from hl_async.telemetry import Telemetry
from hl_async.wire import Wire


class AppSettings(TypedDict, total=False):
    """The keywords of :class:`OAuthApp`."""

    store: TokenStore | None
    redirect_uri: str | None
    company_id: str | CompanyOf | None
    refresh: RefreshPolicy | None
    monotonic: Callable[[], float]
    wall: Callable[[], float]
    random: Callable[[], float]


class OAuthApp:
    """A marketplace app: credentials for each location and company that installed it.

    Pass it to one client at a time, which opens and closes it::

        app = OAuthApp(client_id, client_secret, store=SqliteStore("tokens.db"))
        async with HighLevel(app) as hl:
            await hl.location(location_id).invoices.list()

    Tokens are renewed in the background from about half of their life on (``RefreshPolicy.refresh_at``). One renewal
    serves all tasks and, through the store, all processes. A new pair is durable before it is used. A call without a
    usable token raises
    :class:`TokenMissing`, :class:`GrantLost`, :class:`RefreshRejected`, :class:`RefreshUnavailable` or
    :class:`TokenStoreError`.

    Args:
        client_id: The app's client id.
        client_secret: The app's secret.
        store: Keeps the tokens. The default keeps them in memory, until the process ends.
        redirect_uri: The URI registered with the app, character by character.
        company_id: The agency whose token mints tokens for locations without their own: an id, or a function from a
            location id to one. The default is the only company in the store.
        refresh: Rules for renewing tokens.
        monotonic: A monotonic clock in seconds.
        wall: Reads the epoch time in seconds.
        random: Returns random numbers from [0, 1).

    Raises:
        ConfigurationError: A value is missing or invalid.
    """

    __slots__ = (
        "_client_id",
        "_client_secret",
        "_credentials",
        "_redirect_uri",
        "_refresher",
        "_repository",
        "_store",
        "_wall",
    )  # fmt: skip

    def __init__(
        self,
        client_id: str,
        client_secret: Secret | str,
        *,
        store: TokenStore | None = None,
        redirect_uri: str | None = None,
        company_id: str | CompanyOf | None = None,
        refresh: RefreshPolicy | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        random: Callable[[], float] = random_module.random,
    ) -> None:
        # Rebound before the first raise, because a traceback may show the variables of this frame.
        client_secret = secret = (
            client_secret if isinstance(client_secret, Secret) else Secret(str(client_secret))
        )
        # Set first, because ``repr`` prints them and may be called on a failed object.
        self._client_id = client_id
        self._client_secret = secret
        self._store = store if store is not None else MemoryStore()
        if not isinstance(client_id, str) or not client_id.strip() or "/" in client_id:
            raise ConfigurationError("client_id", "is empty or contains '/'; copy it from the app's settings")
        header_text("client_id", client_id)
        if not secret.reveal().strip():
            raise ConfigurationError("client_secret", "is empty; copy it from the app's settings")
        if redirect_uri is not None:
            check_redirect(redirect_uri)
        if isinstance(company_id, str) and not company_id.strip():
            raise ConfigurationError("company_id", "is empty; leave it out, or give the agency's id")
        self._redirect_uri = redirect_uri
        self._wall = wall
        self._repository = TokenRepository(client_id, self._store)
        company_of = _company_of(company_id) if isinstance(company_id, str) else company_id
        policy = refresh or RefreshPolicy()
        self._refresher = Refresher(
            self._repository, policy, company_of, monotonic=monotonic, wall=wall, random=random
        )
        self._credentials: Credentials = AppCredentials(
            client_id, secret, self._refresher, self._repository, timeout=policy.timeout, wall=wall
        )

    @classmethod
    def from_env(cls, *, environ: Mapping[str, str] | None = None, **settings: Unpack[AppSettings]) -> Self:
        """Return an app from environment variables.

        ``HL_CLIENT_ID`` and ``HL_CLIENT_SECRET`` are required. Tokens are kept in the SQLite file ``HL_TOKEN_STORE``,
        else in the database ``HL_POSTGRES``, else in a file of the user's state directory. ``HL_STORE_KEY`` encrypts
        them (32 bytes as base64 or hexadecimal text). ``HL_REDIRECT_URI`` and ``HL_COMPANY_ID`` set those keywords.

        Args:
            environ: Variables to read instead of the process environment.
            settings: Keywords of the constructor. They override the variables.

        Raises:
            ConfigurationError: A required variable is missing, or a value is invalid.
        """
        found = Environment.read(environ)
        if found.client_id is None or found.client_secret is None:
            name = "HL_CLIENT_SECRET" if found.client_id else "HL_CLIENT_ID"
            raise ConfigurationError(name, "is not set; copy both from the app's settings in the marketplace")
        values: AppSettings = {"redirect_uri": found.redirect_uri, "company_id": found.company_id}
        if "store" not in settings:
            values["store"] = _store_from(found)
        values.update(settings)
        return cls(found.client_id, found.client_secret, **values)

    # ------------------------------------------------------------------------------ installing

    @property
    def app_id(self) -> str:
        """The app's id: the client id up to its hyphen.

        ``hl.oauth.installed_locations`` takes it.
        """
        return self._client_id.partition("-")[0]

    def authorize_url(
        self,
        state: str,
        *,
        scopes: Iterable[str] = DEFAULT_SCOPES,
        version_id: str | None = None,
        host: str = CONSENT_HOST,
        same_window: bool = False,
        extra: Mapping[str, str] | None = None,
        redirect_uri: str | None = None,
    ) -> str:
        """Return the address of the consent page, where a user installs the app.

        Makes no request.

        Args:
            state: Returns with the code and must be checked. :meth:`consent` creates and checks it.
            scopes: The scopes to ask for.
            version_id: The app's id. Private apps need it.
            host: The consent host, for example the white-label one.
            same_window: Sends ``loginWindowOpenMode=self``.
            extra: Additional parameters.
            redirect_uri: Replaces the constructor's redirect URI.

        Raises:
            InvalidRequest: The state is empty.
            ConfigurationError: Another value is missing or invalid.
        """
        if not state:
            raise InvalidRequest("state", "is empty; it protects the login against forged returns")
        return authorize_url(
            self._client_id,
            self._redirect(redirect_uri),
            state,
            scopes=scopes,
            version_id=version_id,
            host=host,
            same_window=same_window,
            extra=extra,
        )

    def consent(self, *, life: float = STATE_LIFE) -> ConsentFlow:
        """Return a consent flow for a web app. A state is valid for ``life`` seconds."""
        return ConsentFlow(self, self._repository, self._wall, life=life)

    async def exchange_code(
        self, code: Secret | str, *, redirect_uri: str | None = None, user_type: UserType | None = None
    ) -> Installation:
        """Exchange the code of the consent page for tokens, and store them.

        A code is valid once, so the request is never repeated. After an error, let the user install again.

        Args:
            code: The ``code`` parameter of the redirect.
            redirect_uri: Replaces the constructor's redirect URI.
            user_type: ``Location`` or ``Company``. By default the server decides.

        Returns:
            Facts about the new installation.

        Raises:
            RefreshRejected: The server refused the code.
            RefreshUnavailable: The server gave no usable answer.
            TokenStoreError: The tokens could not be stored. They are kept in memory, and the next call for them tries
                to store them again.
            InvalidRequest: The code is empty, or the user type is unknown.
        """
        # Rebound, because a traceback may show the variables of this frame.
        code = secret = code if isinstance(code, Secret) else Secret(code)
        if not secret.reveal().strip():
            raise InvalidRequest("code", "is empty; it is the 'code' parameter of the redirect")
        if user_type not in (None, COMPANY, LOCATION):
            raise InvalidRequest("user_type", f"{user_type!r} is neither {COMPANY!r} nor {LOCATION!r}")
        given = redirect_uri or self._redirect_uri
        reply = await self._refresher.server.exchange(secret, redirect_uri=given, user_type=user_type)
        if isinstance(reply, Denied):
            raise rejected("", "exchange the code", reply)
        if not isinstance(reply, Issued):
            raise RefreshUnavailable(
                f"the authorisation server gave no usable answer: {reply.reason}. The code may be used up: start again",
                retry_after=reply.retry_after,
            )
        grant = grant_from_answer(reply.grant, self._wall())
        if not grant.key:
            raise RefreshUnavailable("the authorisation server named no location or company; start again")
        await self._refresher.adopt(self._repository.name_of(grant.kind, grant.key), grant)
        return installation(grant, self._wall())

    # ------------------------------------------------------------------------------ installations

    async def installations(self, *, minted: bool = False) -> list[Installation]:
        """Return the stored installations without their secrets, companies first.

        An unreadable entry is left out. A call that needs it raises :class:`TokenStoreError`.

        Args:
            minted: Include the tokens that were minted from a company's.
        """
        found = []
        for kind in (COMPANY, LOCATION):
            for name in await self._repository.names(kind):
                try:
                    entry = await self._repository.load(name)
                except TokenStoreError:
                    continue
                if entry is not None and (minted or not entry.grant.minted):
                    found.append(installation(entry.grant, self._wall()))
        return found

    async def refresh(self, key: str) -> Installation:
        """Renew the token of a location or company now, even after a final refusal.

        Args:
            key: The id of the location or company.

        Returns:
            Facts about the installation, with the new expiry.

        Raises:
            TokenMissing: No token is stored for it.
            GrantLost: The server refused the refresh token for good.
            RefreshRejected: The server refused for another reason.
            RefreshUnavailable: The server gave no usable answer.
            TokenStoreError: The store failed.
            NotEntered: No client that uses the app is open.
        """
        await self._refresher.renew(key)
        found = await self._repository.find(key)
        if found is None:
            raise missing(key)
        return installation(found.grant, self._wall())

    async def forget(self, key: str) -> bool:
        """Remove the tokens of a location or company from the store.

        Return False if none were stored. Call it when a user logs out, and for the UNINSTALL webhook. Tokens that were
        minted from a company's are removed with it. No request is made: the API has no route that revokes a token.
        """
        removed = False
        for kind in (LOCATION, COMPANY):
            removed = await self._repository.remove(self._repository.name_of(kind, key)) or removed
        self._refresher.forget(key)
        # Minted tokens cannot be renewed without their company.
        for other in await self.installations(minted=True):
            if other.minted and other.company_id == key:
                await self._repository.remove(self._repository.name_of(other.kind, other.key))
                self._refresher.forget(other.key)
        return removed

    # ------------------------------------------------------------------------------ Credentials

    @property
    def principal(self) -> str:
        """The client id. The rate budget is one per app and location."""
        return self._credentials.principal

    def current(self, key: str) -> str | None:
        """See :meth:`Credentials.current`."""
        return self._credentials.current(key)

    async def bearer(self, key: str) -> str:
        """See :meth:`Credentials.bearer`."""
        return await self._credentials.bearer(key)

    async def reject(self, key: str, sent: str) -> bool:
        """See :meth:`Credentials.reject`."""
        return await self._credentials.reject(key, sent)

    async def open(
        self, wire: Wire, *, base_url: str, api_version: str, telemetry: Telemetry, governor: Governor
    ) -> None:
        """See :meth:`Credentials.open`.

        Raises :class:`ClientStateError` while another client uses the app.
        """
        await self._credentials.open(
            wire, base_url=base_url, api_version=api_version, telemetry=telemetry, governor=governor
        )

    async def aclose(self) -> None:
        """See :meth:`Credentials.aclose`.

        Waits for the refreshes under way. Their requests end within twice ``RefreshPolicy.timeout``; writing the new
        tokens to the store may take longer.
        """
        await self._credentials.aclose()

    def _redirect(self, given: str | None) -> str:
        return check_redirect(given or self._redirect_uri)

    def __repr__(self) -> str:
        return f"OAuthApp({self._client_id!r}, secret={self._client_secret}, store={self._store!r})"


def _company_of(company_id: str) -> CompanyOf:
    """Return a function that names the same agency for every location."""
    return lambda key: company_id


def _store_from(found: Environment) -> TokenStore:
    from hl_async.auth.stores.encrypted import EncryptedStore

    store: TokenStore
    if found.token_store is not None:
        from hl_async.auth.stores.sqlite import SqliteStore

        store = SqliteStore(found.token_store)
    elif found.postgres is not None:
        from hl_async.auth.stores.postgres import PostgresTokenStore

        store = PostgresTokenStore(found.postgres)
    else:
        raise ConfigurationError("HL_TOKEN_STORE", "is not set; give the path of a file for tokens")
    if found.store_key is None:
        return store
    # Entries from before the key was set stay readable. Each is encrypted at its next renewal.
    return EncryptedStore(store, [found.store_key], accept_plain=True)
