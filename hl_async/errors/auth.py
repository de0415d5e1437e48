"""Internal. Errors of credentials and of the stores that keep them."""

from __future__ import annotations

from collections.abc import Sequence

from hl_async.errors.root import HighLevelError


class AuthError(HighLevelError):
    """Credentials could not be obtained.

    Attributes:
        key: The location or company that they are for.
    """

    def __init__(self, message: str, *, key: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.key = key


class TokenMissing(AuthError):
    """No token is stored for this location or company: install the app, or log in."""


class RefreshRejected(AuthError):
    """The authorisation server refused to refresh or to mint.

    Attributes:
        status: The HTTP status.
        messages: The server's messages.
    """

    def __init__(self, message: str, *, key: str = "", status: int = 0, messages: Sequence[str] = ()) -> None:
        super().__init__(message, key=key)
        self.status = status
        self.messages: tuple[str, ...] = tuple(messages)


class GrantLost(RefreshRejected):
    """The refresh token is spent or revoked and the store has no other one.

    Install the app again.
    """


class RefreshUnavailable(AuthError):
    """The authorisation server could not be reached or failed.

    Stored tokens were kept. Try again later.

    Attributes:
        retry_after: The pause in seconds that the server asked for, 0 if it named none.
    """

    def __init__(self, message: str, *, key: str = "", retry_after: float = 0.0) -> None:
        super().__init__(message, key=key)
        self.retry_after = retry_after


class TokenStoreError(AuthError):
    """The token store, or the store of ``once`` keys, cannot be used.

    It is locked, read-only, corrupt, unreachable or encrypted with another key.
    """


class StateMismatch(AuthError):
    """The ``state`` of the consent page is missing, unknown, expired or used already.

    Or it belongs to another browser.
    """
