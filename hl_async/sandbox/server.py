"""Internal. The sandbox's HTTP server: routes, rate limits, tokens and faults.

It shares no code with the client's transport, because a fake with the same code would have the same bugs. It accepts
and refuses requests as `docs/api-facts.md` says, so any client of the real API works against it.
"""

from __future__ import annotations

import asyncio
import logging
from decimal import Decimal
from ssl import SSLContext
from typing import Any, Final, Self
from urllib.parse import parse_qsl, unquote

import msgspec
from aiohttp import web

from hl_async.operations import NEIGHBOURS, Alt, Operation, Replay
from hl_async.sandbox import admission, authorization, console, control, faults
from hl_async.sandbox.faults import Fault
from hl_async.sandbox.neighbours import dispatch
from hl_async.sandbox.neighbours.contacts import check_contact
from hl_async.sandbox.neighbours.people import check_user
from hl_async.sandbox.oauth import camel_case, form_fields, installed_locations
from hl_async.sandbox.rate_limits import make_window
from hl_async.sandbox.refusals import Refusal, bad_request, not_found, unauthorised, unprocessable
from hl_async.sandbox.routes import BARE, CREATED, HANDLERS, TRACED, OperationContext, alt_of, make_routes
from hl_async.sandbox.state import RequestRecord, SandboxState
from hl_async.sandbox.tokens import IssuedToken

_VERSIONS: Final = frozenset(("v3", "2023-02-21", "2021-07-28", "2021-04-15", "legacy"))
_ROUTES: Final = make_routes()
_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_log: Final = logging.getLogger("hl_async.sandbox")
_quiet: Final = logging.getLogger("hl_async.sandbox.access")


