"""Internal. The tables of journals in Postgres, and the statements on them."""

from __future__ import annotations

from typing import Final

from hl_async.errors import JournalError
from hl_async.storage.postgres import Tables
from hl_async.storage.queries import NumberedQueries, Queries

_SCHEMA: Final = Queries(__name__, "postgres_schema.sql")

JOURNAL: Final = Tables("journal", (_SCHEMA["runs"], _SCHEMA["evidence"]), JournalError)
"""Runs, their items and lanes, and the workers."""

STATEMENTS: Final = NumberedQueries(__name__, "postgres.sql")
"""The statements of journals."""
