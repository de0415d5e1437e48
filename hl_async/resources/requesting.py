"""Internal. Turns an endpoint method into a call.

Ids go into the path, altId to its place, and the body is encoded once.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from datetime import date, datetime
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import quote, quote_plus, urlencode

import msgspec

from hl_async.config import CallOptions
from hl_async.errors import DecodeError, InvalidRequest, WrongDocument
from hl_async.governor import ScopeSnapshot
from hl_async.models.codec import encode, encode_body
from hl_async.models.located import Located, learn_offset, with_timezone
from hl_async.models.preparation import RequestContext, check_location, prepared
from hl_async.models.rules import RULE_NAMES
from hl_async.models.validation import check_text
from hl_async.operations import Alt, Operation
from hl_async.pagination import ListEnvelope, Pager
from hl_async.transport.account import Account
from hl_async.transport.calls import BeforeSend, Transport
from hl_async.wire import WireResponse

R = TypeVar("R")
T = TypeVar("T")

Body: TypeAlias = msgspec.Struct | Mapping[str, Any] | bytes | None
"""A request struct, a mapping in the wire's spelling, or the bytes of a JSON object; without altId."""

Query: TypeAlias = Mapping[str, Any] | None
"""Query parameters in the wire's spelling; None values are left out."""


# A look-up through the enumeration costs as much as three calls, and every call compares with most members.
_QUERY: Final = Alt.QUERY
_BODY: Final = Alt.BODY
_BOTH: Final = Alt.BOTH
_NONE: Final = Alt.NONE
_LOCATION_QUERY: Final = Alt.LOCATION_QUERY
_LOCATION_BODY: Final = Alt.LOCATION_BODY
_SNAKE_QUERY: Final = Alt.SNAKE_QUERY

# Servers read whole numbers into 64 bits.
_LARGEST: Final = 1 << 63


