"""The sandbox as a server on loopback: HTTP around the ledger, rate limits, authorisation and faults.

It shares no code with the client's transport: a fake that shared code would share bugs. What it accepts and
refuses stands in docs/api-facts.md, so any client of the real API works against it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import secrets
from collections import deque
from decimal import Decimal
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from hl_async.config import is_loopback
from hl_async.errors import ConfigurationError
from hl_async.operations import NEIGHBOURS, Alt, Operation, Replay
from hl_async.sandbox import authorization, console, control, mischief
from hl_async.sandbox.clock import Clock
from hl_async.sandbox.faults import Fault, FaultPlan
from hl_async.sandbox.ledger import COMPANY, DEFAULT_LOCATION, Ledger, Quirks
from hl_async.sandbox.neighbours import NeighbourQuirks, Neighbours, dispatch
from hl_async.sandbox.neighbours.contacts import check_contact
from hl_async.sandbox.rate_limits import Window, make_window
from hl_async.sandbox.recorder import Recorder
from hl_async.sandbox.routes import CREATED, HANDLERS, TRACED, OperationContext, make_routes
from hl_async.sandbox.rules import Refusal, bad_request, not_found, unauthorised, unprocessable
from hl_async.sandbox.tokens import App, IssuedToken, Tokens
from hl_async.sandbox.webhooks import Webhooks

_VERSIONS: Final = frozenset(("v3", "2023-02-21", "2021-07-28", "2021-04-15", "legacy"))
_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_log: Final = logging.getLogger("hl_async.sandbox")
_quiet: Final = logging.getLogger("hl_async.sandbox.access")


@dataclasses.dataclass(slots=True)
class RequestRecord:
    """One request as it arrived, and what became of it. ``at`` is the sandbox's monotonic clock in seconds.

    ``elapsed`` is how many seconds the answer took, ``remaining`` what was left of the rate budget after it.
    """

    number: int
    at: float
    method: str
    path: str
    query: dict[str, str]
    operation: str = ""
    location: str = ""
    principal: str = ""
    version: str = ""
    user_agent: str = ""
    body_bytes: int = 0
    status: int = 0
    refused: bool = False
    fault: str = ""
    elapsed: float = 0.0
    remaining: int | None = None


class Sandbox:
    """A stateful local HighLevel: ``async with Sandbox() as box:`` serves at ``box.url`` until the block ends.

    ``rate_max`` requests per ``rate_interval`` seconds and location, counted by ``window`` (fixed, sliding, counter,
    bucket), ``daily`` per day. ``faults`` is a profile's name or a plan. ``latency`` is added to every answer, in
    seconds. It listens on loopback; ``host`` elsewhere needs ``allow_remote`` too. Changes are announced to
    ``webhook_url``, signed, as ``webhooks`` says.
    """

    def __init__(
        self,
        *,
        rate_max: int = 100,
        rate_interval: float = 10.0,
        window: str = "fixed",
        daily: int = 200_000,
        faults: str | FaultPlan = "none",
        seed: int = 0,
        latency: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        quirks: Quirks | None = None,
        contacts: NeighbourQuirks | None = None,
        clock: Clock | None = None,
        allow_remote: bool = False,
        webhook_url: str | None = None,
    ) -> None:
        if not is_loopback(host) and not allow_remote:
            raise ConfigurationError(
                "host", f"{host!r} is not loopback; the sandbox has no security: allow_remote"
            )
        try:
            make_window(window, 1, 1.0)
            self.faults = faults if isinstance(faults, FaultPlan) else FaultPlan(faults, seed)
        except ValueError as error:
            problem = str(error)
        else:
            problem = ""
        if problem:
            raise ConfigurationError("sandbox", problem)
        if rate_max < 1 or rate_interval <= 0 or daily < 1:
            raise ConfigurationError("sandbox", "rate_max, rate_interval and daily must be positive")
        self.clock = clock or Clock()
        self.quirks = quirks or Quirks()
        self.contact_quirks = contacts or NeighbourQuirks()
        self.latency = latency
        self.rate_max = rate_max
        self.rate_interval = rate_interval
        self.window = window
        self.daily = daily
        self.log_limit = 200_000
        self._host = host
        self._port = port
        self._routes = make_routes()
        self._runner: web.AppRunner | None = None
        self._background: set[asyncio.Task[Any]] = set()
        self.url = ""
        self.connections_total = 0
        self.console_token = secrets.token_urlsafe(24)
        self._open: set[asyncio.BaseTransport] = set()
        self.webhooks = Webhooks(self.clock, seed=seed, allow_remote=allow_remote)
        if webhook_url is not None:
            self.webhooks.send_to(webhook_url)
        self.reset()

    def reset(self) -> None:
        """Forget every document, token, request and count; the ready token and location stay the same."""
        self.ledger = Ledger(self.clock, self.quirks)
        self.neighbours = Neighbours(self.clock, self.contact_quirks, COMPANY)
        self.tokens = Tokens(self.clock, COMPANY)
        self.location_id = DEFAULT_LOCATION
        self.company_id = COMPANY
        self.token = self.tokens.private(None)
        self.requests: deque[RequestRecord] = deque(maxlen=self.log_limit)
        self.recorder = Recorder()
        self.count = 0
        self.refused = 0
        self._windows: dict[tuple[str, str], Window] = {}
        self._spent_today: dict[tuple[str, str, str], int] = {}
        self._storm_until = 0.0
        self.webhooks.log.clear()

    # ------------------------------------------------------------------------------------ for tests

    def add_location(self, location_id: str | None = None) -> str:
        """Open another location and return its id; the ready token is good for it too."""
        chosen = location_id or f"loc{len(self.ledger.places):021d}"
        self.ledger.add(chosen)
        return chosen

    def add_token(self, location_id: str | None = None, scopes: list[str] | None = None) -> str:
        """Another private token, for one location and some scopes only if they are given."""
        return self.tokens.private(location_id, scopes)

    def add_app(self) -> App:
        """An OAuth app: its ``client_id`` and ``client_secret``."""
        return self.tokens.app()

    def authorise(self, client_id: str, location_id: str | None = None) -> str:
        """A consent: the authorization code for a location, or for the agency when none is given."""
        self.webhooks.installed(client_id.partition("-")[0], self.company_id, location_id)
        return self.tokens.authorise(client_id, "Location" if location_id else "Company", location_id)

    def uninstall(self, client_id: str, location_id: str | None = None) -> None:
        """Remove an app: its tokens are worth nothing any more, and its receivers hear of it."""
        self.tokens.uninstall(client_id)
        self.webhooks.installed(client_id.partition("-")[0], self.company_id, location_id, removed=True)

    def budgets(self) -> dict[str, int]:
        """What is left of the rate budget by location, the tightest of its users'."""
        now = self.clock.monotonic()
        left: dict[str, int] = {}
        for (_, location), window in self._windows.items():
            left[location] = min(window.remaining(now), left.get(location, self.rate_max))
        return left

    def storm(self, seconds: float) -> None:
        """Refuse every token with 401 for some seconds."""
        self._storm_until = self.clock.monotonic() + seconds

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return sum(not transport.is_closing() for transport in self._open)

    # ----------------------------------------------------------------------------------- life cycle

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=75.0, shutdown_timeout=0.1, logger=_quiet
        )
        await self._runner.setup()
        self.webhooks.open()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=1024)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in str(host) else host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.webhooks.aclose()
        for task in list(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for transport in list(self._open):
            transport.abort()  # type: ignore[attr-defined]
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -------------------------------------------------------------------------------------- requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._track(request)
        path = request.raw_path.partition("?")[0]
        if path.startswith("/_sandbox"):
            return await control.handle(self, request)
        if path == console.PREFIX or path.startswith(f"{console.PREFIX}/"):
            return await console.handle(self, request)
        if path in authorization.PATHS:
            return await authorization.handle(self, request)
        body = await request.read()
        self.count += 1
        record = RequestRecord(
            self.count,
            self.clock.monotonic(),
            request.method,
            path,
            dict(parse_qsl(request.query_string, keep_blank_values=True)),
            version=request.headers.get("Version", ""),
            user_agent=request.headers.get("User-Agent", "")[:200],
            body_bytes=len(body),
        )
        self.requests.append(record)
        self.recorder.arrived(record.number, request.raw_path, request.headers.items(), body)
        headers: dict[str, str] = {}
        fault: Fault | None = None
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            operation, ids = self._match(record)
            record.operation = operation.name
            fault = self.faults.take(operation.name, record.number)
            record.fault = fault.value if fault else ""
            early = await mischief.before(fault, self.faults.times, request)
            if early is not None:
                record.status = early.status
                self.recorder.answered(record.number, early.headers.items(), getattr(early, "body", None))
                return early
            status, document = self._perform(operation, ids, record, request, body, headers)
            if fault is Fault.NO_INVOICE_KEY and isinstance(document, dict) and "invoice" in document:
                document = {name: value for name, value in document.items() if name != "invoice"}
        except Refusal as refusal:
            status, document = refusal.status, refusal.body
            record.refused = status == 429
        record.status = status
        record.elapsed = self.clock.monotonic() - record.at
        if "X-RateLimit-Remaining" in headers:
            record.remaining = int(headers["X-RateLimit-Remaining"])
        content = b"" if document is None else _encoder.encode(document)
        self.recorder.answered(record.number, headers.items(), content)
        return await mischief.after(fault, self.faults.times, request, status, content, headers)

    def _perform(
        self,
        operation: Operation[Any],
        ids: tuple[str, ...],
        record: RequestRecord,
        request: web.Request,
        raw: bytes,
        headers: dict[str, str],
    ) -> tuple[int, Any]:
        if operation.name == "get-access-token":
            return 200, self._cased(record.version, self.tokens.exchange(_form(request, raw)))
        self._check_version(record.version)
        if self.clock.monotonic() < self._storm_until:
            raise Refusal(401, "Invalid JWT")
        grant = self.tokens.find(request.headers.get("Authorization"))
        record.principal = grant.principal
        if operation.resource == "oauth":
            return self._oauth(operation, record, request, raw, grant, headers)
        body = _object(raw) if raw else {}
        if operation in NEIGHBOURS:
            return self._neighbour(operation, ids, record, body, grant, headers)
        location = self._location(operation, record, body)
        record.location = location
        self._count_rate(grant, location, headers)
        if grant.kind == "Company":
            raise unauthorised(
                "This authClass type is not allowed to access this scope. Please verify your IAM configuration if "
                "this is not the case."
            )
        place = self.ledger.places.get(location)
        if place is None or (grant.locations is not None and location not in grant.locations):
            raise Refusal(403, "The token does not have access to this location.")
        if operation.scope is not None and operation.scope not in grant.scopes:
            raise unauthorised("The token is not authorized for this scope.")
        check_contact(self.neighbours, location, operation.name, body)
        try:
            document = HANDLERS[operation.name](OperationContext(self.ledger, place, ids, record.query, body))
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            # what no rule above thought of: a refusal for the client, a line in the log for us
            _log.warning("%s could not read a request: %s: %s", operation.name, type(error).__name__, error)
            raise bad_request("Bad Request") from None
        self.webhooks.operation_done(operation.name, body, document, place)
        self.recorder.operation_done(operation.name, self.clock.timestamp(), location, body, document)
        if operation.replay is Replay.UNSAFE:
            self.ledger.count_commit(operation.name, body, ids[0] if ids else "")
        if operation.name in TRACED and isinstance(document, dict):
            document = document | {"traceId": f"trace-{record.number:012x}"}
        return 201 if operation.name in CREATED else 200, document

    def _neighbour(
        self,
        operation: Operation[Any],
        ids: tuple[str, ...],
        record: RequestRecord,
        body: dict[str, Any],
        grant: IssuedToken,
        headers: dict[str, str],
    ) -> tuple[int, Any]:
        def count_rate(grant: IssuedToken, location: str) -> None:
            record.location = location
            self._count_rate(grant, location, headers)

        try:
            return dispatch.perform(
                self.neighbours, self.ledger, operation, ids, record.query, body, grant, count_rate
            )
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            _log.warning("%s could not read a request: %s: %s", operation.name, type(error).__name__, error)
            raise bad_request("Bad Request") from None

    def _match(self, record: RequestRecord) -> tuple[Operation[Any], tuple[str, ...]]:
        for route in self._routes.get(record.method, ()):
            found = route.pattern.fullmatch(record.path)
            if found is not None and (not route.v3_only or record.version == "v3"):
                return route.operation, tuple(unquote(part) for part in found.groups())
        raise not_found(f"Cannot {record.method} {record.path}")

    def _check_version(self, version: str) -> None:
        if not version:
            raise unauthorised("version header was not found.")
        if version in _VERSIONS:
            return
        if version.count("-") == 2 and version.replace("-", "").isdecimal():
            raise unauthorised("version header is invalid")
        raise Refusal(400, f"Invalid API version segment '{version}' at position 0", "Bad Request")

    def _location(self, operation: Operation[Any], record: RequestRecord, body: dict[str, Any]) -> str:
        """altId from the query, or the body of writes; missing, it is a misleading 401: docs/api-facts.md#api-alt."""
        source: dict[str, Any] = record.query
        if operation.alt in (Alt.BODY, Alt.BOTH) and "altId" not in source:
            source = body
        location, kind = source.get("altId"), source.get("altType")
        if not location:
            raise unauthorised("Invalid token: access token is invalid")
        if kind != "location":
            raise unprocessable(["altType must be one of the following values: location"])
        return str(location)

    def _count_rate(self, grant: IssuedToken, location: str, headers: dict[str, str]) -> None:
        """Count the request against its budget and tell the five headers; 429 when the budget is spent."""
        key = (grant.principal, location)
        window = self._windows.get(key)
        if window is None:
            window = self._windows[key] = make_window(self.window, self.rate_max, self.rate_interval)
        now = self.clock.monotonic()
        today = (*key, self.clock.today())
        spent = self._spent_today.get(today, 0)
        admitted = spent < self.daily and window.admit(now)
        if admitted:
            self._spent_today[today] = spent = spent + 1
        headers |= {
            "X-RateLimit-Limit-Daily": str(self.daily),
            "X-RateLimit-Daily-Remaining": str(self.daily - spent),
            "X-RateLimit-Interval-Milliseconds": str(round(self.rate_interval * 1000)),
            "X-RateLimit-Max": str(self.rate_max),
            "X-RateLimit-Remaining": str(window.remaining(now)),
        }
        if not admitted:
            self.refused += 1
            raise Refusal(429, "Too Many Requests")

    def _oauth(
        self,
        operation: Operation[Any],
        record: RequestRecord,
        request: web.Request,
        raw: bytes,
        grant: IssuedToken,
        headers: dict[str, str],
    ) -> tuple[int, Any]:
        if operation.name == "get-location-access-token":
            form = _form(request, raw)
            location = form.get("location_id", "")
            self._count_rate(grant, form.get("company_id", ""), headers)
            known = location in self.ledger.places
            answer = self.tokens.mint(grant, form.get("company_id", ""), location, known)
            return 201, self._cased(record.version, answer)
        return 200, self._installed(record, grant, headers)

    def _installed(
        self, record: RequestRecord, grant: IssuedToken, headers: dict[str, str]
    ) -> dict[str, Any]:
        query = record.query
        company = query.get("companyId", "")
        self._count_rate(grant, company, headers)
        if grant.kind != "Company":
            raise unauthorised("The token is not authorized for this scope.")
        if company != grant.company:
            raise Refusal(403, "The token does not have access to this location.")
        installed = self.tokens.apps[grant.app].installed
        places = [
            {
                "_id": one,
                "name": f"Location {one}",
                "address": "1 Main Street",
                "isInstalled": one in installed,
            }
            for one in self.ledger.places
            if query.get("isInstalled", "") not in ("true", "false")
            or (query["isInstalled"] == "true") == (one in installed)
        ]
        if record.version == "v3":
            size, start = min(_count(query, "pageSize", 20), 100), _count(query, "pageToken", 0)
            more = start + size < len(places)
            paging = {"totalRecords": len(places), "hasNextPage": more, "hasPrevPage": start > 0}
            paging |= {"currentPageSize": len(places[start : start + size])}
            if more:
                paging["nextPageToken"] = str(start + size)  # type: ignore[assignment]
            return {"items": places[start : start + size], "pagination": paging}
        start, size = _count(query, "skip", 0), _count(query, "limit", 20)
        return {
            "locations": places[start : start + size],
            "count": len(places),
            "installToFutureLocations": False,
        }

    @staticmethod
    def _cased(version: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Under v3 every key is camelCase: docs/api-facts.md#api-oauth-v3."""
        return {_camel(name): value for name, value in answer.items()} if version == "v3" else answer

    def _track(self, request: web.Request) -> None:
        transport = request.transport
        if transport is not None and transport not in self._open:
            self.connections_total += 1
            self._open = {one for one in self._open if not one.is_closing()} | {transport}

    def __repr__(self) -> str:
        return f"<Sandbox {self.url or 'not serving'}, {self.count} requests, {self.refused} refused>"


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)


def _form(request: web.Request, raw: bytes) -> dict[str, str]:
    """A form or JSON body, its keys in snake_case: both versions and both encodings are accepted."""
    if "json" in request.headers.get("Content-Type", ""):
        fields = {name: str(value) for name, value in _object(raw).items()}
    else:
        fields = dict(parse_qsl(raw.decode("utf-8", "replace"), keep_blank_values=True))
    return {_snake(name): value for name, value in fields.items()}


def _object(raw: bytes) -> dict[str, Any]:
    try:
        document = _decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise Refusal(400, "Unexpected token in JSON", "Bad Request")
    return document


def _count(query: dict[str, str], name: str, default: int) -> int:
    """A whole number of a query; refuses everything else, and what no list could be as long as."""
    text = query.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal() or len(text) > 9:
        raise unprocessable([f"{name} must be a number string"])
    return int(text)
