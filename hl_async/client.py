"""The objects that users hold: :class:`HighLevel` and :class:`Location`."""

from __future__ import annotations

import ssl as ssl_module
from collections.abc import Coroutine, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

import msgspec

from hl_async.auth.credentials import Credentials, PrivateToken
from hl_async.config import CallChanges, CallOptions, ClientConfig, Environment
from hl_async.errors import ClientStateError, ConfigurationError, InvalidRequest
from hl_async.governor import Governor, GovernorPolicy, ScopeSnapshot
from hl_async.models import LocationDetails
from hl_async.models.dates import check_zone
from hl_async.operations import Operation, operation_named, plain_id
from hl_async.pagination import Pager
from hl_async.resources.access import check_scopes
from hl_async.resources.client_core import ClientCore
from hl_async.resources.contacts import Contacts
from hl_async.resources.estimate_templates import EstimateTemplates
from hl_async.resources.estimates import Estimates
from hl_async.resources.holder import RequesterHolder
from hl_async.resources.invoice_schedules import InvoiceSchedules
from hl_async.resources.invoice_templates import InvoiceTemplates
from hl_async.resources.invoices import Invoices
from hl_async.resources.locations import LocationRequester, agency_locations
from hl_async.resources.oauth import OAuth
from hl_async.resources.once import Once
from hl_async.resources.opportunities import Opportunities
from hl_async.resources.products import Products
from hl_async.resources.requesting import Body, Query
from hl_async.resources.taxes import TaxNames, read_taxes
from hl_async.resources.transactions import Transactions
from hl_async.resources.users import Users
from hl_async.secret import Secret
from hl_async.telemetry import Observer
from hl_async.transport.retry import RetryPolicy
from hl_async.transport.session import SessionManager
from hl_async.wire import WireResponse

if TYPE_CHECKING:
    import aiohttp

    from hl_async.governor.shared.messages import BudgetStore


class ClientSettings(TypedDict, total=False):
    """Keywords of :class:`HighLevel`, for :meth:`HighLevel.from_env`."""

    config: ClientConfig | None
    base_url: str | None
    api_version: str | None
    location_id: str | None
    governor: Governor | GovernorPolicy | None
    retry: RetryPolicy | None
    observers: Iterable[Observer]
    session: aiohttp.ClientSession | None
    ssl: ssl_module.SSLContext | None
    budget: BudgetStore | None
    once: Once | None


