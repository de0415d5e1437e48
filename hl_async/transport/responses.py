"""Internal. Maps answers outside 2xx to exceptions, and reads error bodies."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from hl_async import wire
from hl_async.errors import (
    ApiError,
    BadRequest,
    CallError,
    Conflict,
    ConnectionLost,
    DecodeError,
    Forbidden,
    GatewayTimeout,
    LocationInactive,
    MissingAlt,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    RouteUnsupported,
    ScopeMissing,
    ServerError,
    Unauthorized,
    ValidationFailed,
    WireKind,
    WrongTokenType,
    bounded_text,
)
from hl_async.operations import find_operation
from hl_async.secret import redact
from hl_async.wire import WireResponse


class ErrorFacts(msgspec.Struct, frozen=True):
    """The parts of an error body of any shape (docs/api-facts.md#api-error-bodies)."""

    messages: tuple[str, ...]
    code: str | None
    trace_id: str | None


_NO_FACTS: Final = ErrorFacts((), None, None)

# The invoices service answers 400 where other services answer 404: docs/api-facts.md#api-not-found
_NOT_FOUND_MESSAGES: Final = (
    "unable to find an invoice",
    "unable to find a",
    "unable to find the",
    "not found",
)

_SCOPE: Final = ("not authorized for this scope",)
_TOKEN_TYPE: Final = ("authclass type is not allowed", "user type mismatch")
_REQUEST_SHAPE: Final = ("version header", "altid", "alttype")
_STATIC_TOKEN: Final = ("private integration token",)
_INACTIVE: Final = ("location is not active",)
_UNSUPPORTED: Final = ("not yet supported by the iam",)
_TIMED_OUT: Final = ("timed out", "timeout")
_BAD_TOKEN: Final = (
    "invalid jwt",
    "access token is invalid",
    "invalid token",
    "expired",
    "invalid access token",
)
# The database layer refused the document: nothing was stored, although the status is a 5xx. It counts as a validation
# error, or an unsafe call would end with an unknown outcome (docs/api-facts.md#api-validation).
_VERDICT: Final = re.compile(r"\s*[\w -]{0,60}\bvalidation failed: \S", re.IGNORECASE)

_UNAUTHORISED: Final[tuple[tuple[tuple[str, ...], type[ApiError]], ...]] = (
    (_TIMED_OUT, GatewayTimeout),
    (_SCOPE, ScopeMissing),
    (_TOKEN_TYPE, WrongTokenType),
    (_REQUEST_SHAPE, MissingAlt),
    (_INACTIVE, LocationInactive),
    (_UNSUPPORTED, RouteUnsupported),
)
"""The meaning of a 401 by its message (docs/api-facts.md#api-401)."""

_BY_STATUS: Final[Mapping[int, type[ApiError]]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: NotFound,
    422: ValidationFailed,
    429: RateLimited,
    504: GatewayTimeout,
}


class TokenVerdict(Enum):
    """Conclusion from an error about the token that was sent."""

    GOOD = "good"
    """The error is not about the token. Another token would be refused as well."""
    BAD = "bad"
    """The token is no longer valid. The request was not executed."""
    UNCERTAIN = "uncertain"
    """A 401 of an unknown message: a new token may help, and the request may have been executed."""


def error_from_response(
    operation: str, response: WireResponse, *, retry_after: float | None = None, located: bool = True
) -> ApiError:
    """Return the exception for an answer outside 2xx. Never raises.

    Args:
        operation: The operation's id.
        response: The answer.
        retry_after: The parsed ``Retry-After``, in seconds.
        located: The request carried the altId that the operation needs. Without it, the API answers with the 401 of a
            bad token although the token is good.
    """
    facts = error_facts(response.body)
    status = response.status
    kind = _classify(status, facts.messages)
    if kind is Unauthorized and not located:
        kind = MissingAlt
    ray = response.headers.get(wire.CLOUDFLARE_RAY)
    trace_id = facts.trace_id or _trace_header(response.headers)
    headline = _headline(status, facts, response)
    row = find_operation(operation) if kind is ScopeMissing else None
    if row is not None and row.scope is not None:
        headline = f"{headline.rstrip('.')}; the operation needs {row.scope}"
    return kind(
        headline,
        status=status,
        messages=facts.messages,
        code=facts.code,
        trace_id=trace_id,
        ray=ray,
        body=bounded_text(response.body),
        retry_after=retry_after,
        operation=operation,
    )


def token_verdict(error: ApiError) -> TokenVerdict:
    """Return the conclusion from an error about the token that was sent.

    See docs/api-facts.md#api-401. Errors about scopes, token types, version headers, a missing altId or suspended
    locations leave the token good, and so does any error for a private integration token. A refresh would waste a
    single-use refresh token.
    """
    # Subclasses are about scopes, kinds of tokens and locations. A new token would be refused as well.
    if type(error) is not Unauthorized:
        return TokenVerdict.GOOD
    text = " ".join(error.messages).lower()
    if any(mark in text for mark in _STATIC_TOKEN):
        return TokenVerdict.GOOD
    return TokenVerdict.BAD if any(mark in text for mark in _BAD_TOKEN) else TokenVerdict.UNCERTAIN


def is_token_bad(error: ApiError) -> bool:
    """Return whether another token may help, as after a 401 with an unknown message."""
    return token_verdict(error) is not TokenVerdict.GOOD


def error_facts(body: bytes) -> ErrorFacts:
    """Read messages, code and trace id from an error body: JSON, HTML, text or empty."""
    if not body:
        return _NO_FACTS
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return ErrorFacts((_plain_summary(body),), None, None)
    if not isinstance(document, dict):
        return ErrorFacts((_clean(str(document)),), None, None)
    # Some services nest the facts in `error`, others repeat them beside it. The outer ones win.
    inner = document.get("error")
    source: dict[str, Any] = {**inner, **document} if isinstance(inner, dict) else document
    messages = [*_messages(source.get("message"))]
    # The form of an authorisation server: RFC 6749, 5.2.
    description = document.get("error_description")
    if description:
        messages += _messages(description)
    if not messages and isinstance(inner, str):
        messages = [_clean(inner)]
    code = source.get("code")
    trace = source.get("traceId")
    return ErrorFacts(
        tuple(messages),
        _clean(str(code)) if code is not None else None,
        _clean(str(trace)) if trace else None,
    )


def _classify(status: int, messages: Sequence[str]) -> type[ApiError]:
    text = " ".join(messages).lower()
    if status == 400 and any(mark in text for mark in _NOT_FOUND_MESSAGES):
        return NotFound
    if status == 401:
        return next(
            (kind for marks, kind in _UNAUTHORISED if any(mark in text for mark in marks)), Unauthorized
        )
    if status >= 500:
        if any(_VERDICT.match(message) for message in messages):
            return ValidationFailed
        return _BY_STATUS.get(status, ServerError)
    return _BY_STATUS.get(status, ApiError)


def _headline(status: int, facts: ErrorFacts, response: WireResponse) -> str:
    if facts.messages:
        more = len(facts.messages) - 3
        text = "; ".join(facts.messages[:3]) + (f"; and {more} more" if more > 0 else "")
    else:
        text = "no body" if not response.body else "no message"
    return f"{status} {text}"


def _messages(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [_clean(value)] if value else []
    if isinstance(value, list):
        return [text for item in value[:100] for text in _messages(item)]
    if isinstance(value, dict):
        nested = value.get("message")
        if nested is not None:
            return _messages(nested)
    return [_clean(str(value))]


def _plain_summary(body: bytes) -> str:
    text = bounded_text(body)
    if "<" in text[:200]:
        start = text.lower().find("<title>")
        end = text.lower().find("</title>")
        title = text[start + 7 : end].strip() if 0 <= start < end else ""
        return f"HTML page{f': {title[:200]}' if title else ''}"
    return _clean(text)


def _clean(text: str) -> str:
    return redact("".join(c if c.isprintable() else " " for c in text[:2000]))[:500].strip()


def _trace_header(headers: Mapping[str, str]) -> str | None:
    # The header's name is unknown (docs/api-facts.md#api-trace-id), so any header with "trace" in its name counts.
    for name, value in headers.items():
        lowered = name.lower()
        if lowered.startswith("x-") and "trace" in lowered:
            return value[:200]
    return None


def undecodable(error: DecodeError, response: WireResponse | None) -> CallError:
    """Return the error of a 2xx answer that does not decode.

    A document that ends in the middle is an error of the wire, which may be retried: the connection closed early.
    """
    if (
        response is not None
        and "truncated" in error.message
        and (response.body or _ends_with_its_connection(response))
    ):
        return ConnectionLost(
            "the answer ended in the middle of the document",
            kind=WireKind.TRUNCATED,
            sent=True,
            cause=error.body,
        )
    return error


def _ends_with_its_connection(response: WireResponse) -> bool:
    """Return whether only the end of the connection marks the body as complete.

    The connection may have broken instead.
    """
    return not ("Content-Length" in response.headers or "Transfer-Encoding" in response.headers)


def outcome_unknown(failure: CallError) -> OutcomeUnknown:
    """Return the error of an unsafe call whose answer is missing."""
    return OutcomeUnknown(
        f"the request may have been executed and was not retried: {failure.message}", reason=failure
    )
