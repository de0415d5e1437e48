"""Every exception of the package.

The tree, root first::

    HighLevelError
      InvalidRequest (ValueError)         refused here, before any request
        ConfigurationError · AmbiguousContact · KeyReused
      ClientStateError (RuntimeError)     NotEntered · ClientClosed · WrongEventLoop · ForkedClient
      CallError                           one call went wrong; carries the operation
        ApiError                          the API answered, and the answer was no; by status and meaning
        WireError                         no usable answer; ``sent`` says whether bytes may have left
        OutcomeUnknown                    an unsafe operation may or may not have been executed
        DecodeError                       a 2xx whose body is not the promised document
        QuotaExhausted · DeadlineExceeded · WriteConflict · ContactIncomplete
      BudgetStoreError
      AuthError                           TokenMissing · RefreshRejected · GrantLost · TokenStoreError · …
      BulkError                           JournalLocked · JournalMismatch · JournalCorrupt · …
      WebhookError

Errors that answer a request carry facts, not advice for one caller: which one an answer is, is told in ``refusals``,
whether to try again is decided in ``retry``. Bodies are bounded and redacted before they are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import ClassVar, Final

from hl_async.secret import redact

MAX_KEPT_BODY: Final = 2048


def bounded_text(body: bytes) -> str:
    """The body as text: at most 2 KB, undecodable bytes escaped, secrets redacted."""
    # Cut only after redaction: a token sawn in half would no longer look like one.
    return redact(body[: 4 * MAX_KEPT_BODY].decode("utf-8", "backslashreplace"))[:MAX_KEPT_BODY]


class HighLevelError(Exception):
    """The root: ``except HighLevelError`` catches whatever this package raises on purpose."""


class InvalidRequest(HighLevelError, ValueError):
    """Input that was refused before any request was made.

    ``field`` names the argument or the path inside the body, ``problem`` says what is wrong with it and
    what to give instead.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field = field
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}"


class ConfigurationError(InvalidRequest):
    """A setting, an argument of the client or an environment variable that cannot be used."""


# ---------------------------------------------------------------------------------------- client state


class ClientStateError(HighLevelError, RuntimeError):
    """The client was used in a way its life cycle does not allow; nothing was sent."""


class NotEntered(ClientStateError):
    """Used before ``async with HighLevel(...)`` was entered."""


class ClientClosed(ClientStateError):
    """Used after ``async with`` was left or ``aclose()`` was called."""


class WrongEventLoop(ClientStateError):
    """Used from another event loop than the one that entered it."""


class ForkedClient(ClientStateError):
    """Used in a child process after ``fork``: its sockets belong to the parent."""


# ------------------------------------------------------------------------------------------------ calls


class CallError(HighLevelError):
    """One call of one operation did not give its result.

    ``operation`` is the operation's name, ``attempts`` how many requests were tried, ``elapsed`` the
    seconds from the start of the call. ``ambiguous`` is true when an earlier attempt of the same call got no
    answer and may have been executed: a NotFound after that may mean that the deletion had worked.
    """

    ambiguous = False

    def __init__(self, message: str, *, operation: str = "", attempts: int = 0, elapsed: float = 0.0) -> None:
        super().__init__(message)
        self.message = message
        self.operation = operation
        self.attempts = attempts
        self.elapsed = elapsed

    def __str__(self) -> str:
        text = f"{self.operation}: {self.message}" if self.operation else self.message
        if self.attempts > 1:
            text += f" (after {self.attempts} attempts in {self.elapsed:.1f} s)"
        return text


class ApiError(CallError):
    """The API answered with an error status.

    ``messages`` are the server's own words (a 422 has one per violation), ``code`` its error code if it
    gave one, ``trace_id`` what support asks for, ``body`` the raw body cut to 2 KB and redacted,
    ``retry_after`` the seconds the server asked to wait, if it did.
    """

    status_default: ClassVar[int] = 0

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
        self.messages = tuple(messages)
        self.code = code
        self.trace_id = trace_id
        self.ray = ray
        self.body = body
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = super().__str__()
        if self.trace_id:
            text += f" [trace {self.trace_id}]"
        elif self.ray:
            text += f" [cf-ray {self.ray}]"
        return text


class BadRequest(ApiError):
    """400: a business rule refused the document; ``messages`` say which."""


class Unauthorized(ApiError):
    """401: the token is missing, unknown, expired or revoked."""


class LocationInactive(Unauthorized):
    """401 "Location is not active": the sub-account is suspended, or belongs to another company. Final."""


