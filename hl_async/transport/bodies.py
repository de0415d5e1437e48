"""Internal. Reads bodies of answers within a limit, and rejects unusable answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import istr
from yarl import URL

from hl_async.errors import ResponseTooLarge, WireError, WireKind
from hl_async.wire import ACCEPT_ENCODING

MAX_ERROR_BODY: Final = 64 * 1024
"""Bytes that are read of an error body."""

CODINGS: Final = aiohttp.ClientRequest.DEFAULT_HEADERS[istr(ACCEPT_ENCODING)]
"""Content encodings that aiohttp can decode here: ``br`` and ``zstd`` only if their packages are installed."""
_KNOWN_ENCODINGS: Final = frozenset(("", "identity", *CODINGS.split(", ")))
_CONTENT_ENCODING: Final = istr("Content-Encoding")
_CONTENT_LENGTH: Final = istr("Content-Length")
_TRANSFER_ENCODING: Final = istr("Transfer-Encoding")
_LOCATION: Final = istr("Location")

Answer: TypeAlias = tuple[int, Mapping[str, str], bytes | None, Callable[[], None] | None]
"""Status, headers, body, and a function that closes the connection.

A body of None was not accepted; :func:`reject_response` names the reason.
"""


def arrived_body(content: aiohttp.StreamReader, headers: Mapping[str, str], limit: int) -> bytes | None:
    """Return a body that arrived in one piece with its head, or None for `read_body`.

    aiohttp's ``read_nowait`` also resumes a paused connection and calls the parser. That costs a fifth of the time of
    parsing the answer, and only a paused connection needs it.
    """
    if type(content) is not aiohttp.StreamReader or _CONTENT_ENCODING in headers:
        return None
    parts = content._buffer  # noqa: SLF001
    if len(parts) != 1 or len(parts[0]) > limit or content.exception() is not None:
        return None
    return None if content._protocol._reading_paused else parts.popleft()  # noqa: SLF001


async def read_body(
    content: aiohttp.StreamReader, status: int, headers: Mapping[str, str], limit: int
) -> bytes | None:
    """Read and decompress a response body.

    Returns None if it exceeds ``limit`` bytes or has a content encoding that was not requested. Error bodies are
    truncated to :data:`MAX_ERROR_BODY` instead. The connection is reusable only if the stream is at its end afterwards.
    A body of unknown or compressed length is counted while it arrives, so a compression bomb never fills the memory.
    """
    # An error body is for people and may be cut. A document that is cut would be a wrong result.
    cut = status >= 400
    if cut:
        limit = MAX_ERROR_BODY
    if _CONTENT_ENCODING not in headers:
        length = headers.get(_CONTENT_LENGTH)
        if length is not None:
            if int(length) <= limit:
                # Most bodies arrive together with the head, and then no wait is needed.
                return content.read_nowait() if content.is_eof() else await content.read()
            if not cut:
                return None  # the declared length exceeds the limit, so the body need not be read
    elif headers[_CONTENT_ENCODING].lower() not in _KNOWN_ENCODINGS:
        return None
    parts: list[bytes] = []
    size = 0
    async for chunk in content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > limit:
            return b"".join(parts)[:limit] if cut else None
    return b"".join(parts)


async def read_on(
    protocol: ResponseHandler,
    content: aiohttp.StreamReader,
    status: int,
    headers: Mapping[str, str],
    limit: int,
) -> bytes | None:
    """Read a body that is still arriving, like `read_body`.

    It makes up for two faults of aiohttp. A reader is not woken when the parser fails inside the body. A body of
    unknown length counts as complete when the connection is reset.
    """

    def lost(closed: asyncio.Future[None]) -> None:
        if not content.is_eof() and content.exception() is None:
            content.set_exception(
                protocol.exception() or aiohttp.ClientPayloadError("the connection was closed")
            )

    closed = protocol.closed
    if closed is not None:
        closed.add_done_callback(lost)
        # Once per connection, however many answers it carries.
        closed.remove_done_callback(_retrieve)
        closed.add_done_callback(_retrieve)
    try:
        received = await read_body(content, status, headers, limit)
    finally:
        if closed is not None:
            closed.remove_done_callback(lost)
    # Without a length, the end of the connection ends the body, and a reset looks the same.
    delimited = _CONTENT_LENGTH in headers or "chunked" in headers.get(_TRANSFER_ENCODING, "").lower()
    if not delimited and isinstance(protocol.exception(), OSError):
        raise aiohttp.ClientPayloadError("the connection broke before the end of the answer was known")
    return received


def _retrieve(closed: asyncio.Future[None]) -> None:
    """Retrieve the exception, or asyncio reports that it was never retrieved."""
    if not closed.cancelled():
        closed.exception()


def reject_response(answer: Answer, limit: int) -> WireError:
    """Return the error for an answer that is not accepted.

    Its status is not final, it is a redirect, or its body has another encoding or more than ``limit`` bytes.
    """
    status, headers, _, _ = answer
    if status < 200:
        return WireError(f"unexpected status {status}", kind=WireKind.PROTOCOL, sent=True)
    if 300 <= status < 400:
        host = _location_host(headers.get(_LOCATION))
        return WireError(
            f"{status} redirect{f' to {host}' if host else ''}; redirects are not followed, because they would "
            "pass the token on. Check the base URL",
            kind=WireKind.REDIRECT,
            sent=True,
        )
    encoding = headers.get(_CONTENT_ENCODING, "")
    if encoding.lower() not in _KNOWN_ENCODINGS:
        return WireError(
            f"the body has the content encoding {encoding[:40]!r}, which was not requested",
            kind=WireKind.ENCODING,
            sent=True,
        )
    return ResponseTooLarge(
        f"the body is larger than the limit of {limit:,} bytes", kind=WireKind.TOO_LARGE, sent=True
    )


def _location_host(location: str | None) -> str:
    try:
        return URL(location or "").host or ""
    except ValueError:
        return ""
