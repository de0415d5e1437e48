"""Internal. Errors of one call that the API did not answer with an error status."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

from hl_async.errors.root import MAX_KEPT_BODY, HighLevelError
from hl_async.secret import redact


class CallError(HighLevelError):
    """One call of one operation did not give its result.

    Attributes:
        operation: The operation's name.
        attempts: Requests of the call.
        elapsed: Seconds from the start of the call.
        ambiguous: Whether an earlier attempt of the same call got no answer and may have been executed: a NotFound
            after that may mean that the deletion had worked.
    """

    ambiguous = False

    def __init__(self, message: str, *, operation: str = "", attempts: int = 0, elapsed: float = 0.0) -> None:
        super().__init__(message)
        # kept apart from the text: callers that log fields of their own want it without the operation
        self.message = message
        self.operation = operation
        self.attempts = attempts
        self.elapsed = elapsed

    def __str__(self) -> str:
        text = f"{self.operation}: {self.message}" if self.operation else self.message
        # One attempt is the normal case, and not worth the words.
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
        sent: False only when provably no byte of the request reached the server's application, because the connection
            was never established.
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
    """The connection broke between sending the request and the end of the answer."""


class ResponseTooLarge(WireError):
    """The body grew past the limit; the connection was dropped."""


class OutcomeUnknown(CallError):
    """An operation that must not be repeated was sent, and its outcome is unknown.

    No answer says whether it was executed. It was not sent again. Look the document up before you repeat the call,
    or let the bulk engine do so.

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
        # a lost answer has neither; a program that logs both need not look at the reason first
        self.status: int = getattr(reason, "status", 0)
        self.body: str = getattr(reason, "body", "")


class OnceUndecided(OutcomeUnknown):
    """Documents look like the one to create, but carry no key that decides it.

    Nothing was created.

    Attributes:
        candidates: Ids of these documents.
    """

    def __init__(self, message: str, *, candidates: Sequence[str], operation: str = "") -> None:
        super().__init__(message, operation=operation)
        # a tuple: an error travels through handlers that must not change each other's view
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

    Its connection holds answers to requests that have ended already.
    """


class QuotaExhausted(CallError):
    """The location's budget for the day is spent; no request was made.

    Attributes:
        resets_in: Seconds until the next budget, None if unknown.
    """

    def __init__(self, message: str, *, resets_in: float | None = None, operation: str = "") -> None:
        super().__init__(message, operation=operation)
        self.resets_in = resets_in


class DeadlineExceeded(CallError):
    """The call could not end within its total timeout.

    Raised at once, without waiting, when the wait is known to be too long.

    Attributes:
        needed: The length of that wait in seconds, if it was the cause.
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
