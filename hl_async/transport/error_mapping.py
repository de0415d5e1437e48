"""Internal. Maps exceptions of aiohttp, the event loop and the system to ours."""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.http import HttpProcessingError

from hl_async.errors import AttemptTimeout, ConnectFailed, ConnectionLost, WireError, WireKind

WIRE_FAILURES: Final = (
    aiohttp.ClientError, aiohttp.EofStream, HttpProcessingError, OSError, TimeoutError, ValueError,
)  # fmt: skip
"""Exceptions that a failing network can raise below us."""


PROXY_PASSWORD: Final = (
    "the proxy requires a password; put it into its address: http://USER:PASSWORD@HOST:PORT"
)


def wire_error(error: Exception, *, sent: bool, answered: bool, url: str = "") -> WireError:
    """Return our error for ``error``. Its text is kept as the cause.

    Args:
        error: The exception.
        sent: A byte of the request may have left.
        answered: The head of the answer has arrived.
        url: The address of the request, for errors of connecting.
    """
    text = f"{type(error).__name__}: {_describe(error)}"
    found = _connect_problem(error)
    if found is not None:
        kind, problem = found
        if kind is not None:
            problem = f"cannot connect to {_wanted(error, url)}: {problem}"
        return ConnectFailed(problem, kind=kind or WireKind.CONNECT, sent=False, cause=text)
    # Before connection errors: a timeout of aiohttp is one of those as well.
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        phase = "reading the answer" if answered else "waiting for the answer" if sent else "connecting"
        return AttemptTimeout(f"timed out while {phase}", kind=WireKind.TIMEOUT, sent=sent, cause=text)
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionLost("the answer ended too early", kind=WireKind.TRUNCATED, sent=True, cause=text)
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return ConnectionLost(
            "the connection was closed before an answer arrived",
            kind=WireKind.DISCONNECTED,
            sent=sent,
            cause=text,
        )
    if "content-encoding" in text:
        return WireError(
            "the body has a content encoding that was not requested",
            kind=WireKind.ENCODING,
            sent=True,
            cause=text,
        )
    problem = "the answer is not valid HTTP" if sent else "the request cannot be written as HTTP"
    return WireError(problem, kind=WireKind.PROTOCOL, sent=sent, cause=text)


def aborted(*, sent: bool, answered: bool, closed: bool) -> WireError:
    """Return the error of an attempt that its timeout or its client's closing ended."""
    if closed:
        return ConnectionLost(
            "the client was closed before the answer arrived", kind=WireKind.DISCONNECTED, sent=sent
        )
    return wire_error(TimeoutError(), sent=sent, answered=answered)


def _connect_problem(error: Exception) -> tuple[WireKind | None, str] | None:
    """Return why no connection was made, as kind and words; None for a later failure.

    A proxy that asks for a password has the kind None: its words are the whole message.
    """
    # The order matters: failures of DNS and certificates are subclasses of the connector error at the end.
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return WireKind.CONNECT, "connecting took too long"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return WireKind.DNS, "the host name could not be resolved"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return WireKind.TLS, f"the certificate was refused: {_reason(error.certificate_error)}"
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return WireKind.TLS, f"TLS could not be established: {_reason(error)}"
    if isinstance(error, aiohttp.ClientHttpProxyError):
        if error.status == 407:
            return None, PROXY_PASSWORD
        return WireKind.CONNECT, f"the proxy refused with status {error.status}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return WireKind.CONNECT, _reason(error.os_error)
    return None


def _reason(error: BaseException) -> str:
    """Return the system's or the TLS library's reason in words, without its numbers."""
    inner = getattr(error, "os_error", error)
    words = getattr(inner, "verify_message", "") or getattr(inner, "strerror", "") or str(inner)
    code = getattr(inner, "errno", None)
    if isinstance(code, int) and code in errno.errorcode and not isinstance(inner, ssl.SSLError):
        words = os.strerror(code)  # asyncio's own text repeats the address
    return words[:1].lower() + words[1:] if words[1:2].islower() else words


def _wanted(error: Exception, url: str) -> str:
    """Return host and port of the failed connection, which may be the proxy's."""
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy {_bracketed(error.host)}:{error.port}"
    parts = urlsplit(url)
    host = _bracketed(parts.hostname or "the server")
    return f"{host}:{parts.port or (80 if parts.scheme == 'http' else 443)}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _describe(error: Exception) -> str:
    # ClientResponseError prints its request with all headers, the token among them. Only its message is used.
    if isinstance(error, aiohttp.ClientResponseError):
        return f"{error.status} {error.message}"
    if isinstance(error, HttpProcessingError):
        return f"{error.code} {error.message}"
    return str(error)
