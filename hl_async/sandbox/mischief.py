"""Carrying faults out on the socket: what happens before an operation takes effect, and to its answer."""

from __future__ import annotations

import asyncio
import gzip
import socket
import struct
from email.utils import formatdate
from time import time
from typing import Final

from aiohttp import web

from hl_async.sandbox.faults import Fault, FaultTimes

_JSON: Final = "application/json; charset=utf-8"
_BIG: Final = 50 * 1024 * 1024


def _html(status: int, title: str) -> web.Response:
    page = f"<html><head><title>{status} {title}</title></head><body><h1>{status} {title}</h1></body></html>"
    return web.Response(status=status, text=page, content_type="text/html")


def _throttled(times: FaultTimes, form: str) -> web.Response:
    headers = {}
    if form == "seconds":
        headers["Retry-After"] = f"{times.retry_after:g}"
    elif form == "date":
        headers["Retry-After"] = formatdate(time() + times.retry_after + 1, usegmt=True)
    body = '{"statusCode":429,"message":"Too Many Requests"}'
    return web.Response(status=429, text=body, headers=headers, content_type="application/json")


async def before(fault: Fault | None, times: FaultTimes, request: web.Request) -> web.StreamResponse | None:
    """An answer that replaces the operation, which then has no effect; None lets it happen."""
    match fault:
        case Fault.LATENCY:
            await asyncio.sleep(times.latency)
        case Fault.STALL:
            await asyncio.sleep(times.stall)
            return _hang_up(request)
        case Fault.LATE_COMMIT:
            await asyncio.sleep(times.late)
        case Fault.RESET_BEFORE_COMMIT:
            return _hang_up(request)
        case Fault.HTML_502:
            return _html(502, "Bad Gateway")
        case Fault.HTML_503:
            return _html(503, "Service Temporarily Unavailable")
        case Fault.RETRY_503:
            headers = {"Retry-After": f"{times.retry_after:g}"}
            return web.Response(status=503, text="{}", headers=headers, content_type="application/json")
        case Fault.ERROR_500_BEFORE:
            body = '{"statusCode":500,"message":"Internal server error"}'
            return web.Response(status=500, text=body, content_type="application/json")
        case Fault.THROTTLE:
            return _throttled(times, "")
        case Fault.THROTTLE_SECONDS:
            return _throttled(times, "seconds")
        case Fault.THROTTLE_DATE:
            return _throttled(times, "date")
        case Fault.UNAUTHORISED:
            body = '{"statusCode":401,"message":"Invalid JWT"}'
            return web.Response(status=401, text=body, content_type="application/json")
        case Fault.REDIRECT:
            return web.Response(status=307, headers={"Location": "https://elsewhere.example/"})
    return None


async def after(
    fault: Fault | None,
    times: FaultTimes,
    request: web.Request,
    status: int,
    content: bytes,
    headers: dict[str, str],
) -> web.StreamResponse:
    """The answer to an operation that took effect (or was refused), as the fault leaves it."""
    match fault:
        case Fault.RESET_AFTER_COMMIT:
            return _hang_up(request)
        case Fault.LATE_ANSWER:
            await asyncio.sleep(times.late)
        case Fault.ERROR_500_AFTER:
            body = '{"statusCode":500,"message":"Internal server error"}'
            return web.Response(status=500, text=body, content_type="application/json")
        case Fault.CONTROL_CHARACTERS:
            content = content.replace(b'":"', b'":"\x0b\t', 1)
        case Fault.IDLE_CLOSE:
            asyncio.get_running_loop().call_later(0.001, _close, request)
        case Fault.SLOW_DRIP:
            return await _drip(request, times, status, content, headers)
        case Fault.GZIP_BOMB:
            packed = gzip.compress(b" " * _BIG)
            return web.Response(
                status=status,
                body=packed,
                headers=headers | {"Content-Encoding": "gzip", "Content-Type": _JSON},
            )
        case Fault.BIG_BODY:
            return web.Response(status=status, body=b" " * _BIG, headers=headers | {"Content-Type": _JSON})
    raw = _raw(fault, status, content)
    if raw is not None:
        return _write_raw(request, raw)
    if not content:
        return web.Response(status=status, headers=headers)
    return web.Response(status=status, body=content, headers=headers | {"Content-Type": _JSON})


def _raw(fault: Fault | None, status: int, content: bytes) -> bytes | None:
    """The bytes of an answer that no HTTP server would send on purpose."""
    line = b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n" % status
    half = content[: len(content) // 2]
    match fault:
        case Fault.TRUNCATED:
            return line + b"Content-Length: %d\r\n\r\n" % len(content) + half
        case Fault.TRUNCATED_CHUNKED:
            return line + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % len(content) + half
        case Fault.TRUNCATED_CLOSE:
            return line + b"Connection: close\r\n\r\n" + half
        case Fault.LONGER_BODY:
            return line + b"Content-Length: %d\r\n\r\n" % max(1, len(content) - 5) + content
        case Fault.DUPLICATE_LENGTH:
            return line + b"Content-Length: %d\r\nContent-Length: 7\r\n\r\n" % len(content) + content
        case Fault.HEADER_FLOOD:
            return line + b"X-Flood: yes\r\n" * 5000 + b"Content-Length: %d\r\n\r\n" % len(content) + content
        case Fault.GARBAGE:
            return b"\x00\x01 this is no HTTP \xff\r\n\r\n"
    return None


async def _drip(
    request: web.Request, times: FaultTimes, status: int, content: bytes, headers: dict[str, str]
) -> web.StreamResponse:
    response = web.StreamResponse(status=status, headers=headers | {"Content-Type": _JSON})
    response.content_length = len(content)
    await response.prepare(request)
    step = max(1, len(content) // 5)
    for start in range(0, len(content), step):
        await response.write(content[start : start + step])
        await asyncio.sleep(times.drip)
    await response.write_eof()
    return response


def _write_raw(request: web.Request, raw: bytes) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        transport.write(raw)
    return _hang_up(request, politely=True)


def _hang_up(request: web.Request, *, politely: bool = False) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        if politely:
            transport.close()
        else:
            connection = transport.get_extra_info("socket")
            if (
                connection is not None
            ):  # a reset, not an orderly end: what a crashed server or a middlebox sends
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
    # never written: the connection is gone, but a handler has to return something
    return web.Response(status=499)


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
