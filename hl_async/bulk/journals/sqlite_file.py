"""Internal. The file of an embedded journal: its schema, lock and durability."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path
from typing import Final

from hl_async.bulk.journals.store import check_header
from hl_async.errors import JournalCorrupt, JournalError, JournalLocked
from hl_async.storage import locks
from hl_async.storage.private_files import open_private
from hl_async.storage.queries import Queries
from hl_async.storage.sqlite import SqliteRules, apply_steps, connect, table_count, version_of

RULES: Final = SqliteRules("the journal", JournalError, JournalCorrupt, is_wal=True, reopens=False)

_APPLICATION_ID: Final = 0x686C6A31  # "hlj1"
# WAL's two files, and the one of a transaction from before WAL is switched on
_BESIDE: Final = ("-wal", "-shm", "-journal")

STATEMENTS: Final = Queries(__name__, "sqlite.sql")
"""The statements of an embedded journal."""

_SCHEMA: Final = Queries(__name__, "sqlite_schema.sql")
_STEPS: Final = (_SCHEMA["runs"], _SCHEMA["evidence"])
"""Step ``n`` takes a journal from schema ``n`` to ``n + 1``."""

SCHEMA_VERSION: Final = len(_STEPS)


def make_file(path: Path) -> None:
    """Make a journal without items unless ``path`` exists.

    Raises:
        JournalCorrupt: The file is missing or empty, and something of a journal stands beside it.
    """
    if path.exists():
        if path.stat().st_size == 0:
            raise JournalCorrupt(
                f"{path} is empty, so it does not say which run it belonged to; restore it, or remove it if it "
                "never was a journal"
            )
        return
    # a -wal without its file holds the last writes of a run: a new journal at its name would swallow them
    for name in (path.with_name(path.name + end) for end in _BESIDE):
        if name.exists() and name.stat().st_size:
            raise JournalCorrupt(
                f"{path} is missing, but {name} belongs to it and holds the last writes of the run; restore the file"
            )
    # built beside the path and renamed: a file without tables is never a journal of ours that was begun
    new = path.with_name(path.name + ".new")
    remove_file(new)
    # exclusively: a file that another user put there meanwhile is not taken over
    open_private(new, "x").close()
    with contextlib.closing(connect(new)) as connection:
        apply_steps(connection, new, _STEPS, JournalCorrupt, application=_APPLICATION_ID)
    new.replace(path)
    # a rename is durable with its folder only
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def check_schema(connection: sqlite3.Connection, path: Path, *, upgrade: bool) -> None:
    """Check that a file is a journal that this version can use.

    Args:
        connection: The file.
        path: Its path, for messages.
        upgrade: Upgrade the tables of an older version.

    Raises:
        JournalCorrupt: The file is not a journal, lost its tables, or has another version's.
    """
    (application,) = connection.execute("pragma application_id").fetchone()
    version = version_of(connection)
    # an empty database first: its marks are zero, so the next check would call it another program's
    if table_count(connection) == 0:
        raise JournalCorrupt(
            f"{path} holds no tables: it lost its contents, or never was a journal; restore it or choose another file"
        )
    if application != _APPLICATION_ID:
        raise JournalCorrupt(f"{path} is a database, but not a journal of this program")
    if not 1 <= version <= SCHEMA_VERSION:
        raise JournalCorrupt(f"{path} has schema {version}; this version reads schema {SCHEMA_VERSION}")
    if version < SCHEMA_VERSION:
        # a watcher must not change the tables under a process of the older version
        if not upgrade:
            raise JournalCorrupt(
                f"{path} has schema {version}; open it once with the run before it is watched"
            )
        apply_steps(connection, path, _STEPS, JournalCorrupt, application=_APPLICATION_ID)


def check_run(connection: sqlite3.Connection, path: Path, header: dict[str, str]) -> None:
    """Write the facts of a new run, or check that they are those of this run."""
    check_header(str(path), dict(connection.execute(STATEMENTS["header"])), header)
    facts = [{"name": name, "value": value} for name, value in header.items()]
    connection.executemany(STATEMENTS["note_new"], facts)


def correct_future(connection: sqlite3.Connection, now: float) -> None:
    """Set future times to `now`: the clock was set back since they were written."""
    # in this order: the first intent is compared with the corrected last one
    for name in ("correct_sent", "correct_first_sent", "correct_ambiguous", "correct_swept"):
        connection.execute(STATEMENTS[name], {"now": now})


def lock_file(path: Path) -> int:
    """Lock the journal for this process.

    Raises:
        JournalLocked: Another process works on it; the message names it.
        JournalError: The lock cannot be opened.
    """
    name = path.with_name(path.name + ".lock")
    problem = ""
    descriptor = None
    # a file of its own: closing any descriptor of the database would drop SQLite's locks on it
    try:
        descriptor = locks.try_lock(name)
    except OSError as error:
        problem = f"the journal {path} cannot be written: {error.strerror}"
    if problem:
        raise JournalError(problem)
    if descriptor is None:
        raise JournalLocked(f"process {locks.holder_of(name) or 'unknown'} works on the journal {path}")
    locks.name_holder(descriptor)
    return descriptor


def is_locked(path: Path) -> bool:
    """Return whether a process works on the journal now."""
    return locks.is_locked(path.with_name(path.name + ".lock"))


def remove_file(path: Path) -> None:
    """Remove the journal and the files beside it."""
    for end in ("", *_BESIDE, ".lock"):
        path.with_name(path.name + end).unlink(missing_ok=True)


def rename_file(path: Path, word: str) -> Path:
    """Rename the journal's files to the first free ``NAME.word-N``. Return the path."""
    lock = lock_file(path)
    try:
        number = 1
        while (target := path.with_name(f"{path.name}.{word}-{number}")).exists():
            number += 1
        # the file last: until then, its old name still belongs to the run
        for end in (*_BESIDE, ""):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(target.with_name(target.name + end))
        _sync_folder(path.parent)
        path.with_name(path.name + ".lock").unlink(missing_ok=True)
    finally:
        locks.unlock(lock)
    return target
