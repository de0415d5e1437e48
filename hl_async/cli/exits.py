"""The exit codes of all commands."""

from __future__ import annotations

from enum import IntEnum, unique


@unique
class ExitCode(IntEnum):
    """Stable over releases; scripts may rely on them."""

    OK = 0
    """Everything that was asked for was done. After `rollback`: no draft of the run is left."""
    USAGE = 1
    """Bad arguments, settings or input; nothing was started. Also a source of which no document can be sent."""
    REJECTS = 2
    """Finished, but some documents of the source were rejected. A dry run exits as the run would."""
    STOPPED = 3
    """Stopped before the end, also by an outage or a full disk; the same command, or --resume, continues."""
    HELD = 4
    """Finished, but something needs a person's decision: held items, or documents that a rollback kept."""
    API = 5
    """The API or the network refused the call."""
    AUTH = 6
    """No usable credentials."""
    DIFFERS = 7
    """Verification found differences."""
    INTERRUPTED = 130
    """Ctrl-C where there is nothing to resume."""
