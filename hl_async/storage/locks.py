"""Internal. Locks between processes: one per file, held by the kernel.

The kernel releases a lock when its process ends. `filelock` makes the system call of each platform, Windows included.
This module keeps the descriptor, to write the holder's process id into the file. Windows also refuses reads of the
locked first byte, so the id begins at the second.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

_TRIES: Final = 5
_PAUSE: Final = 0.05  # seconds


def try_lock(path: Path, *, tries: int = _TRIES) -> int | None:
    """Lock a file; create it with mode 0600 if it is missing.

    The call may block its thread for the pauses between attempts.

    Args:
        path: The file; its folder has to exist.
        tries: The number of attempts, 0.05 s apart. More than one is needed because :func:`is_locked` in another
            process takes the lock for a moment.

    Returns:
        The descriptor that holds the lock until :func:`unlock`, or None if another process has it.

    Raises:
        OSError: The file cannot be opened or locked.
    """
    from filelock import lock_descriptor

    # not inherited: a child process that outlives this one would go on holding the lock
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        for attempt in range(tries):
            if lock_descriptor(descriptor, blocking=False):
                return descriptor
            if attempt + 1 < tries:
                time.sleep(_PAUSE)
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def unlock(descriptor: int | None) -> None:
    """Release a lock; do nothing for None."""
    # Closing releases the kernel's lock. The file stays: if it were deleted, a process that has it open and one that
    # creates it again would both hold "the" lock.
    if descriptor is not None:
        os.close(descriptor)


def name_holder(descriptor: int) -> None:
    """Write this process's id into a locked file, for :func:`holder_of`."""
    # cut first, because the id of an earlier holder may be longer
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f"\n{os.getpid()}".encode())


def holder_of(path: Path) -> str:
    """Return the process id that :func:`name_holder` wrote last, or an empty text.

    The process may have ended since.
    """
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.lseek(descriptor, 1, os.SEEK_SET)
            return os.read(descriptor, 20).decode("ascii", "replace").strip()
        finally:
            os.close(descriptor)
    return ""


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock now.

    It is False if the file cannot be opened. The answer may be outdated at once. The check itself takes a free lock
    for a moment.
    """
    if not path.exists():
        return False
    try:
        descriptor = try_lock(path, tries=1)
    except OSError:
        return False
    unlock(descriptor)
    return descriptor is None
