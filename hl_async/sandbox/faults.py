"""Internal. Faults: the choice of the one that a request meets, and its effect.

A script or a seed chooses the fault. Its effect is made in the answer, or on the socket.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gzip
import hashlib
import socket
import struct
from collections import deque
from email.utils import formatdate
from enum import Enum, unique
from time import time
from typing import Final

from aiohttp import web

from hl_async.operations import operation_named

_JSON: Final = "application/json; charset=utf-8"
# The live gateway reports its own timeout as a 401: docs/api-facts.md#api-401
_TIMED_OUT: Final = "Command timed out"
_BIG: Final = 50 * 1024 * 1024


@unique
class Fault(Enum):
    """A fault of a request. *Commit* is the moment an operation takes effect.

    A fault executes the operation unless its line says "not executed". Durations are those of `FaultTimes`.
    """

    LATENCY = "latency"
    """The operation is executed after a pause of ``latency``."""
    STALL = "stall"
    """Not executed: a reset of the connection after ``stall``."""
    RESET_BEFORE_COMMIT = "reset_before_commit"
    """Not executed: a reset of the connection."""
    RESET_AFTER_COMMIT = "reset_after_commit"
    """A reset of the connection instead of the answer."""
    LATE_COMMIT = "late_commit"
    """The operation is executed after a pause of ``late``, also if the client has given up by then."""
    LATE_ANSWER = "late_answer"
    """The operation is executed at once, and answered after a pause of ``late``."""
    SLOW_DRIP = "slow_drip"
    """The body arrives in about five pieces, with a pause of ``drip`` after each."""
    TRUNCATED = "truncated"
    """Half of the body, under the Content-Length of the whole."""
    TRUNCATED_CHUNKED = "truncated_chunked"
    """Half of a chunk, then the end of the connection."""
    TRUNCATED_CLOSE = "truncated_close"
    """Half of a body without a length, then the end of the connection."""
    LONGER_BODY = "longer_body"
    """A body that is longer than its Content-Length."""
    HTML_502 = "html_502"
    """Not executed: a 502 with an HTML page."""
    HTML_503 = "html_503"
    """Not executed: a 503 with an HTML page."""
    RETRY_503 = "retry_503"
    """Not executed: a 503 with Retry-After."""
    ERROR_500_BEFORE = "error_500_before"
    """Not executed: a 500 in JSON."""
    ERROR_500_AFTER = "error_500_after"
    """The same 500, although the operation was executed."""
    CONTROL_CHARACTERS = "control_characters"
    """A body with raw control characters inside a string."""
    THROTTLE = "throttle"
    """Not executed: a 429 without Retry-After."""
    THROTTLE_SECONDS = "throttle_seconds"
    """Not executed: a 429 with Retry-After in seconds."""
    THROTTLE_DATE = "throttle_date"
    """Not executed: a 429 with Retry-After as a date."""
    UNAUTHORISED = "unauthorised"
    """Not executed: the 401 of an expired token."""
    TIMED_OUT_BEFORE = "timed_out_before"
    """Not executed: the 401 of a gateway's timeout."""
    TIMED_OUT_AFTER = "timed_out_after"
    """The same 401, although the operation was executed."""
    IDLE_CLOSE = "idle_close"
    """The connection ends a millisecond after a normal answer."""
    BIG_BODY = "big_body"
    """A body of 50 MiB."""
    GZIP_BOMB = "gzip_bomb"
    """A small gzip body that unpacks to 50 MiB."""
    HEADER_FLOOD = "header_flood"
    """A header of 5,000 more lines."""
    GARBAGE = "garbage"
    """Bytes that are not HTTP."""
    DUPLICATE_LENGTH = "duplicate_length"
    """Two Content-Length headers that differ."""
    REDIRECT = "redirect"
    """Not executed: a 307 to another host."""
    NO_INVOICE_KEY = "no_invoice_key"
    """An answer without its key ``invoice``."""


