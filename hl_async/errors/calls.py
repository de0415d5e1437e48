"""Internal. Errors of one call that the API did not answer with an error status."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from hl_async.errors.root import MAX_KEPT_BODY, HighLevelError
from hl_async.secret import redact


class CallError(HighLevelError):
    """A call of an operation failed.

    Attributes:
        operation: The operation's name.
        attempts: Requests of the call.
        elapsed: Seconds from the start of the call.
        ambiguous: An earlier attempt of the same call may have been executed, because its answer is missing. A
            :class:`NotFound` of a deletion may then mean that the earlier attempt deleted the document.
    """

    ambiguous = False

    def __init__(self, message: str, *, operation: str = "", attempts: int = 0, elapsed: float = 0.0) -> None:
        super().__init__(message)
        # Without the operation, for callers that log it as a field of its own.
        self.message = message
        self.operation = operation
        self.attempts = attempts
        self.elapsed = elapsed

    def __str__(self) -> str:
        text = f"{self.operation}: {self.message}" if self.operation else self.message
        # One attempt is the normal case and not mentioned.
        if self.attempts > 1:
            text += f" ({self.attempts} attempts in {self.elapsed:.1f} s)"
        return text


class WireKind(Enum):
    """The kind of a failure on the wire."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT = "timeout"
    DISCONNECTED = "disconnected"
    TRUNCATED = "truncated"
    PROTOCOL = "protocol"
    REDIRECT = "redirect"
    TOO_LARGE = "too_large"
    ENCODING = "encoding"


class WireError(CallError):
    """No usable answer arrived.

    Attributes:
        kind: The kind of the failure.
        sent: False only if provably no byte of the request was written: the connection was not established, or the
            request was not valid.
        cause: The text of the underlying error, redacted.
    """

    def __init__(
        self,
        message: str,
        *,
        kind: WireKind,
        sent: bool,
        cause: str = "",
        operation: str = "",
        attempts: int = 0,
        elapsed: float = 0.0,
    ) -> None:
        super().__init__(message, operation=operation, attempts=attempts, elapsed=elapsed)
        # The underlying exception is not kept: it holds the request's headers, the bearer among them.
        self.kind = kind
        self.sent = sent
        self.cause: str = redact(cause)[:MAX_KEPT_BODY]


class ConnectFailed(WireError):
    """DNS, TCP or TLS set-up failed: nothing was sent."""


class AttemptTimeout(WireError):
    """One attempt took longer than its timeout.

    ``sent`` is false if the connection was not established.
    """


class ConnectionLost(WireError):
    """The connection broke before the answer was complete."""


class ResponseTooLarge(WireError):
    """The answer's body is larger than the limit. The connection was closed."""


class OutcomeUnknown(CallError):
    """An operation that must not be repeated was sent, and its outcome is unknown.

    It may have been executed, and was not sent again. Look the document up before you repeat the call, or use ``once``
    or the bulk engine, which do so.

    Attributes:
        reason: The error that hid the outcome.
        status, body: Those of the answer: 0 and an empty body if none arrived.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: CallError | None = None,
        operation: str = "",
        attempts: int = 0,
        elapsed: float = 0.0,
    ) -> None:
        super().__init__(message, operation=operation, attempts=attempts, elapsed=elapsed)
        self.reason = reason
        # Copied, so that a program that logs both need not look at the reason. A lost answer has neither.
        self.status: int = getattr(reason, "status", 0)
        self.body: str = getattr(reason, "body", "")


class OnceUndecided(OutcomeUnknown):
    """Documents look like the one to create, but carry no key that would decide.

    Nothing was created.

    Attributes:
        candidates: Ids of these documents.
    """

    def __init__(self, message: str, *, candidates: Sequence[str], operation: str = "") -> None:
        super().__init__(message, operation=operation)
        # A tuple, because several handlers may see the error and none may change it.
        self.candidates: tuple[str, ...] = tuple(candidates)


class DecodeError(CallError):
    """A successful answer whose body is not the document the operation promises.

    Attributes:
        path: The place inside the document, such as ``$.estimate.total``.
        body: The raw body, cut to 2 KB and redacted.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str = "$",
        body: str = "",
        operation: str = "",
        attempts: int = 0,
        elapsed: float = 0.0,
    ) -> None:
        super().__init__(message, operation=operation, attempts=attempts, elapsed=elapsed)
        self.path = path
        self.body = body


class WrongDocument(DecodeError):
    """A document with another id than the requested one: the answer to another call.

    An earlier call left its answer on the connection, which is closed.
    """


class QuotaExhausted(CallError):
    """The location's daily quota is exhausted. No request was made.

    Bulk calls fail earlier, when the rest is reserved for interactive calls.

    Attributes:
        resets_in: Seconds until the next quota, None if unknown.
    """

    def __init__(self, message: str, *, resets_in: float | None = None, operation: str = "") -> None:
        super().__init__(message, operation=operation)
        self.resets_in = resets_in


class DeadlineExceeded(CallError):
    """The call could not end within its total timeout.

    Raised at once, without waiting, when the wait is known to be too long.

    Attributes:
        needed: The length of the wait in seconds, if the wait is the cause.
        reason: The error of the last attempt, if there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        needed: float | None = None,
        reason: CallError | None = None,
        operation: str = "",
        attempts: int = 0,
        elapsed: float = 0.0,
    ) -> None:
        super().__init__(message, operation=operation, attempts=attempts, elapsed=elapsed)
        self.needed = needed
        self.reason = reason


class WriteConflict(CallError):
    """Another client wrote the document between our read and our write.

    Nothing was written.
    """


class ContactIncomplete(CallError):
    """The contact exists, but writing the rest failed; the error's cause says why.

    Attributes:
        contact_id: The contact.
        missing: The fields that were not written.
    """

    def __init__(self, message: str, *, contact_id: str, missing: Sequence[str], operation: str = "") -> None:
        super().__init__(message, operation=operation)
        self.contact_id = contact_id
        self.missing: tuple[str, ...] = tuple(missing)
