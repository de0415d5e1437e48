"""Internal. The type of a row in the operations table, and paths built from it."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote, unquote

from hl_async.errors import InvalidRequest, WrongDocument, bounded_text
from hl_async.models.codec import decoder
from hl_async.models.validation import check_text

T = TypeVar("T")

# The API's ids have at most 24 characters: docs/api-facts.md#api-hosts. A text longer than this limit is a mistake,
# such as a whole document.
MAX_ID: Final = 128


class Alt(Enum):
    """Where a request names the location: docs/api-facts.md#api-alt.

    - ``QUERY``, ``BODY`` and ``BOTH``: as ``altId`` and ``altType``.
    - ``LOCATION_QUERY`` and ``LOCATION_BODY``: as ``locationId``.
    - ``SNAKE_QUERY``: as ``location_id`` in the query.
    - ``NONE``: in the path, or not at all.
    """

    QUERY = "query"
    BODY = "body"
    BOTH = "both"
    LOCATION_QUERY = "location_query"
    LOCATION_BODY = "location_body"
    SNAKE_QUERY = "snake_query"
    NONE = "none"


class Replay(Enum):
    """The effect of sending the same request twice."""

    SAFE = "safe"
    """No effect: it only reads."""
    IDEMPOTENT = "idempotent"
    """The same effect as sending it once: it replaces or deletes."""
    UNSAFE = "unsafe"
    """Twice the effect: it creates, sends or pays. It is never repeated once a byte was sent."""


class Operation(Generic[T]):
    """One endpoint, typed by its answer.

    Attributes:
        name: The specification's operationId.
        at: The coroutine of a location, such as ``estimates.create``.
        resource: The part of ``at`` before the dot.
        call: The part of ``at`` after the dot.
        method: The HTTP method.
        path: A template with one ``{parameter}`` per id.
        path_v3: The template under API version v3; equal to ``path`` unless v3 renamed the route.
        params: The names of the parameters in ``path``.
        segments: The fixed texts of ``path`` around its parameters.
        query: The query parameters that the endpoint takes, spelled as on the wire.
        alt: Where the request names the location.
        body: The struct of the request; None if it has none of its own.
        form: Whether the body is form-encoded instead of JSON.
        authorised: Whether the request carries a token.
        scope: The OAuth scope that the token needs; None if the specification declares none.
        replay: The effect of sending the request twice.
        response: The struct of the answer; None if the answer's body is ignored.
        items: For lists, the key of the entries in the answer.
        total: For lists, the key of the number of entries in all pages.
        identity: The attributes that lead from the answer to its id: ``("invoice", "id")``. Empty if it is not
            compared with the requested id.
    """

    alt: Alt
    at: str
    authorised: bool
    body: type[Any] | None
    call: str
    form: bool
    identity: tuple[str, ...]
    items: str | None
    method: str
    name: str
    params: tuple[str, ...]
    path: str
    path_v3: str
    query: tuple[str, ...]
    replay: Replay
    resource: str
    response: type[T] | None
    scope: str | None
    segments: tuple[str, ...]
    total: str

    __slots__ = (
        "_decode", "alt", "at", "authorised", "body", "call", "form", "identity", "items", "method", "name",
        "page", "params", "path", "path_v3", "query", "replay", "resource", "response", "scope", "segments", "total",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        method: str,
        path: str,
        response: type[T] | None,
        *,
        at: str,
        scope: str | None,
        alt: Alt,
        replay: Replay,
        body: type[Any] | None = None,
        query: tuple[str, ...] = (),
        items: str | None = None,
        total: str = "total",
        path_v3: str | None = None,
        form: bool = False,
        authorised: bool = True,
        identity: str = "",
    ) -> None:
        self._decode: Callable[[bytes], T] | None = None
        self.name = name
        self.method = method
        self.path = path
        self.path_v3 = path_v3 or path
        self.response = response
        self.at = at
        self.resource, self.call = at.split(".")
        self.scope = scope
        self.alt = alt
        self.replay = replay
        self.body = body
        self.query = query
        self.items = items
        self.total = total
        self.form = form
        self.authorised = authorised
        self.identity = tuple(identity.split(".")) if identity else ()
        self.params = tuple(part.partition("}")[0] for part in path.split("{")[1:])
        # "/a/{x}/b" becomes ("/a/", "/b"): every call expands its path, and parsing the template again takes longer.
        self.segments = tuple(part.rpartition("}")[2] for part in path.split("{"))

    def decode(self, body: bytes) -> T:
        """Return the body of an answer as the struct ``response``. Raises `DecodeError`."""
        decode = self._decode
        if decode is None:
            # Built at the first answer: a decoder costs as much as twenty rows, and most programs call few operations.
            # A `__getattr__` that builds it would slow down every attribute access.
            decode = self._decode = decoder(self.response)
        return decode(body)

    def expand(self, *ids: str) -> str:
        """Return the path with ``ids`` filled in, each percent-encoded.

        Raises:
            InvalidRequest: The path takes another number of ids, or an id is one that `path_segment` refuses.
        """
        segments = self.segments
        if len(ids) != len(segments) - 1:
            raise InvalidRequest("path", f"{self.at} takes {len(segments) - 1} ids, got {len(ids)}")
        if not ids:
            return segments[0]
        path = segments[0]
        for index, value in enumerate(ids):
            path += path_segment(self.params[index], value) + segments[index + 1]
        return path

    def check_identity(self, answer: object, asked: str, body: bytes) -> None:
        """Raise if the answer has another id than the requested one.

        Such an answer belongs to another call, for example because a proxy mixed two answers up.

        Args:
            answer: The decoded answer.
            asked: The requested id.
            body: The answer's body, for the error.

        Raises:
            WrongDocument: The ids differ.
        """
        found: object = answer
        for name in self.identity:
            found = getattr(found, name, None)
        # An answer without an id proves nothing, and answers lack fields: docs/api-facts.md#api-answer-fields
        if isinstance(found, str) and found != asked:
            raise WrongDocument(
                f"the answer is the document {found!r}, not the requested {asked!r}",
                path="$." + ".".join((*self.identity[:-1], "_id")),
                body=bounded_text(body),
            )

    def __repr__(self) -> str:
        return f"<Operation {self.at}: {self.method} {self.path}>"


def names_no_location(operation: Operation[Any], url: str, body: bytes | None) -> bool:
    """Return whether a request to the invoices service lacks ``altId``.

    The API answers such a request with a misleading 401 (docs/api-facts.md#api-alt). Rows of this table always send
    it; an `Operation` that a user defines may not.
    """
    return operation.path.startswith("/invoices") and "altId=" not in url and b'"altId"' not in (body or b"")


def path_segment(field: str, value: str) -> str:
    """Percent-encode an id, so that it stays one segment of its path.

    Args:
        field: The name of the id, for the error.
        value: The id.

    Raises:
        InvalidRequest: The id is not text, is empty or blank, is ``.`` or ``..`` (encoded or not), has more than 128
            characters, or holds a control character or a lone surrogate.
    """
    if not isinstance(value, str):
        raise InvalidRequest(field, f"must be a string, got {type(value).__name__}")
    # The usual id: docs/api-facts.md#api-hosts. `isalnum` is more than twice as fast on bytes as on text.
    if value.isascii() and value.encode().isalnum() and len(value) <= MAX_ID:
        return value
    if not value or value.isspace():
        raise InvalidRequest(field, "is empty; an empty id would address the list instead")
    if len(value) > MAX_ID:
        raise InvalidRequest(field, f"has {len(value)} characters; ids have at most {MAX_ID}")
    # A proxy may decode %2e%2e and resolve it, and the request would reach another route.
    if value in (".", "..") or unquote(value) in (".", ".."):
        raise InvalidRequest(field, "is a relative path segment, not an id")
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value):
        raise InvalidRequest(field, "contains control characters")
    check_text(value, field)
    # quote() keeps ``_.-~`` and escapes every other character that is not a letter or digit.
    return quote(value, safe="")


def plain_id(field: str, value: str) -> str:
    """Return an id that needs no encoding, for uses outside of paths.

    It consists of letters, digits and ``_.-~``.

    Raises:
        InvalidRequest: The id has another character, or is one that `path_segment` refuses.
    """
    if path_segment(field, value) != value:
        raise InvalidRequest(field, "contains characters that no id has (spaces, slashes, …)")
    return value