PROFILES: Final[dict[str, dict[Fault, float]]] = {
    "none": {},
    "mild": {Fault.RESET_AFTER_COMMIT: 0.01, Fault.HTML_502: 0.01, Fault.THROTTLE: 0.01, Fault.LATENCY: 0.05},
    "migration": {
        Fault.RESET_AFTER_COMMIT: 0.05,
        Fault.LATE_COMMIT: 0.02,
        Fault.ERROR_500_BEFORE: 0.02,
        Fault.ERROR_500_AFTER: 0.015,
        Fault.HTML_502: 0.015,
        Fault.THROTTLE: 0.02,
        Fault.TIMED_OUT_BEFORE: 0.005,
        Fault.TIMED_OUT_AFTER: 0.005,
    },
    "rough": {
        Fault.RESET_BEFORE_COMMIT: 0.02,
        Fault.RESET_AFTER_COMMIT: 0.02,
        Fault.LATE_ANSWER: 0.01,
        Fault.SLOW_DRIP: 0.01,
        Fault.TRUNCATED: 0.01,
        Fault.TRUNCATED_CHUNKED: 0.005,
        Fault.TRUNCATED_CLOSE: 0.005,
        Fault.LONGER_BODY: 0.005,
        Fault.HTML_502: 0.02,
        Fault.HTML_503: 0.01,
        Fault.RETRY_503: 0.01,
        Fault.ERROR_500_BEFORE: 0.01,
        Fault.ERROR_500_AFTER: 0.01,
        Fault.CONTROL_CHARACTERS: 0.01,
        Fault.THROTTLE: 0.01,
        Fault.THROTTLE_SECONDS: 0.005,
        Fault.UNAUTHORISED: 0.005,
        Fault.IDLE_CLOSE: 0.05,
        Fault.HEADER_FLOOD: 0.002,
        Fault.GARBAGE: 0.005,
        Fault.DUPLICATE_LENGTH: 0.002,
        Fault.NO_INVOICE_KEY: 0.02,
        Fault.TIMED_OUT_BEFORE: 0.005,
        Fault.TIMED_OUT_AFTER: 0.005,
    },
}
# Capped at 0.15 each, because the rates of a plan add up to at most 1.
PROFILES["storm"] = {fault: min(3 * rate, 0.15) for fault, rate in PROFILES["rough"].items()}


@dataclasses.dataclass(slots=True)
class FaultTimes:
    """The durations of faults in seconds; short, so that tests are fast."""

    latency: float = 0.2
    stall: float = 30.0
    late: float = 0.8
    drip: float = 0.02
    retry_after: float = 1.0


class FaultPlan:
    """The choice of the fault that each request meets.

    Scripted faults come first, in order. Other requests meet a fault at random, by ``seed`` and the number of the
    request. So the same seed repeats a run.

    Args:
        profile: The name of a profile, or a rate (0 to 1) per fault.
        seed: The seed of the choice.

    Raises:
        ValueError: The profile is unknown, or the rates add up to more than 1.
    """

    def __init__(self, profile: str | dict[Fault, float] = "none", seed: int = 0) -> None:
        self.seed: int = seed
        self.times: FaultTimes = FaultTimes()
        self.rates: dict[Fault, float] = {}
        self.injected: dict[Fault, int] = {}
        self._scripts: dict[str, deque[Fault]] = {}
        self.use(profile)

    def use(self, profile: str | dict[Fault, float], seed: int | None = None) -> None:
        """Replace the rates; scripted faults stay.

        Args:
            profile: The name of a profile, or a rate (0 to 1) per fault.
            seed: A new seed; None keeps the present one.

        Raises:
            ValueError: The profile is unknown, or the rates add up to more than 1.
        """
        if isinstance(profile, str):
            if profile not in PROFILES:
                raise ValueError(f"unknown fault profile {profile!r}; choose {', '.join(PROFILES)}")
            profile = PROFILES[profile]
        if sum(profile.values()) > 1:
            raise ValueError("the rates add up to more than 1")
        self.rates = dict(profile)
        if seed is not None:
            self.seed = seed

    def script(self, operation: str, *faults: Fault, times: int = 1) -> None:
        """Let the next requests of an operation meet these faults, one each.

        Args:
            operation: An operation, such as `estimates.create` or `create-new-estimate`, or `*` for any.
            faults: The faults, in order.
            times: The number of times that the whole list is used.

        Raises:
            InvalidRequest: The operation is unknown.
        """
        self._scripts.setdefault(_scripted_name(operation), deque()).extend(list(faults) * times)

    def unscript(self, operation: str, fault: Fault) -> None:
        """Remove an operation's scripted faults of a kind that have not happened yet.

        Raises:
            InvalidRequest: The operation is unknown.
        """
        name = _scripted_name(operation)
        queue = self._scripts.get(name)
        if queue is not None:
            self._scripts[name] = deque(entry for entry in queue if entry is not fault)

    def clear(self) -> None:
        """Remove all rates and all scripted faults."""
        self.rates = {}
        self._scripts.clear()

    def take(self, operation: str, number: int) -> Fault | None:
        """Return the fault for request `number` (from 1), or None, and count it."""
        # The script wins, so that a test can script one fault under a profile of many.
        fault = self._scripted(operation) or self._thrown(number)
        if fault is not None:
            self.injected[fault] = self.injected.get(fault, 0) + 1
        return fault

    def _scripted(self, operation: str) -> Fault | None:
        for name in (operation, "*"):
            queue = self._scripts.get(name)
            if queue:
                return queue.popleft()
        return None

    def _thrown(self, number: int) -> Fault | None:
        if not self.rates:
            return None
        # A hash of the request's number instead of the next random number: then requests without a fault of their own
        # do not shift the faults of later ones.
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        die = int.from_bytes(digest[:8], "big") / 2**64
        # One number decides about all faults, so that their rates add up and a request meets at most one.
        for fault, rate in self.rates.items():
            if die < rate:
                return fault
            die -= rate
        return None


