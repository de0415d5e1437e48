"""Internal. Locks between processes: one per file, held by the kernel.

They are gone with the process that holds them. `filelock` knows how each system locks a descriptor, Windows among
them. The descriptor stays ours, so that the file can name its holder. Windows locks the first byte against reading
too: the name stands behind it.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Final

_TRIES: Final = 5
_PAUSE: Final = 0.05


def try_lock(path: Path, *, tries: int = _TRIES) -> int | None:
    """Lock a file, made with mode 0600 if it is missing.

    Args:
        path: The file; its folder has to exist.
        tries: Attempts, 0.05 s apart: :func:`is_locked` of another process holds the lock for an instant.

    Returns:
        The descriptor that holds the lock until :func:`unlock`, or None while another process has it.

    Raises:
        OSError: The file cannot be opened or locked.
    """
    from filelock import lock_descriptor

    # not inherited: a child process that outlives this one would keep the lock
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
    # the lock is the kernel's and ends with the descriptor; the file stays, for others may wait for it
    if descriptor is not None:
        os.close(descriptor)


def name_holder(descriptor: int) -> None:
    """Write this process's id into a locked file, for :func:`holder_of`."""
    # cut first: the id of an earlier holder may be longer
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, f"\n{os.getpid()}".encode())


def holder_of(path: Path) -> str:
    """Return the id of the last process that named itself, or an empty text."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.lseek(descriptor, 1, os.SEEK_SET)
            return os.read(descriptor, 20).decode("ascii", "replace").strip()
        finally:
            os.close(descriptor)
    return ""


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock now."""
    if not path.exists():
        return False
    try:
        descriptor = try_lock(path, tries=1)
    except OSError:
        return False
    unlock(descriptor)
    return descriptor is None
