"""Every exception of the package.

The tree, root first::

    HighLevelError
      InvalidRequest (ValueError)         refused here, before any request
        ConfigurationError · AmbiguousContact · KeyReused
      ClientStateError (RuntimeError)     NotEntered · ClientClosed · WrongEventLoop · ForkedClient
      CallError                           one call failed; carries the operation
        ApiError                          the API answered with an error status; by status and meaning
        WireError                         no usable answer; ``sent`` says whether bytes may have left
        OutcomeUnknown                    an unsafe operation may or may not have been executed
        DecodeError                       a 2xx whose body is not the promised document
        QuotaExhausted · DeadlineExceeded · WriteConflict · ContactIncomplete
      BudgetStoreError · CursorError      stores that processes share
      AuthError                           TokenMissing · RefreshRejected · GrantLost · TokenStoreError · …
      BulkError                           JournalLocked · JournalMismatch · JournalCorrupt · …
      WebhookError                        SignatureInvalid · DeliveryStale · DeliveryReplayed · …

Errors carry facts, not advice for one caller. ``transport.responses`` turns an answer into its error,
``transport.retry`` decides whether to try again. Bodies are cut and redacted before they are kept. Every error can be
pickled.
"""

from __future__ import annotations

from hl_async.errors.answers import (
    ApiError,
    BadRequest,
    Conflict,
    Forbidden,
    GatewayTimeout,
    LocationInactive,
    MissingAlt,
    NotFound,
    RateLimited,
    RouteUnsupported,
    ScopeMissing,
    ServerError,
    Unauthorized,
    ValidationFailed,
    WrongTokenType,
)
from hl_async.errors.auth import (
    AuthError,
    GrantLost,
    RefreshRejected,
    RefreshUnavailable,
    StateMismatch,
    TokenMissing,
    TokenStoreError,
)
from hl_async.errors.bulk import (
    AlreadyMigrated,
    BulkError,
    CanaryFailed,
    JournalCorrupt,
    JournalError,
    JournalLocked,
    JournalMismatch,
    JournalMissing,
    LaneLost,
    SourceError,
    TooManyRejects,
)
from hl_async.errors.calls import (
    AttemptTimeout,
    CallError,
    ConnectFailed,
    ConnectionLost,
    ContactIncomplete,
    DeadlineExceeded,
    DecodeError,
    OnceUndecided,
    OutcomeUnknown,
    QuotaExhausted,
    ResponseTooLarge,
    WireError,
    WireKind,
    WriteConflict,
    WrongDocument,
)
from hl_async.errors.client_state import (
    ClientClosed,
    ClientStateError,
    ForkedClient,
    NotEntered,
    WrongEventLoop,
)
from hl_async.errors.root import (
    MAX_KEPT_BODY,
    AmbiguousContact,
    ConfigurationError,
    HighLevelError,
    InvalidRequest,
    KeyReused,
    bounded_text,
)
from hl_async.errors.stores import (
    BudgetStoreError,
    CursorError,
)
from hl_async.errors.webhooks import (
    DeliveryFromFuture,
    DeliveryReplayed,
    DeliveryStale,
    DeliveryTooLarge,
    DeliveryUnreadable,
    SignatureInvalid,
    SignatureMalformed,
    SignatureMissing,
    WebhookError,
)

__all__ = [
    "MAX_KEPT_BODY",
    "AlreadyMigrated",
    "AmbiguousContact",
    "ApiError",
    "AttemptTimeout",
    "AuthError",
    "BadRequest",
    "BudgetStoreError",
    "BulkError",
    "CallError",
    "CanaryFailed",
    "ClientClosed",
    "ClientStateError",
    "ConfigurationError",
    "Conflict",
    "ConnectFailed",
    "ConnectionLost",
    "ContactIncomplete",
    "CursorError",
    "DeadlineExceeded",
    "DecodeError",
    "DeliveryFromFuture",
    "DeliveryReplayed",
    "DeliveryStale",
    "DeliveryTooLarge",
    "DeliveryUnreadable",
    "Forbidden",
    "ForkedClient",
    "GatewayTimeout",
    "GrantLost",
    "HighLevelError",
    "InvalidRequest",
    "JournalCorrupt",
    "JournalError",
    "JournalLocked",
    "JournalMismatch",
    "JournalMissing",
    "KeyReused",
    "LaneLost",
    "LocationInactive",
    "MissingAlt",
    "NotEntered",
    "NotFound",
    "OnceUndecided",
    "OutcomeUnknown",
    "QuotaExhausted",
    "RateLimited",
    "RefreshRejected",
    "RefreshUnavailable",
    "ResponseTooLarge",
    "RouteUnsupported",
    "ScopeMissing",
    "ServerError",
    "SignatureInvalid",
    "SignatureMalformed",
    "SignatureMissing",
    "SourceError",
    "StateMismatch",
    "TokenMissing",
    "TokenStoreError",
    "TooManyRejects",
    "Unauthorized",
    "ValidationFailed",
    "WebhookError",
    "WireError",
    "WireKind",
    "WriteConflict",
    "WrongDocument",
    "WrongEventLoop",
    "WrongTokenType",
    "bounded_text",
]

# Tracebacks, logs and pickles name ``hl_async.errors``, so that the modules of this room can change.
for _name in __all__:
    _value = globals()[_name]
    if callable(_value):
        _value.__module__ = __name__
