"""The seam of the wire: header names, an attempt's answer, and the protocol.

Rooms above (auth, transport) use the network through :class:`Wire` alone. So they import no HTTP library, and a test
can pass in a wire of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Protocol

import msgspec

# Request headers: docs/api-facts.md#api-request-headers
AUTHORIZATION: Final = "Authorization"
VERSION: Final = "Version"
ACCEPT: Final = "Accept"
ACCEPT_ENCODING: Final = "Accept-Encoding"
CONTENT_TYPE: Final = "Content-Type"
USER_AGENT: Final = "User-Agent"

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

# Response headers, compared case-insensitively: docs/api-facts.md#api-rate-headers
RATE_LIMIT: Final = "X-RateLimit-Max"
RATE_REMAINING: Final = "X-RateLimit-Remaining"
RATE_INTERVAL_MS: Final = "X-RateLimit-Interval-Milliseconds"
DAILY_LIMIT: Final = "X-RateLimit-Limit-Daily"
DAILY_REMAINING: Final = "X-RateLimit-Daily-Remaining"
DAILY_RESET_MS: Final = "X-RateLimit-Daily-Reset"
RETRY_AFTER: Final = "Retry-After"
DATE: Final = "Date"
CLOUDFLARE_RAY: Final = "cf-ray"


class Headers(dict[str, str]):
    """Request headers that many requests share; unchanged after the first one.

    ``written`` is kept for the wire, which notes there how they look when they are sent.
    """

    __slots__ = ("written",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(fields)
        self.written: str | None = None

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self)}>"  # no values: one of them is the bearer


class WireResponse(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """One answer of the server, of any status, with its body read in full.

    ``headers`` is case-insensitive. ``elapsed`` is in seconds, from handing the request to the pool to the
    last byte of the body. ``discard`` closes the connection of the answer, so that no other call takes it; None if it
    is closed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: float = 0.0
    discard: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"WireResponse(status={self.status}, {len(self.body)} bytes, elapsed={self.elapsed:.3f})"


class Wire(Protocol):
    """One attempt on the network: no retries, redirects or rate limit.

    Any status is an answer.
    """

    async def attempt(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeout: float | None = None,
        max_body: int | None = None,
        fresh_connection: bool = False,
    ) -> WireResponse:
        """Send one request to the absolute, already percent-encoded ``url``.

        ``timeout`` is in seconds and covers the whole attempt; ``max_body`` is in bytes, decoded. Raises a
        :class:`~hl_async.errors.WireError` that says whether any byte of the request may have left.
        """
        ...
