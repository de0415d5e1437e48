"""What a command's exit status means."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class ExitCode(IntEnum):
    """Stable over releases; scripts may rely on them."""

    OK = 0
    """Everything that was asked for was done."""
    USAGE = 1
    """Bad arguments, settings or input; nothing was started."""
    REJECTS = 2
    """Finished, but some documents of the source were rejected."""
    STOPPED = 3
    """Stopped before the end; the journal can be resumed."""
    HELD = 4
    """Finished, but some items need a person's decision."""
    API = 5
    """The API or the network refused the call."""
    AUTH = 6
    """No usable credentials."""
    DIFFERS = 7
    """Verification found differences."""
    INTERRUPTED = 130
    """Ctrl-C where there is nothing to resume."""