class RouteUnsupported(Unauthorized):
    """401 "not yet supported by the IAM Service": the route is not enabled for this kind of token. Final."""


class ScopeMissing(Unauthorized):
    """401 "not authorized for this scope": the token lacks the operation's scope. Refreshing can't help."""


class WrongTokenType(Unauthorized):
    """401: an agency token on a sub-account route, or the reverse. Mint a location token."""


class MissingAlt(Unauthorized):
    """401 that really means: the request named no location, or the ``Version`` header was wrong.

    The invoices service answers 401 instead of 400 or 422; a client bug rather than a bad token.
    """


class Forbidden(ApiError):
    """403: the token does not belong to this location, or the resource is off limits."""


class NotFound(ApiError):
    """404, and the 400s of the invoices service that mean "there is no such document"."""


class Conflict(ApiError):
    """409: the document is not in a state that allows this."""


class ValidationFailed(ApiError):
    """422: the document was refused field by field; ``messages`` has one line per violation.

    A 5xx whose message is a verdict of the database layer ("estimates validation failed: …") is one too: nothing was
    stored (docs/api-facts.md#api-validation).
    """


class RateLimited(ApiError):
    """429 that could not be waited out within the call's deadline. The request was not executed."""


class ServerError(ApiError):
    """5xx: the server or a gateway in front of it failed."""


class GatewayTimeout(ServerError):
    """504, and a 401 whose message says that a server timed out: the gateway got no answer in time.

    The token is good, and the operation may have been executed (docs/api-facts.md#api-401).
    """


class WireKind(Enum):
    """What went wrong on the wire."""

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

    ``kind`` says what happened, ``sent`` is ``False`` only when provably no byte of the request reached the
    server's application (the connection never stood), ``cause`` is the text of the underlying error,
    redacted; the underlying exception itself is not kept, because it holds the request's headers.
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
        self.kind = kind
        self.sent = sent
        self.cause = redact(cause)[:MAX_KEPT_BODY]


class ConnectFailed(WireError):
    """DNS, TCP or TLS set-up failed: nothing was sent."""


class AttemptTimeout(WireError):
    """One attempt took longer than its timeout; ``sent`` tells connecting from waiting for the answer."""


class ConnectionLost(WireError):
    """The connection broke after the request had left, before the answer was complete."""


class ResponseTooLarge(WireError):
    """The body grew past the limit; the connection was dropped."""


class OutcomeUnknown(CallError):
    """An operation that must not be repeated was sent, and no answer says whether it was executed.

    It was not sent again. ``reason`` is the error that hid the outcome, ``status`` and ``body`` are the answer's, if
    there was one: status 0 and no body otherwise. Look the document up before you repeat the call, or let the bulk
    engine do so.
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
        self.status: int = getattr(reason, "status", 0)
        self.body: str = getattr(reason, "body", "")


class DecodeError(CallError):
    """A successful answer whose body is not the document the operation promises.

    ``path`` is the place inside the document (``$.estimate.total``), ``body`` the raw body cut to 2 KB and
    redacted.
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
    """A document with another id than the one that was asked for: the answer to another call.

    The connection it came over holds answers that nothing waits for.
    """


class QuotaExhausted(CallError):
    """The location's budget for the day is spent; no request was made. ``resets_in`` seconds, if known."""

    def __init__(self, message: str, *, resets_in: float | None = None, operation: str = "") -> None:
        super().__init__(message, operation=operation)
        self.resets_in = resets_in


class DeadlineExceeded(CallError):
    """The call could not end within its total timeout.

    Raised at once, without waiting, when the wait is known to be too long: ``needed`` is then the number of
    seconds it would have taken. ``reason`` is the last error seen, if an attempt was made.
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
    """Somebody else wrote the document between our read and our write; nothing was written."""


class AmbiguousContact(InvalidRequest):
    """The given e-mail, phone number and external id belong to different contacts; nothing was written.

    ``candidates`` maps the id of each contact to what it was found by.
    """

    def __init__(self, field: str, problem: str, candidates: Mapping[str, Sequence[str]]) -> None:
        super().__init__(field, problem)
        self.candidates = {contact: tuple(found_by) for contact, found_by in candidates.items()}


class ContactIncomplete(CallError):
    """The contact exists, but writing the rest failed; the error's cause says why.

    ``contact_id`` is the contact, ``missing`` the fields that were not written.
    """

    def __init__(self, message: str, *, contact_id: str, missing: Sequence[str], operation: str = "") -> None:
        super().__init__(message, operation=operation)
        self.contact_id = contact_id
        self.missing = tuple(missing)


class KeyReused(InvalidRequest):
    """A ``once`` key that made another document before. Nothing was created; ``document`` is the other one's id."""

    def __init__(self, problem: str, document: str | None) -> None:
        super().__init__("once", problem)
        self.document = document