class HighLevel:
    """The client: one per process and event loop, shared by all callers of the API.

    It owns the connection pool, the rate governor and the credentials, and opens and closes them::

        async with HighLevel(PrivateToken("pit-…")) as hl:
            shop = hl.location("6578278e879ad2646715ba9c")

    Leaving the block gives requests on the wire ``config.close_grace`` seconds, and fails calls that wait.

    Args:
        credentials: A :class:`PrivateToken`, an :class:`OAuthApp`, or the text of a private integration token.
        config, base_url, api_version: All settings; the last two replace those of ``config``.
        location_id: The location of :meth:`location` without an id.
        governor: Rules for the rate governor, or a :class:`Governor` of yours, which clients may share and never close.
        retry: Rules for repeating requests.
        observers: Receive the events of ``hl_async.telemetry``.
        session: An aiohttp session of your own, which is used and never closed.
        ssl: TLS settings of the connections.
        budget: A :class:`PostgresBudget`, in which processes share their rate budgets. Closed with the client.
        once: The store and the times of :class:`Once`. Its store is closed with the client.

    Raises:
        InvalidRequest: A setting is not valid; mostly its subclass :class:`ConfigurationError`.
    """

    __slots__ = ("_core", "_location_id", "_options", "_owner")

    def __init__(
        self,
        credentials: Credentials | Secret | str,
        *,
        config: ClientConfig | None = None,
        base_url: str | None = None,
        api_version: str | None = None,
        location_id: str | None = None,
        governor: Governor | GovernorPolicy | None = None,
        retry: RetryPolicy | None = None,
        observers: Iterable[Observer] = (),
        session: aiohttp.ClientSession | None = None,
        ssl: ssl_module.SSLContext | None = None,
        budget: BudgetStore | None = None,
        once: Once | None = None,
    ) -> None:
        # Text is wrapped at once, so that no repr of a frame above shows the token.
        if isinstance(credentials, str | Secret):
            credentials = Secret(credentials) if isinstance(credentials, str) else credentials
            credentials = PrivateToken(credentials)
        changes: dict[str, Any] = {"base_url": base_url, "api_version": api_version}
        settings = msgspec.structs.replace(
            config or ClientConfig(), **{name: value for name, value in changes.items() if value is not None}
        )
        self._location_id = None if location_id is None else plain_id("location_id", location_id)
        sessions = SessionManager(settings, session=session, ssl=ssl)
        self._core = ClientCore(credentials, settings, governor, retry, observers, sessions, budget, once)
        self._options = CallOptions()
        self._owner = True

    @classmethod
    def from_env(
        cls, *, environ: Mapping[str, str] | None = None, **settings: Unpack[ClientSettings]
    ) -> Self:
        """Return a client with the settings of the ``HL_`` environment variables.

        Reads ``HL_TOKEN``, ``HL_LOCATION_ID``, ``HL_BASE_URL`` and ``HL_API_VERSION``, else the names of other tools:
        ``GHL_API_KEY``, ``GHL_LOCATION_ID``, ``GHL_BASE_URL`` and ``GHL_API_VERSION``. Without a token, the client uses
        the OAuth app of ``HL_CLIENT_ID``; see :meth:`OAuthApp.from_env`. ``HL_PROXY`` and ``HL_RULES_OFF`` apply if
        ``config`` does not set them.

        Args:
            environ: Variables to read instead of the process environment.
            settings: Keywords of the constructor. They override the variables.

        Raises:
            ConfigurationError: The token is missing, or a value is not valid.
        """
        found = Environment.read(environ)
        credentials: Credentials
        if found.token is not None:
            credentials = PrivateToken(found.token)
        elif found.client_id is not None:
            from hl_async.auth.oauth import OAuthApp

            credentials = OAuthApp.from_env(environ=environ)
        else:
            raise ConfigurationError(
                "HL_TOKEN",
                "is not set; export a private integration token, HL_CLIENT_ID and HL_CLIENT_SECRET of an app, or "
                "pass credentials to HighLevel()",
            )
        values: dict[str, Any] = {**found.client_settings(), **settings}
        values["config"] = found.completed(values.get("config"))
        # It holds the token as text, and an error of the constructor would show the variables of this frame.
        del environ
        return cls(credentials, **values)

    async def __aenter__(self) -> Self:
        core = self._core
        if not self._owner:
            raise ClientStateError("this is a copy with other options; enter the client it was made from")
        if core.state == "open":
            raise ClientStateError("this client is open already; share the one 'async with' block")
        await core.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aopen(self) -> Self:
        """Open the client without a block, for notebooks and frameworks.

        Raises:
            ClientStateError: It is open already, or a copy made by :meth:`with_options`.

        Example:
            ``hl = await HighLevel("pit-…").aopen()``, and in the end ``await hl.aclose()``
        """
        return await self.__aenter__()

    if not TYPE_CHECKING:

        def __enter__(self) -> Self:
            raise TypeError("use 'async with', or hl_async.sync.HighLevel for code without await")

        def __exit__(self, *_: object) -> None: ...

    async def aclose(self) -> None:
        """Close; calls on the wire get ``config.close_grace`` seconds. Safe to repeat."""
        core = self._core
        if not self._owner or core.state == "closed":
            return
        await core.aclose()

    def with_options(self, **changes: Unpack[CallChanges]) -> HighLevel:
        """Return a copy of this client whose calls use other options.

        Pool, budget and tokens stay shared. ``changes`` are the fields of :class:`CallOptions`.
        """
        copy = object.__new__(HighLevel)
        copy._core, copy._location_id = self._core, self._location_id
        copy._options = self._options.replace(**changes)
        copy._owner = False
        return copy

    def location(self, location_id: str | None = None, *, timezone: str | None = None) -> Location:
        """Return the sub-account `location_id`, whose calls name it. Makes no request.

        Args:
            location_id: Its id; without one, the one given at construction or in ``HL_LOCATION_ID``.
            timezone: Its time zone, an IANA name such as ``America/Denver``. It decides the calendar days of dates in
                answers, and which day is today. The client keeps it. `Location.details` reads it from the API.

        Raises:
            InvalidRequest: The id is missing, or the time zone is unknown.
        """
        chosen = location_id if location_id is not None else self._location_id
        if chosen is None:
            raise InvalidRequest("location_id", "is missing; pass one, or set HL_LOCATION_ID for from_env()")
        found = plain_id("location_id", chosen)
        if timezone is not None:
            check_zone(timezone)
            self._core.memory.context(found).timezone = timezone
        return Location(self._core, found, self._options)

    @property
    def base_url(self) -> str:
        """The server that is called."""
        return self._core.config.base_url

    @property
    def rules_off(self) -> frozenset[str]:
        """Names of the rules of the client that are switched off."""
        return self._core.config.rules_off

    @property
    def oauth(self) -> OAuth:
        """The operations about tokens and installations."""
        core = self._core
        return OAuth(core.transport, core.credentials.principal, self._options, core.config.api_version)

    def locations(
        self, company_id: str, *, email: str | None = None, limit: int | None = None
    ) -> Pager[LocationDetails]:
        """List the locations of an agency; needs the agency's token. Only reads.

        Args:
            company_id: The agency.
            email: The location with this e-mail address.
            limit: Locations per request.

        Returns:
            A pager. Await it for the first page, or iterate over it for all locations.

        Raises:
            ScopeMissing: The token lacks locations.readonly.
        """
        core, options = self._core, self._options
        return agency_locations(core.transport, core.credentials.principal, options, company_id, email, limit)

    def raw(
        self,
        operation: Operation[Any] | str,
        *ids: str,
        location: str | None = None,
        body: Body = None,
        query: Query = None,
        options: CallOptions | None = None,
    ) -> Coroutine[Any, Any, WireResponse]:
        """Call any operation, also one of your own, and get the undecoded 2xx answer.

        Governed, authorised and retried like a typed call; raises the same errors.

        Args:
            operation: A row of ``hl_async.operations`` or its name: ``estimates.create``, or the specification's
                ``create-new-estimate``.
            ids: The ids in its path, in order.
            location: The location; by default that of the client.
            body: A struct, a dictionary or encoded JSON.
            query: Query parameters. The location is added.
            options: Options of this call.

        Returns:
            Status, headers and body.
        """
        return self.location(location).raw(operation, *ids, body=body, query=query, options=options)

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._core.state == "closed"

    @property
    def governor(self) -> Governor:
        """The rate governor, with the rate budgets of all locations."""
        return self._core.governor

    @property
    def credentials(self) -> Credentials:
        """The credentials that authorise the client's calls."""
        return self._core.credentials

    def __repr__(self) -> str:
        core = getattr(self, "_core", None)  # missing while the constructor raises
        shown = core and f"{core.state}, {core.config.base_url}, {core.transport.in_flight} calls in flight"
        return f"<HighLevel {shown or 'new'}>"