def _scripted_name(operation: str) -> str:
    return operation if operation == "*" else operation_named(operation).name


def _html(status: int, title: str) -> web.Response:
    page = f"<html><head><title>{status} {title}</title></head><body><h1>{status} {title}</h1></body></html>"
    return web.Response(status=status, text=page, content_type="text/html")


def _throttled(times: FaultTimes, form: str) -> web.Response:
    headers = {}
    # The plain form has no Retry-After, because no public capture has one: docs/api-facts.md#api-rate-window
    if form == "seconds":
        headers["Retry-After"] = f"{times.retry_after:g}"
    elif form == "date":
        # A date has whole seconds only; one second more keeps it in the future.
        headers["Retry-After"] = formatdate(time() + times.retry_after + 1, usegmt=True)
    body = '{"statusCode":429,"message":"Too Many Requests"}'
    return web.Response(status=429, text=body, headers=headers, content_type="application/json")


def _error(status: int, message: str) -> web.Response:
    body = f'{{"statusCode":{status},"message":"{message}"}}'
    return web.Response(status=status, text=body, content_type="application/json")


def _instead(fault: Fault | None, times: FaultTimes) -> web.StreamResponse | None:
    """Return the answer of a gateway that does not execute the operation, or None."""
    match fault:
        case Fault.HTML_502:
            return _html(502, "Bad Gateway")
        case Fault.HTML_503:
            return _html(503, "Service Temporarily Unavailable")
        case Fault.RETRY_503:
            headers = {"Retry-After": f"{times.retry_after:g}"}
            return web.Response(status=503, text="{}", headers=headers, content_type="application/json")
        case Fault.ERROR_500_BEFORE:
            return _error(500, "Internal server error")
        case Fault.THROTTLE:
            return _throttled(times, "")
        case Fault.THROTTLE_SECONDS:
            return _throttled(times, "seconds")
        case Fault.THROTTLE_DATE:
            return _throttled(times, "date")
        case Fault.UNAUTHORISED:
            # The message of an expired token: docs/api-facts.md#api-401
            return _error(401, "Invalid JWT")
        case Fault.TIMED_OUT_BEFORE:
            return _error(401, _TIMED_OUT)
        case Fault.REDIRECT:
            return web.Response(status=307, headers={"Location": "https://elsewhere.example/"})
    return None


async def before(fault: Fault | None, times: FaultTimes, request: web.Request) -> web.StreamResponse | None:
    """Return an answer that replaces the operation, or None to let it happen."""
    match fault:
        case Fault.LATENCY:
            await asyncio.sleep(times.latency)
        case Fault.STALL:
            await asyncio.sleep(times.stall)
            # A proxy in front of the API may time out in this way, before it passes the request on.
            return _hang_up(request)
        case Fault.LATE_COMMIT:
            await asyncio.sleep(times.late)
        case Fault.RESET_BEFORE_COMMIT:
            return _hang_up(request)
    return _instead(fault, times)


async def after(
    fault: Fault | None,
    times: FaultTimes,
    request: web.Request,
    status: int,
    content: bytes,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Return the answer to an operation, changed by the fault."""
    match fault:
        case Fault.RESET_AFTER_COMMIT:
            return _hang_up(request)
        case Fault.LATE_ANSWER:
            await asyncio.sleep(times.late)
        # The next two were executed, and look to a client like the two that were not.
        case Fault.ERROR_500_AFTER:
            return _error(500, "Internal server error")
        case Fault.TIMED_OUT_AFTER:
            return _error(401, _TIMED_OUT)
        case Fault.CONTROL_CHARACTERS:
            # Live answers were seen with raw control characters inside strings: docs/api-facts.md#api-error-bodies
            content = content.replace(b'":"', b'":"\x0b\t', 1)
        case Fault.IDLE_CLOSE:
            # Soon after the answer, when the client believes that it can use the connection again.
            asyncio.get_running_loop().call_later(0.001, _close, request)
        case Fault.SLOW_DRIP:
            return await _drip(request, times, status, content, headers)
        case Fault.GZIP_BOMB:
            # Small on the wire, so that only a limit on the decoded size can stop it.
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
    """Return an answer that violates HTTP as bytes, or None for other faults."""
    # Written by hand, because aiohttp sends no message that contradicts its own header.
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
    # Each piece arrives within a read timeout, so that only a total timeout can end the attempt.
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
            # FIN after the written bytes; a reset could discard them before the client reads them
            transport.close()
        else:
            connection = transport.get_extra_info("socket")
            if connection is not None:
                # With a linger time of 0, closing sends RST instead of FIN, as a crashed server or a middlebox does.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
    # Never sent, because the connection is closed; aiohttp requires that a handler returns a response.
    return web.Response(status=499)


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