class OnceUndecided(OutcomeUnknown):
    """Documents look like the one to create, but carry no key that could tell; nothing was created.

    ``candidates`` are their ids.
    """

    def __init__(self, message: str, *, candidates: Sequence[str], operation: str = "") -> None:
        super().__init__(message, operation=operation)
        self.candidates = tuple(candidates)


# ------------------------------------------------------------------------------------------------- auth


class AuthError(HighLevelError):
    """Credentials could not be obtained. ``key`` names the location or company they are for."""

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.key = key


class TokenMissing(AuthError):
    """No token is stored for this location or company: install the app, or log in."""


class RefreshRejected(AuthError):
    """The authorisation server refused to refresh or to mint. ``status`` and ``messages`` are its words."""

    def __init__(self, message: str, *, key: str = "", status: int = 0, messages: Sequence[str] = ()) -> None:
        super().__init__(message, key=key)
        self.status = status
        self.messages = tuple(messages)


class GrantLost(RefreshRejected):
    """The refresh token is spent or revoked and no other one is stored: the app must be installed again."""


class RefreshUnavailable(AuthError):
    """The authorisation server could not be reached or failed; stored tokens were kept. Try again later.

    ``retry_after`` is how many seconds it asked to be left alone; 0 when it did not say.
    """

    def __init__(self, message: str, *, key: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, key=key)
        self.retry_after = retry_after


class TokenStoreError(AuthError):
    """The token store is locked, read-only, corrupt or was written with another key."""


class StateMismatch(AuthError):
    """The ``state`` that came back from the consent page is missing, unknown, expired or used already."""


# --------------------------------------------------------------------------------------------- the budget


class BudgetStoreError(HighLevelError):
    """The store of a shared rate budget can't be reached, is too slow, or refuses. Calls never see it."""


class CursorError(HighLevelError):
    """The store of a change feed cannot be used, or another process reads the same feed."""


# ------------------------------------------------------------------------------------------------- bulk


class BulkError(HighLevelError):
    """A bulk run could not start or go on; the journal says what was done."""


class JournalError(BulkError):
    """The journal cannot be used."""


class JournalMissing(JournalError):
    """There is no such run."""


class JournalLocked(JournalError):
    """Another process works on this journal."""


class JournalMismatch(JournalError):
    """The journal belongs to another source file, another operation or another location."""


class JournalCorrupt(JournalError):
    """The file is no journal, or one that this version cannot read."""


class LaneLost(JournalError):
    """Another process took this location over in the meantime; what this one wanted to write was not written."""


class CanaryFailed(BulkError):
    """The first document came back without its key: resuming would not be safe. Choose another key place."""


class AlreadyMigrated(BulkError):
    """Another run created documents of this source already. Nothing was sent."""


class TooManyRejects(BulkError):
    """So many documents were refused that the mapping is probably wrong; the run was stopped early."""


class SourceError(BulkError, ValueError):
    """The input file or its mapping cannot be read; ``line`` is set when one line is to blame."""

    def __init__(self, message: str, *, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


# --------------------------------------------------------------------------------------------- webhooks


class WebhookError(HighLevelError):
    """A webhook delivery was not accepted."""


class SignatureMissing(WebhookError):
    """No signature header, or the literal ``N/A`` in it."""


class SignatureInvalid(WebhookError):
    """The signature is malformed or does not belong to this body and these keys."""


class SignatureMalformed(SignatureInvalid):
    """The signature is not canonical base64 of the right length, or there are several: not even checked."""


class DeliveryStale(WebhookError):
    """The event's timestamp is missing or too old."""


class DeliveryFromFuture(DeliveryStale):
    """The event's timestamp is further in the future than clocks may differ."""


class DeliveryReplayed(WebhookError):
    """This delivery was accepted before, or is being handled right now."""


class DeliveryUnreadable(WebhookError):
    """The body is no JSON object, or no document of the kind its type promises."""


class DeliveryTooLarge(DeliveryUnreadable):
    """The body is larger than a delivery may be; nothing of it was looked at."""