class Requester:
    """Sends operations for one account with one set of options."""

    __slots__ = ("_account", "_context", "_options", "_transport")

    def __init__(
        self,
        transport: Transport,
        account: Account,
        options: CallOptions,
        context: RequestContext | None = None,
    ) -> None:
        self._transport = transport
        self._account = account
        self._options = options
        self._context = context or RequestContext(account.key)

    @property
    def key(self) -> str:
        """The id under which the calls are authorised and counted."""
        return self._account.key

    def budget(self) -> ScopeSnapshot:
        """Return the state of the rate budget."""
        return self._account.scope.snapshot()

    def call(
        self,
        operation: Operation[R],
        *ids: str,
        body: Body = None,
        query: Query = None,
        options: CallOptions | None = None,
        before_send: BeforeSend | None = None,
    ) -> Coroutine[Any, Any, R]:
        """Call any operation of the table by its row, typed like its own method.

        Args:
            operation: The row.
            ids: Ids of the path.
            body: The request body.
            query: Query parameters in the wire's spelling.
            options: Options of this call; by default the requester's.
            before_send: Awaited before every request.

        Raises:
            InvalidRequest: At once, before a coroutine exists, for anything that can be refused without a request.
        """
        path, text, content = self._prepare(operation, ids, body, query)
        options = options or self._options
        asked = ""
        if operation.identity:
            # Operations without ids in the path, such as the preview of a template, take the id in their first
            # filter.
            asked = ids[0] if ids else str((query or {}).get(operation.query[0], ""))
        timezone = self._context.reading
        if not asked and not timezone:
            return self._transport.send(operation, self._account, path, text, content, options, before_send)
        # Most calls check no id and set no time zone: they take the shorter path above.
        decode = operation.decode

        def finish(response: WireResponse) -> R:
            answer = decode(response.body)
            if asked:
                _check_identity(operation, answer, asked, response)
            if timezone:
                with_timezone(answer, timezone)
            return answer

        return self._transport.send_with(
            operation, self._account, path, text, content, options, finish, before_send
        )

    def follows(self, rule: str) -> bool:
        """Return whether a rule of `hl_async.models.rules` is in force."""
        return rule in self._context.rules

    @property
    def rules_off(self) -> frozenset[str]:
        """Names of the rules that are switched off."""
        return RULE_NAMES - self._context.rules

    def learn(self, answer: Located, *days: tuple[object, str | None]) -> None:
        """Keep the location's UTC offset if sent and answered days show it.

        See docs/api-facts.md#api-dates: answers carry instants, from which one day can mean two.
        """
        if self._context.reading is None and (offset := learn_offset(answer, *days)):
            self._context.learned = offset

    def send_with(
        self,
        operation: Operation[Any],
        ids: tuple[str, ...],
        body: Body,
        query: Query,
        options: CallOptions | None,
        finish: Callable[[WireResponse], R],
    ) -> Coroutine[Any, Any, R]:
        """Call an operation like :meth:`call`, with a decoder of the caller's.

        Args:
            operation: The row.
            ids: Ids of the path.
            body: The request body.
            query: Query parameters in the wire's spelling.
            options: Options of this call; by default the requester's.
            finish: Decodes the response.
        """
        path, text, content = self._prepare(operation, ids, body, query)
        return self._transport.send_with(
            operation, self._account, path, text, content, options or self._options, finish
        )

    def paginate(
        self,
        operation: Operation[Any],
        filters: Mapping[str, Any],
        *,
        limit: int | None,
        offset: int,
        ids: tuple[str, ...] = (),
        options: CallOptions | None = None,
    ) -> Pager[Any]:
        """Return a pager over a list operation.

        ``filters`` are in the wire's spelling, ``ids`` are those of its path.
        """
        kept = {name: value for name, value in filters.items() if value is not None}
        # An invalid filter is refused now, not at the first page.
        encode_query(kept)

        def fetch(start: int, size: int) -> Coroutine[Any, Any, ListEnvelope[Any]]:
            # Declared as text, both required: docs/api-facts.md#api-pagination
            query = {**kept, "limit": size, "offset": start}
            return self.call(operation, *ids, query=query, options=options)

        return Pager(fetch, limit=limit, offset=offset)

    def _prepare(
        self, operation: Operation[Any], ids: tuple[str, ...], body: Body, query: Query
    ) -> tuple[str, str, bytes | None]:
        """Return path, query and encoded body.

        Everything that can be refused is refused here.
        """
        account, context = self._account, self._context
        path = operation.expand(*ids)
        alt = operation.alt
        if body is not None:
            # An operation without a place for the location keeps the one that the body names.
            body = prepared(body, context, keep=alt is _NONE)
        text = ""
        if query:
            text = encode_query(query)
            named = check_location(query, context, "query") if alt is not _NONE else ()
            # The client adds the location, so it is removed here: of two, it is unknown which one the API reads.
            if named:
                text = encode_query({name: value for name, value in query.items() if name not in named})
        if alt is _QUERY or alt is _BOTH:
            text = f"{account.alt_query}&{text}" if text else account.alt_query
        if alt is _BODY or alt is _BOTH:
            return path, text, encode_body(body, account.alt_body)
        if alt is _LOCATION_QUERY or alt is _SNAKE_QUERY:
            name = "locationId" if alt is _LOCATION_QUERY else "location_id"
            located = f"{name}={quote(account.key, safe='')}"
            text = f"{located}&{text}" if text else located
        prefix = b'{"locationId":' + encode(account.key) if alt is _LOCATION_BODY else b""
        if body is None and not prefix:
            return path, text, None
        return path, text, encode_body(body, prefix)


def _check_identity(operation: Operation[Any], answer: object, asked: str, response: WireResponse) -> None:
    try:
        operation.check_identity(answer, asked, response.body)
    except WrongDocument:
        if response.discard is not None:
            # The connection is one answer behind: each later call would get the document of the call before it.
            response.discard()
        raise


def encode_query(query: Mapping[str, Any]) -> str:
    """Percent-encode query parameters.

    Dates become ``YYYY-MM-DD``, booleans lower case; None is left out.
    """
    if not isinstance(query, Mapping):
        raise InvalidRequest("query", f"takes a mapping, got {type(query).__name__}")
    for name in query:
        if not isinstance(name, str):
            raise InvalidRequest("query", f"has the key {name!r}, which is not text")
        check_text(name, "query")
    return urlencode(
        [(name, _text(name, value)) for name, value in query.items() if value is not None],
        quote_via=quote_plus,
    )


def _text(name: str, value: object) -> str:
    if isinstance(value, str):
        check_text(value, name)
        return str.__str__(value)  # the value of a text enum, not its name
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise InvalidRequest(name, "is a number of more than 64 bits")
        # The number of an enum, not its name.
        return int.__repr__(value)
    if isinstance(value, datetime):
        raise InvalidRequest(name, "takes a date, not a datetime; pass value.date()")
    if isinstance(value, date):
        return value.isoformat()
    raise InvalidRequest(
        name, f"a {type(value).__name__} cannot go into a query; give text, a number or a date"
    )


def with_number(answer: R, name: str, operation: Operation[R]) -> R:
    """Return the answer of a number generator.

    Raises :class:`DecodeError` if it has no number.
    """
    if getattr(answer, name) is None:
        raise DecodeError("the answer holds no number", operation=operation.at)
    return answer
