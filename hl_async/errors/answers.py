"""Internal. Error statuses of the API, by status and meaning."""

from __future__ import annotations

from collections.abc import Sequence

from hl_async.errors.calls import CallError


class ApiError(CallError):
    """The API answered with an error status.

    Attributes:
        status: The HTTP status.
        messages: The server's messages: a 422 has one per violation.
        code: The server's error code, if there is one.
        trace_id: The request's trace id, for which HighLevel's support asks.
        ray: The request's id at Cloudflare, the header ``cf-ray``.
        body: The raw body, cut to 2 KB and redacted.
        retry_after: The wait in seconds that the server asked for, if it did.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        messages: Sequence[str] = (),
        code: str | None = None,
        trace_id: str | None = None,
        ray: str | None = None,
        body: str = "",
        retry_after: float | None = None,
        operation: str = "",
        attempts: int = 0,
        elapsed: float = 0.0,
    ) -> None:
        super().__init__(message, operation=operation, attempts=attempts, elapsed=elapsed)
        self.status = status
        self.messages: tuple[str, ...] = tuple(messages)
        self.code = code
        self.trace_id = trace_id
        self.ray = ray
        self.body = body
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = super().__str__()
        # One id is enough for HighLevel's support, and the trace id is their own.
        if self.trace_id:
            text += f" [trace {self.trace_id}]"
        elif self.ray:
            text += f" [cf-ray {self.ray}]"
        return text


class BadRequest(ApiError):
    """400: a business rule refused the document; ``messages`` say which."""


class Unauthorized(ApiError):
    """401: the token is missing, unknown, expired or revoked.

    Its subclasses are 401s with another meaning (docs/api-facts.md#api-401).
    """


class LocationInactive(Unauthorized):
    """401 "Location is not active": final.

    The sub-account is suspended, or belongs to another company.
    """


class RouteUnsupported(Unauthorized):
    """401 "not yet supported by the IAM Service": final.

    The route is not enabled for this kind of token.
    """


class ScopeMissing(Unauthorized):
    """401 "not authorized for this scope": the token lacks the operation's scope.

    Refreshing can't help.
    """


class WrongTokenType(Unauthorized):
    """401: an agency token on a sub-account route, or the reverse.

    Mint a location token.
    """


class MissingAlt(Unauthorized):
    """401 for a request that named no location or had a wrong ``Version`` header.

    The invoices service answers 401 instead of 400 or 422 (docs/api-facts.md#api-alt). The request is at fault, not the
    token.
    """


class Forbidden(ApiError):
    """403: the token does not belong to this location, or the resource is off limits."""


class NotFound(ApiError):
    """404, and the invoices service's 400s that mean "this document does not exist".

    See docs/api-facts.md#api-not-found.
    """


class Conflict(ApiError):
    """409: the document is not in a state that allows this."""


class ValidationFailed(ApiError):
    """422: the API refused fields of the document.

    ``messages`` has one message per violation. A 5xx with a message of the database layer ("estimates validation
    failed: …") raises this error too: nothing was stored (docs/api-facts.md#api-validation).
    """


class RateLimited(ApiError):
    """429: the rate limit refused the request, which was not executed.

    Calls wait and try again. They raise this error if the wait exceeds their deadline or the retry policy.
    """


class ServerError(ApiError):
    """5xx: the server or a gateway in front of it failed."""


class GatewayTimeout(ServerError):
    """504, and a 401 whose message says that a server timed out.

    The gateway got no answer in time. The token is good, and the operation may have been executed
    (docs/api-facts.md#api-401).
    """
