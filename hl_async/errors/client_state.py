"""Internal. Errors of the client's life cycle."""

from __future__ import annotations

from hl_async.errors.root import HighLevelError


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
