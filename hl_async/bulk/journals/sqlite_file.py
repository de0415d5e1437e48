"""The file of an embedded journal: its schema, its lock, its durability."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path
from typing import Final

from hl_async.bulk.journals.protocol import check_header
from hl_async.errors import JournalCorrupt, JournalError, JournalLocked

SCHEMA_VERSION: Final = 1
_APPLICATION_ID: Final = 0x686C6A31  # "hlj1"

_SCHEMA: Final = """
create table run (name text primary key, value text not null) without rowid;
create table item (
  ordinal integer primary key,
  source_id text not null,
  key text,
  location text not null,
  ids text not null default '[]',
  body blob,
  raw blob,
  total text,
  currency text not null default '',
  place text not null default '',
  state text not null,
  attempt integer not null default 0,
  sent_at real,
  ambiguous integer not null default 0,
  document text,
  reason text
);
create index item_by_state on item (location, state, ordinal);
create unique index item_by_key on item (location, key);
create table lane (
  location text primary key,
  proven integer not null default 0,
  swept_at real,
  ambiguous_at real
) without rowid;
"""


def connect(path: Path) -> sqlite3.Connection:
    """A connection that writes durably; makes the file when there is none."""
    # created with the mode it is to have: other people's money is in it
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = full")
    return connection


def prepare(connection: sqlite3.Connection, path: Path, header: dict[str, str] | None) -> None:
    """Make the tables of a new journal, or check that those of an old one are of this version and this run."""
    (application,) = connection.execute("pragma application_id").fetchone()
    (version,) = connection.execute("pragma user_version").fetchone()
    (tables,) = connection.execute("select count(*) from sqlite_master").fetchone()
    if tables == 0 and header is not None:
        # all or nothing: tables without their marks would be a stranger's database to whoever comes next
        marks = f"pragma application_id = {_APPLICATION_ID}; pragma user_version = {SCHEMA_VERSION};"
        connection.executescript(f"begin immediate; {_SCHEMA} {marks} commit;")
    elif application != _APPLICATION_ID:
        raise JournalCorrupt(f"{path} is a database, but no journal of this program")
    elif version != SCHEMA_VERSION:
        raise JournalCorrupt(f"{path} has schema {version}; this version reads schema {SCHEMA_VERSION}")
    if header is None:
        return
    check_header(str(path), dict(connection.execute("select name, value from run")), header)
    connection.executemany("insert or ignore into run values (?,?)", header.items())


def lock_file(path: Path) -> int:
    """Lock the journal for this process; :class:`JournalLocked` names who has it."""
    name = path.with_name(path.name + ".lock")
    problem = ""
    descriptor = -1
    try:
        descriptor = os.open(name, os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        problem = f"the journal {path} cannot be written: {error.strerror}"
    if problem:
        raise JournalError(problem)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        holder = os.read(descriptor, 20).decode("ascii", "replace").strip()
        os.close(descriptor)
    else:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
        return descriptor
    raise JournalLocked(f"process {holder or 'unknown'} works on the journal {path}")


def unlock(lock: int | None) -> None:
    """Let others have it."""
    if lock is not None:
        os.close(lock)


def remove_file(path: Path) -> None:
    """Remove the journal and what stands beside it."""
    for name in (path.name, path.name + "-wal", path.name + "-shm", path.name + ".lock"):
        path.with_name(name).unlink(missing_ok=True)
