"""Internal. The journals of runs: in files, or in a database for many processes."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from hl_async.config import Environment
from hl_async.errors import ConfigurationError, JournalMissing
from hl_async.secret import Secret

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from hl_async.bulk.journals.store import JournalStore

_SQLITE: Final = b"SQLite format 3\0"
_ENDING: Final = ".hl.db"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+@-]{0,199}")

_ADDRESS: Final = ("postgresql://", "postgres://")
_GIVE_IT: Final = "give postgresql://USER:PASSWORD@HOST/DATABASE there, or in HL_POSTGRES"

if TYPE_CHECKING:
    _Text = click.ParamType[str]
else:
    _Text = click.ParamType  # a generic only in later releases of click


class RunPlace(_Text):
    """The text that names a run, completed with journals and sources that have one."""

    name = "path"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the journals and sources of the typed folder, or any file if none."""
        from click.shell_completion import CompletionItem

        typed = Path(incomplete)
        folder = typed if incomplete.endswith(("/", os.sep)) else typed.parent
        try:
            # One listing: completion runs on every press of the tabulator key.
            names = {path.name: path for path in sorted(folder.iterdir()) if path.is_file()}
        except OSError:
            names = {}
        shown = [
            str(path)
            for name, path in names.items()
            if f"{name}{_ENDING}" in names or (name.endswith((".db", ".sqlite")) and _is_journal(path))
        ]
        found = [CompletionItem(text) for text in shown if text.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


run_argument = click.argument("journal", metavar="JOURNAL|SOURCE", type=RunPlace())

postgres_option = click.option(
    "--postgres",
    metavar="URL",
    help="The database of shared runs; default HL_POSTGRES, which hides it from ps.",
)


def postgres_of(given: str | None) -> Secret | None:
    """Return the address of the database, if there is one."""
    return Secret(given) if given else Environment.read().postgres


def required_postgres(given: str | None) -> Secret:
    """Return the address of the database, or fail with the way to give it."""
    found = postgres_of(given)
    if found is None:
        raise ConfigurationError("--postgres", f"is missing; {_GIVE_IT}")
    # Refused here: an error of the driver might quote the address with its password.
    if not found.reveal().startswith(_ADDRESS):
        raise ConfigurationError("--postgres", f"is not a postgresql:// address; {_GIVE_IT}")
    return found


def store_of(journal: str, given: str | None) -> JournalStore:
    """Return the run of a journal file, of a source beside one, or of a name.

    In a database a run has the name of its source, which may well lie in this folder without being a journal.

    Raises:
        JournalMissing: The run is unknown.
    """
    from hl_async.bulk.journals.sqlite import SqliteJournals

    path = Path(journal)
    postgres = postgres_of(given)
    # HL_POSTGRES is set for a whole shell; a journal file that is named goes before it.
    if postgres is None or (given is None and _is_journal(path)):
        return SqliteJournals(_journal_of(path))
    from hl_async.bulk.journals.postgres import PostgresJournals
    from hl_async.bulk.workers.worker import worker_name

    return PostgresJournals(required_postgres(given), run_name(journal), holder=worker_name())


def name_of(place: JournalStore) -> str:
    """Return what the command line calls the run of ``place``."""
    return str(getattr(place, "path", None) or getattr(place, "name", ""))


def _journal_of(path: Path) -> Path:
    """Return ``path``, or the journal beside it if it is a source."""
    # People name the file that they migrated, not the journal that the command made of it.
    beside = path.with_name(path.name + _ENDING)
    # An empty file is a journal that was never written, not a source.
    if _is_journal(path) or not path.is_file() or path.stat().st_size == 0:
        return beside if not path.exists() and beside.exists() else path
    if beside.exists():
        return beside
    if path.suffix.lower() in (".csv", ".xlsx", ".ndjson", ".jsonl"):
        raise JournalMissing(f"{path} has no journal: {beside.name} does not exist")
    return path


def _is_journal(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def run_name(text: str) -> str:
    """Return ``text`` if it may name a run in a database, or fail."""
    if not _NAME.fullmatch(text):
        raise ConfigurationError(
            "run",
            f"{text!r} is not a name of a run: letters, digits and . _ : + @ - , at most 200, a letter or digit first",
        )
    return text


def name_for(source: Path) -> str:
    """Return the name that a run of ``source`` gets in a database by default."""
    return re.sub(r"[^A-Za-z0-9._:+@-]+", "-", source.name).lstrip("._:+@-")[:200] or "run"
