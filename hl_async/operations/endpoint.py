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

# The API's ids have 24 characters at most. A longer text is a mistake, such as a whole document.
MAX_ID: Final = 128


class Alt(Enum):
    """The place of the location in a request: docs/api-facts.md#api-alt.

    ``QUERY``, ``BODY`` and ``BOTH`` carry ``altId`` and ``altType``. ``LOCATION_QUERY`` and ``LOCATION_BODY`` carry
    ``locationId``, ``SNAKE_QUERY`` carries ``location_id``. ``NONE``: the location is in the path, or missing.
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
    """The same effect as once: it replaces or deletes."""
    UNSAFE = "unsafe"
    """Twice the effect: it creates, sends or pays. Never repeated after a byte has left."""


class Operation(Generic[T]):
    """One endpoint, typed by its answer.

    Attributes:
        name: The specification's operationId.
        at: The coroutine, such as ``estimates.create``: its ``resource`` and its ``call``.
        path: A template with one ``{parameter}`` per id.
        path_v3: The template under version v3.
        items: The key of the list in a list's envelope.
        total: The key of the total beside it.
        query: Filters of the endpoint, in the wire's spelling.
        form: Whether the body is form-encoded.
        authorised: Whether a token is sent.
        identity: Path of the requested id in the answer, such as ``invoice.id``.
        alt: The place of the location.
        replay: The effect of a repetition.
        scope: The scope that a token needs; None if none is declared.
        body: The struct of the request.
        response: The struct of the answer.
        method: The HTTP method.
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
        # "/a/{x}/b" becomes ("/a/", "/b"), so that expanding is one join around the quoted ids.
        self.segments = tuple(part.rpartition("}")[2] for part in path.split("{"))

    def decode(self, body: bytes) -> T:
        """Decode an answer's body. Raises `DecodeError`."""
        decode = self._decode
        if decode is None:
            # A decoder takes as long to build as twenty rows, and most programs call few operations. A `__getattr__`
            # that builds it would slow down every look at every attribute.
            decode = self._decode = decoder(self.response)
        return decode(body)

    def expand(self, *ids: str) -> str:
        """Return the path with ``ids`` filled in, each percent-encoded.

        Raises:
            InvalidRequest: An id is empty (the path would be the list's), is ``.`` or ``..``, has control characters,
                or more than 128 characters. Or their number is wrong.
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
        """Refuse a document with another id than the requested one.

        Such an answer belongs to another call.

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
        # An answer without an id proves nothing, and answers may lack fields.
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

    The API answers it with a misleading 401. The operations of this table always carry it; a row defined outside
    may lack it.
    """
    return operation.path.startswith("/invoices") and "altId=" not in url and b'"altId"' not in (body or b"")


def path_segment(field: str, value: str) -> str:
    """Percent-encode one id, so that it can only be one segment of its path.

    Raises :class:`InvalidRequest`.
    """
    if not isinstance(value, str):
        raise InvalidRequest(field, f"must be a string, got {type(value).__name__}")
    # The usual id: docs/api-facts.md#api-hosts. The same question asked of text takes five times as long.
    if value.isascii() and value.encode().isalnum() and len(value) <= MAX_ID:
        return value
    if not value or value.isspace():
        raise InvalidRequest(field, "is empty; an empty id would address the list instead")
    if len(value) > MAX_ID:
        raise InvalidRequest(field, f"has {len(value)} characters; ids have at most {MAX_ID}")
    # A proxy may decode %2e%2e and resolve it, which would address another route.
    if value in (".", "..") or unquote(value) in (".", ".."):
        raise InvalidRequest(field, "is a relative path segment, not an id")
    if any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in value):
        raise InvalidRequest(field, "contains control characters")
    check_text(value, field)
    # quote() leaves dots and other unreserved characters, and escapes the rest.
    return quote(value, safe="")


def plain_id(field: str, value: str) -> str:
    """Validate an id that is used outside of paths too.

    It has letters, digits and characters that URLs keep.
    """
    if path_segment(field, value) != value:
        raise InvalidRequest(field, "contains characters that no id has (spaces, slashes, …)")
    return value
