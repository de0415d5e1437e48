"""Exceptions of aiohttp, the event loop and the operating system → ours."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Final

import aiohttp
from aiohttp.http import HttpProcessingError

from hl_async.errors import AttemptTimeout, ConnectFailed, ConnectionLost, WireError, WireKind

WIRE_FAILURES: Final = (
    aiohttp.ClientError, aiohttp.EofStream, HttpProcessingError, OSError, TimeoutError, ValueError,
)  # fmt: skip
"""What a network that misbehaves can raise below us."""


def wire_error(error: Exception, *, sent: bool, answered: bool) -> WireError:
    """Our error for ``error``, whose text is kept as the cause.

    ``sent`` is whether a byte of the request may have left, ``answered`` whether the answer's head had come.
    """
    text = f"{type(error).__name__}: {_describe(error)}"
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return ConnectFailed("connecting took too long", kind=WireKind.CONNECT, sent=False, cause=text)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return ConnectFailed("the host name could not be resolved", kind=WireKind.DNS, sent=False, cause=text)
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError | ssl.SSLError):
        return ConnectFailed(
            "TLS could not be established or the certificate was refused",
            kind=WireKind.TLS,
            sent=False,
            cause=text,
        )
    if isinstance(error, aiohttp.ClientConnectorError):
        reason = os.strerror(error.errno).lower() if error.errno else str(error.os_error)
        return ConnectFailed(
            f"cannot connect to {error.host}:{error.port}: {reason}",
            kind=WireKind.CONNECT,
            sent=False,
            cause=text,
        )
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return ConnectFailed(
            "the connection could not be opened", kind=WireKind.CONNECT, sent=False, cause=text
        )
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        phase = "reading the answer" if answered else "waiting for the answer" if sent else "connecting"
        return AttemptTimeout(f"timed out while {phase}", kind=WireKind.TIMEOUT, sent=sent, cause=text)
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLost("the answer ended too early", kind=WireKind.TRUNCATED, sent=True, cause=text)
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return ConnectionLost(
            "the connection was closed before an answer came",
            kind=WireKind.DISCONNECTED,
            sent=sent,
            cause=text,
        )
    if "content-encoding" in text:
        return WireError(
            "the body came with a content encoding that was not asked for",
            kind=WireKind.ENCODING,
            sent=True,
            cause=text,
        )
    problem = "the answer is not valid HTTP" if sent else "the request cannot be written as HTTP"
    return WireError(problem, kind=WireKind.PROTOCOL, sent=sent, cause=text)


def aborted(*, sent: bool, answered: bool, closed: bool) -> WireError:
    """The error for an attempt that was ended from here: its time was up, or the client was ``closed``."""
    if closed:
        return ConnectionLost(
            "the client was closed before the answer came", kind=WireKind.DISCONNECTED, sent=sent
        )
    return wire_error(TimeoutError(), sent=sent, answered=answered)


def _describe(error: Exception) -> str:
    # ClientResponseError prints its request, headers and all: only its message is taken
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    if isinstance(error, HttpProcessingError):
        return f"{error.code} {error.message}"
    return str(error)
