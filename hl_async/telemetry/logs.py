"""Internal. Events as lines of the ``hl_async`` logger.

Problems are logged at WARNING, learned limits and renewed tokens at INFO, calls at DEBUG.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

from hl_async.config import log_level
from hl_async.errors import ConfigurationError
from hl_async.secret import redact
from hl_async.telemetry.events import (
    AttemptFinished,
    AttemptStarted,
    BudgetStoreBack,
    BudgetStoreLost,
    CallFinished,
    CallStarted,
    ConcurrencyChanged,
    Event,
    RateLimitLearned,
    RetryScheduled,
    Throttled,
    TokenRefreshed,
    TokenRefreshFailed,
)

logger: Final = logging.getLogger("hl_async")
# Without a handler of its own, logging would print warnings of a library whose user never set up logging.
logger.addHandler(logging.NullHandler())

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:
    _StreamHandler = logging.StreamHandler

_FORM: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def _attempt_finished(event: AttemptFinished) -> str:
    ended = f"status {event.status} in {event.elapsed:.3f} s" if event.status else event.reason or event.error
    return f"{event.operation}: request {event.attempt}: {event.method} to {event.host}: {ended}"


def _retry(event: RetryScheduled) -> str:
    when = f"in {event.delay:.1f} s" if event.delay else "as soon as the rate budget allows"
    return f"{event.operation}: request {event.attempt} failed ({event.reason}); sending it again {when}"


def _call_finished(event: CallFinished) -> str:
    # A call that was refused before its first request has 0 requests.
    requests = "1 request" if event.attempts == 1 else f"{event.attempts} requests"
    return f"{event.operation}: {event.outcome} after {requests}, {event.elapsed:.3f} s, for {event.scope}"


def _refresh_failed(event: TokenRefreshFailed) -> str:
    return f"the tokens of {event.key} were not renewed: {event.error}"


_Line = tuple[int, Callable[[Any], str]]
# A table, so that a new event without a line fails a test.
_LINES: Final[dict[type[Event], _Line]] = {
    CallStarted: (logging.DEBUG, lambda event: f"{event.operation}: called for {event.scope}"),
    AttemptStarted: (
        logging.DEBUG,
        lambda event: (
            f"{event.operation}: request {event.attempt} goes out {event.waited:.3f} s after the call"
        ),
    ),
    AttemptFinished: (logging.DEBUG, _attempt_finished),
    RetryScheduled: (logging.WARNING, _retry),
    CallFinished: (logging.DEBUG, _call_finished),
    RateLimitLearned: (
        logging.INFO,
        lambda event: f"{event.scope} allows {event.max} requests per {event.interval:g} s",
    ),
    Throttled: (
        logging.WARNING,
        lambda event: f"{event.scope} answered 429; its requests pause for {event.pause:.1f} s",
    ),
    BudgetStoreLost: (
        logging.WARNING,
        lambda event: f"the shared rate budget cannot be used: {event.error}; bulk waits",
    ),
    BudgetStoreBack: (
        logging.WARNING,
        lambda event: f"the shared rate budget can be used again, after {event.away:.1f} s",
    ),
    ConcurrencyChanged: (
        logging.DEBUG,
        lambda event: f"bulk may have {event.limit} requests in flight, {event.in_flight} are",
    ),
    TokenRefreshed: (
        logging.INFO,
        lambda event: f"the tokens of {event.key} were renewed in {event.elapsed:.3f} s",
    ),
    TokenRefreshFailed: (logging.WARNING, _refresh_failed),
}


def write(event: Event, to: logging.Logger = logger) -> None:
    """Log an event if its level is on. The record carries it as ``hl_event``."""
    level, text = _LINES[type(event)]
    if to.isEnabledFor(level):
        # Reasons quote errors of other libraries, and these may quote a request.
        to.log(level, "%s", redact(text(event)), extra={"hl_event": event})


class StderrHandler(_StreamHandler):
    """A handler that prints records on the current `sys.stderr`.

    A progress bar replaces `sys.stderr` while it is drawn.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Print ``record``; see :class:`logging.Handler`."""
        self.stream = sys.stderr
        super().emit(record)


def log_to_stderr(level: str, form: str = _FORM) -> None:
    """Print the package's log on stderr from a level on.

    A second call changes level and form only. If the root logger has handlers, nothing is printed here.

    Args:
        level: debug, info, warning or error, in any case.
        form: The format of a record, as for :class:`logging.Formatter`.

    Raises:
        ConfigurationError: The level is unknown.
    """
    number = LEVELS.get(level.lower())
    if number is None:
        raise ConfigurationError("HL_LOG", f"{level!r} is not a level; use {', '.join(LEVELS)}")
    # A level above WARNING is set on our handler only: handlers of the application still get warnings.
    if number < logging.WARNING:
        logger.setLevel(number)
    handler = next((one for one in logger.handlers if isinstance(one, StderrHandler)), None)
    if handler is None:
        # An application that set up logging prints our records already. A second handler would print them twice.
        if logging.getLogger().handlers:
            return
        handler = StderrHandler()
        logger.addHandler(handler)
    handler.setLevel(number)
    handler.setFormatter(logging.Formatter(form))


def log_as_asked() -> bool:
    """Print the log on stderr if `HL_LOG` names a level. Return whether it does."""
    level = log_level()
    if level:
        log_to_stderr(level)
    return bool(level)


class LoggingObserver:
    """An observer that writes events to a logger of yours.

    The logger ``hl_async`` needs no observer: the client writes to it by itself.
    """

    def __init__(self, to: logging.Logger = logger) -> None:
        self.logger = to

    def on_event(self, event: Event) -> None:
        """Log ``event``; see :class:`~hl_async.telemetry.Observer`."""
        write(event, self.logger)