class Location(RequesterHolder):
    """One sub-account, from :meth:`HighLevel.location`: cheap, with nothing to close."""

    __slots__ = ("_core",)

    def __init__(self, core: ClientCore, location_id: str, options: CallOptions) -> None:
        account = core.transport.account(location_id, core.credentials.principal)
        super().__init__(LocationRequester(core.transport, account, options, core.memory))
        self._core = core

    @property
    def id(self) -> str:
        """The location id, which is every call's altId."""
        return self._at.id

    @property
    def timezone(self) -> str | None:
        """The location's time zone; see `HighLevel.location`. None while it is unknown."""
        return self._at.timezone

    async def details(self, *, fresh: bool = False) -> LocationDetails:
        """Return the location's name, time zone, business, logo and address.

        The client keeps the first answer. Its time zone decides the days of dates from then on, unless one was given.

        Args:
            fresh: Read the location again.

        Raises:
            ScopeMissing: The token lacks locations.readonly.

        Example::

            details = await shop.details()
        """
        return await self._at.details(fresh=fresh)

    async def check_scopes(self, *scopes: str) -> None:
        """Raise before any work if the token may not read what the work needs.

        One read per scope, as the API does not list them. A write scope shows only when something is written.

        Args:
            scopes: Scopes to read, such as ``invoices/estimate.readonly``.

        Raises:
            ScopeMissing: The token lacks one of them.
            InvalidRequest: A scope is unknown, or is a write scope.
        """
        await check_scopes(self._at, scopes)

    def budget(self) -> ScopeSnapshot:
        """Return the state of the location's rate budget."""
        return self._at.budget()

    @property
    def estimates(self) -> Estimates:
        """Estimates: create, list, update, delete, send, turn into invoices."""
        return Estimates(self._at)

    @property
    def estimate_templates(self) -> EstimateTemplates:
        """Templates of estimates."""
        return EstimateTemplates(self._at)

    @property
    def invoices(self) -> Invoices:
        """Invoices: create, read, edit, delete, void, send, payments, text2pay, settings."""
        return Invoices(self._at)

    @property
    def invoice_templates(self) -> InvoiceTemplates:
        """Templates of invoices."""
        return InvoiceTemplates(self._at)

    @property
    def invoice_schedules(self) -> InvoiceSchedules:
        """Recurring invoices."""
        return InvoiceSchedules(self._at)

    @property
    def contacts(self) -> Contacts:
        """Contacts: find, search, get, create, update, upsert, tags, delete."""
        return Contacts(self._at)

    async def taxes(self, *, depth: int = 200) -> TaxNames:
        """Return the taxes of the location's newest documents, by name. Only reads.

        The API has no route for taxes: docs/api-facts.md#api-automatic-taxes.

        Args:
            depth: How many of the newest estimates, and of the newest invoices, to read.
        """
        return await read_taxes(self._at, depth)

    @property
    def users(self) -> Users:
        """Users, in whose name documents are sent."""
        return Users(self._at)

    @property
    def products(self) -> Products:
        """Products and their prices."""
        return Products(self._at)

    @property
    def transactions(self) -> Transactions:
        """Recorded payments, and orders."""
        return Transactions(self._at)

    @property
    def opportunities(self) -> Opportunities:
        """Opportunities and pipelines."""
        return Opportunities(self._at)

    def with_options(self, **changes: Unpack[CallChanges]) -> Location:
        """Return a copy whose calls use other options, fields of :class:`CallOptions`."""
        return Location(self._core, self.id, self._at.options.replace(**changes))

    def raw(
        self,
        operation: Operation[Any] | str,
        *ids: str,
        body: Body = None,
        query: Query = None,
        options: CallOptions | None = None,
    ) -> Coroutine[Any, Any, WireResponse]:
        """See :meth:`HighLevel.raw`."""
        if isinstance(operation, str):
            operation = operation_named(operation)
        return self._at.send_with(operation, ids, body, query, options, lambda response: response)

    def __repr__(self) -> str:
        return f"<Location {self.id}>"
