"""The interface to the network: header names, an answer, a sender's protocol.

``auth`` and the loop of ``transport`` use the network through :class:`Wire` alone. So they import no HTTP library, and
a test can pass in a wire of its own.
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
    """Request headers that many requests share.

    They must not change after the first request. The wire keeps their encoded lines in ``written``.
    """

    __slots__ = ("written",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__(fields)
        self.written: str | None = None

    def __repr__(self) -> str:
        return f"<Headers {', '.join(self)}>"  # no values: one of them is the bearer


class WireResponse(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """One answer of the server, of any status, with its body read in full.

    ``headers`` is case-insensitive. ``elapsed`` is the time in seconds from the start of the attempt to the last byte
    of the body, the wait for a connection included. ``discard`` closes the connection of the answer, so that no other
    call uses it; None if the connection is closed already.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed: float = 0.0
    discard: Callable[[], None] | None = None

    def __repr__(self) -> str:
        return f"WireResponse(status={self.status}, {len(self.body)} bytes, elapsed={self.elapsed:.3f})"


class Wire(Protocol):
    """A sender of single requests: no retries, redirects or rate limit."""

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

        Args:
            method: The HTTP method.
            url: The address.
            headers: All headers except ``Host`` and ``Content-Length``.
            body: The encoded body.
            timeout: Limit of the whole attempt in seconds; None for the wire's default.
            max_body: Most bytes of the decoded body; None for the wire's default.
            fresh_connection: Use a new connection, which carries no other request.

        Returns:
            The answer, of any 2xx, 4xx or 5xx status.

        Raises:
            WireError: No usable answer arrived. ``sent`` says whether a byte of the request may have left.
        """
        ...