class Sandbox(SandboxState):
    """A stateful local HighLevel, which serves at `url` inside `async with`.

    Args:
        rate_max: Requests per `rate_interval`, for each location and private token or app.
        rate_interval: The length of the rate limit's interval in seconds.
        window: How the limit counts: `fixed`, `sliding`, `counter` or `bucket`.
        daily: Requests per day in UTC, for each location and private token or app.
        faults: The name of a profile (`PROFILES`), or a plan.
        seed: The seed of the faults, and of the key that signs webhooks.
        latency: Seconds by which every answer is delayed.
        host: The address to listen on. One that is not loopback needs `allow_remote` too.
        port: The port to listen on; 0 for a free one.
        quirks: Switches for unknown behaviour of the API.
        contacts: Switches for the behaviour of contacts and users.
        rules_off: Names of rules (`hl_async.sandbox.RULES`) to switch off.
        rules_on: Names of rules to switch on that are off by default.
        timezone: The IANA name of the locations' time zone.
        customer_accepts: Whether the customer accepts every estimate as soon as it is sent.
        clock: The sandbox's clock, which a test can move; a new one by default.
        allow_remote: Whether it may listen, and deliver webhooks, beyond this machine.
        webhook_url: The address that gets signed webhooks about changes of invoices and installations.

    Raises:
        ConfigurationError: A setting is not valid.
    """

    ssl: SSLContext | None = None
    """The certificate and key for https. Set it before `async with`; None serves http."""

    _runner: web.AppRunner | None = None

    # ----------------------------------------------------------------------------------- life cycle

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        # Not `.*`, because a dot does not match the line break that %0A becomes.
        app.router.add_route("*", r"/{path:[\s\S]*}", self._handle)
        self._runner = web.AppRunner(
            app, access_log=None, keepalive_timeout=75.0, shutdown_timeout=0.1, logger=_quiet
        )
        await self._runner.setup()
        # Before the first request can arrive, because its event needs the loop.
        self.webhooks.open()
        site = web.TCPSite(self._runner, self.host, self.port, backlog=1024, ssl_context=self.ssl)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        scheme = "http" if self.ssl is None else "https"
        self.url = f"{scheme}://{f'[{host}]' if ':' in str(host) else host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.webhooks.aclose()
        for transport in list(self.open_connections):
            # Otherwise the shutdown would wait for clients to close their keep-alive connections.
            transport.abort()  # type: ignore[attr-defined]
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    # -------------------------------------------------------------------------------------- requests

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self._track(request)
        try:
            admission.admit(request, host=self.host, allow_remote=self.allow_remote)
        except Refusal as refusal:
            return _json(refusal.status, refusal.body)
        # The raw path, because decoding would turn a %2F inside an id into a slash between ids.
        path = request.raw_path.partition("?")[0]
        if path.startswith("/_sandbox"):
            return await control.handle(self, request)
        if path == console.PREFIX or path.startswith(f"{console.PREFIX}/"):
            return await console.handle(self, request)
        if path in authorization.PATHS:
            return await authorization.handle(self, request)
        try:
            raw = await request.read()
        except web.HTTPException as error:  # a body over client_max_size
            return _json(error.status, {"statusCode": error.status, "message": error.reason})
        # Counted when the body is complete: faults are chosen by number, and a request that broke off would shift those
        # of all later requests.
        self.count += 1
        record = RequestRecord(
            self.count,
            self.clock.monotonic(),
            request.method,
            path,
            dict(parse_qsl(request.query_string, keep_blank_values=True)),
            version=request.headers.get("Version", ""),
            user_agent=request.headers.get("User-Agent", "")[:200],
            body_bytes=len(raw),
        )
        self.requests.append(record)
        self.recorder.arrived(record.number, request.raw_path, request.headers.items(), raw)
        return await self._answer(record, request, raw)

    async def _answer(self, record: RequestRecord, request: web.Request, raw: bytes) -> web.StreamResponse:
        headers: dict[str, str] = {}
        fault: Fault | None = None
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            operation, ids = self._match(record)
            record.operation = operation.name
            # Before token and rate limit are checked, because a gateway in front of the API checks neither.
            fault = self.faults.take(operation.name, record.number)
            record.fault = fault.value if fault else ""
            early = await faults.before(fault, self.faults.times, request)
            if early is not None:
                record.status = early.status
                self.recorder.answered(record.number, early.headers.items(), getattr(early, "body", None))
                return early
            status, document = self._perform(operation, ids, record, request, raw, headers)
            # A live answer lacked the key, although the invoice existed: docs/api-facts.md#api-estimate-to-invoice
            if fault is Fault.NO_INVOICE_KEY and isinstance(document, dict) and "invoice" in document:
                document = {name: value for name, value in document.items() if name != "invoice"}
        except Refusal as refusal:
            status, document = refusal.status, refusal.body
            record.refused = status == 429
        record.status = status
        record.elapsed = self.clock.monotonic() - record.at
        # Recorded, so that a test can compare the budgets of client and server request by request.
        if "X-RateLimit-Remaining" in headers:
            record.remaining = int(headers["X-RateLimit-Remaining"])
        content = b"" if document is None else _encoder.encode(document)
        self.recorder.answered(record.number, headers.items(), content)
        return await faults.after(fault, self.faults.times, request, status, content, headers)

    def _perform(
        self,
        operation: Operation[Any],
        ids: tuple[str, ...],
        record: RequestRecord,
        request: web.Request,
        raw: bytes,
        headers: dict[str, str],
    ) -> tuple[int, Any]:
        content_type = request.headers.get("Content-Type", "")
        # This route needs neither a Version header nor a token: docs/api-facts.md#api-request-headers
        if operation.name == "get-access-token":
            answer = self.tokens.exchange(form_fields(content_type, raw, _object))
            return 200, camel_case(answer) if record.version == "v3" else answer
        self._check_version(record.version)
        if self.clock.monotonic() < self.storm_until:
            raise Refusal(401, "Invalid JWT")
        grant = self.tokens.find(request.headers.get("Authorization"))
        record.principal = grant.principal
        if operation.resource == "oauth":
            form = form_fields(content_type, raw, _object) if raw else {}
            return self._oauth(operation, record, form, grant, headers)
        body = _object(raw) if raw else {}
        if operation in NEIGHBOURS:
            return self._neighbour(operation, ids, record, body, grant, headers)
        location = record.location = self._location(operation, record, ids, body)
        self._count_rate(grant, location, headers)  # first, because refusals use up the budget too
        # A location's routes refuse company tokens: docs/api-facts.md#api-token-classes
        if grant.kind == "Company":
            raise unauthorised(
                "This authClass type is not allowed to access this scope. Please verify your IAM configuration if "
                "this is not the case."
            )
        place = self.ledger.places.get(location)
        # A token of another location: docs/api-facts.md#api-forbidden
        if place is None or (grant.locations is not None and location not in grant.locations):
            raise Refusal(403, "The token does not have access to this location.")
        # The five PATCH operations declare no scope: docs/api-facts.md#api-scopes
        if operation.scope is not None and operation.scope not in grant.scopes:
            raise unauthorised("The token is not authorized for this scope.")
        check_contact(self.neighbours, location, operation.name, body)
        check_user(self.neighbours, place, operation.name, body)
        try:
            document = HANDLERS[operation.name](OperationContext(self.ledger, place, ids, record.query, body))
        except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError) as error:
            # The checks missed something in this request. The client gets a 400, and the log says which check to add.
            _log.warning("%s could not read a request: %s: %s", operation.name, type(error).__name__, error)
            raise bad_request("Bad Request") from None
        if self.customer_accepts and operation.name == "send-estimate":
            document = dict(document)  # a copy: accepting changes the stored one, and the answer says "sent"
            self.customer.accept_if_open(ids[0], location_id=location)
        self.webhooks.operation_done(operation.name, body, document, place)
        self.recorder.operation_done(operation.name, self.clock.timestamp(), location, body, document)
        if operation.replay is Replay.UNSAFE:
            self.ledger.count_commit(operation.name, body, ids[0] if ids else "")
        # Only answers about estimates declare the trace id: docs/api-facts.md#api-trace-id
        if operation.name in TRACED and isinstance(document, dict) and document:
            document = document | {"traceId": f"trace-{record.number:012x}"}
        # Some routes answer 201 although they declare 200: docs/api-facts.md#api-success-status
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
        for route in _ROUTES.get(record.method, ()):
            found = route.pattern.fullmatch(record.path)
            if found is not None and (not route.v3_only or record.version == "v3"):
                return route.operation, tuple(unquote(part) for part in found.groups())
        # The live message about an unknown route: docs/api-facts.md#api-not-found
        raise not_found(f"Cannot {record.method} {record.path}")

    def _check_version(self, version: str) -> None:
        if not version:
            raise unauthorised("version header was not found.")
        if version in _VERSIONS:
            return
        # An unknown date is a 401, any other text a 400: docs/api-facts.md#api-version
        if version.count("-") == 2 and version.replace("-", "").isdecimal():
            raise unauthorised("version header is invalid")
        raise Refusal(400, f"Invalid API version segment '{version}' at position 0", "Bad Request")

    def _location(
        self, operation: Operation[Any], record: RequestRecord, ids: tuple[str, ...], body: dict[str, Any]
    ) -> str:
        """Return the location of a request, read only where the API reads `altId`.

        Raises:
            Refusal: The request names no location there.
        """
        where = alt_of(operation)
        source = body if where is Alt.BODY else record.query
        # These two read altId from the body: docs/api-facts.md#api-delete-body
        deletes = operation.name in ("delete-estimate", "delete-estimate-template")
        if where is Alt.BOTH or (deletes and not self.rules.is_on("delete_estimate_body")):
            source = body if body.get("altId") else record.query
        location, kind = source.get("altId"), source.get("altType")
        if not location or not isinstance(location, str):
            if operation.name in BARE and not self.rules.is_on("alt_everywhere"):
                wanted = ids[0] if ids else str(body.get("estimateId") or body.get("invoiceId") or "")
                return self._holder(wanted)
            if deletes:
                raise unprocessable(["altId must be a string", "altType must be a valid enum value"])
            # The API answers a missing altId with this misleading 401: docs/api-facts.md#api-alt
            raise unauthorised("Invalid token: access token is invalid")
        if kind != "location":
            raise unprocessable(["altType must be one of the following values: location"])
        return location

    def _holder(self, document_id: str) -> str:
        """Return the location that holds a document, or the default location."""
        for place in self.ledger.places.values():
            if document_id in place.schedules or place.locate(document_id) is not None:
                return place.id
        return self.location_id

    def _count_rate(self, grant: IssuedToken, location: str, headers: dict[str, str]) -> None:
        """Count the request against its budget and set the five rate headers.

        Raises:
            Refusal: The budget is used up.
        """
        # One budget per app and location: docs/api-facts.md#api-rate-limits
        key = (grant.principal, location)
        window = self.windows.get(key)
        if window is None:
            window = self.windows[key] = make_window(self.window, self.rate_max, self.rate_interval)
        now = self.clock.monotonic()
        today = (*key, self.clock.today())
        # A refused request does not count for the day. The API's rule is unknown: docs/api-facts.md#api-rate-window
        spent = self.spent_today.get(today, 0)
        admitted = spent < self.daily and window.admit(now)
        if admitted:
            self.spent_today[today] = spent = spent + 1
        headers |= {
            # No header names the end of the short window: docs/api-facts.md#api-rate-headers
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
        form: dict[str, str],
        grant: IssuedToken,
        headers: dict[str, str],
    ) -> tuple[int, Any]:
        if operation.name == "get-location-access-token":
            location, company = form.get("location_id", ""), form.get("company_id", "")
            self._count_rate(grant, company, headers)
            answer = self.tokens.mint(grant, company, location, location in self.ledger.places)
            # Declared as 200, seen as 201: docs/api-facts.md#api-token-classes
            return 201, camel_case(answer) if record.version == "v3" else answer
        company = record.query.get("companyId", "")
        self._count_rate(grant, company, headers)
        if grant.kind != "Company":
            raise unauthorised("The token is not authorized for this scope.")
        if company != grant.company:
            raise Refusal(403, "The token does not have access to this location.")
        installed = self.tokens.apps[grant.app].installed
        return 200, installed_locations(self.ledger.places, installed, record.query, record.version)

    def _track(self, request: web.Request) -> None:
        transport = request.transport
        if transport is not None and transport not in self.open_connections:
            self.connections_total += 1
            self.open_connections = {one for one in self.open_connections if not one.is_closing()} | {
                transport
            }

    def __repr__(self) -> str:
        return f"<Sandbox {self.url or 'not serving'}, {self.count} requests, {self.refused} refused>"


def _json(status: int, document: Any) -> web.Response:
    return web.Response(status=status, body=_encoder.encode(document), content_type="application/json")


def _object(raw: bytes) -> dict[str, Any]:
    try:
        document = _decoder.decode(raw)
    # A deeply nested body raises RecursionError. The answer must be a 400, not a broken connection.
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        document = None
    if not isinstance(document, dict):
        raise Refusal(400, "Unexpected token in JSON", "Bad Request")
    return document
