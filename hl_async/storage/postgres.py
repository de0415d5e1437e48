"""One Postgres database for tokens, rate budgets, journals and cursors.

:class:`Database` pools connections and repeats work after a lost connection. Each store declares its :class:`Tables`
in the schema ``hl_async``, with a version of their own. The database creates and upgrades them at their first use.
Needs the extra ``postgres`` (asyncpg), which only this module imports.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from hl_async.errors import ConfigurationError, HighLevelError
from hl_async.secret import Secret

T = TypeVar("T")

# The advisory lock of setting up ("hl_a" in ASCII): concurrent `create table if not exists` can fail in Postgres.
_SETUP_LOCK: Final = 0x686C5F61
# Seconds between repetitions.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0

_FORMAT: Final = """
create schema if not exists hl_async;
create table if not exists hl_async.format (room text primary key, version integer not null);
"""


class Tables(NamedTuple):
    """The tables of one store.

    Attributes:
        name: The store's name in the table of versions.
        steps: ``steps[n]`` is the SQL that upgrades the tables from version ``n`` to ``n + 1``.
        problem: The type of the error that a failure raises.
    """

    name: str
    steps: tuple[str, ...]
    problem: type[HighLevelError]


class Database:
    """A database, shared by all stores of this process that use it.

    It belongs to one event loop at a time. It opens at its first use, and again after :meth:`aclose`. After a lost
    connection, the work is repeated on a new one, so all work has to be repeatable.

    Args:
        dsn: The address, ``postgresql://…``.
        connections: The largest number of connections in the pool, which opens them on demand.
        patience: Seconds during which work is repeated after lost connections.
        statement_timeout: Seconds that one statement may take. A statement that takes longer is not repeated.

    Raises:
        ConfigurationError: The extra ``postgres`` is missing, or ``dsn`` is not a ``postgresql://`` address.
    """

    __slots__ = (
        "_connections", "_driver", "_dsn", "_lost", "_opening", "_patience", "_pool", "_ready", "_side_pools",
        "_statement_timeout",
    )  # fmt: skip

    def __init__(
        self,
        dsn: str | Secret,
        *,
        connections: int = 8,
        patience: float = 5.0,
        statement_timeout: float = 30.0,
    ) -> None:
        try:
            import asyncpg
        except ImportError:
            asyncpg = None
        if asyncpg is None:
            raise ConfigurationError("dsn", "needs a driver: pip install 'hl-async[postgres]'")
        self._dsn = dsn if isinstance(dsn, Secret) else Secret(dsn)
        try:
            scheme = urlsplit(self._dsn.reveal()).scheme
        except ValueError:  # brackets that are not closed
            scheme = ""
        if scheme not in ("postgres", "postgresql"):
            raise ConfigurationError("dsn", "is not a postgresql:// address")
        self._driver: Any = asyncpg
        self._lost = (
            asyncpg.PostgresConnectionError,
            asyncpg.InterfaceError,
            # asyncpg's state machine raises it when a connection ends in the middle of a message
            asyncpg.InternalClientError,
            # the server shuts down, crashed or starts up; a fail-over made it read-only; a deadlock or a conflict of
            # serializable transactions rolled the work back
            asyncpg.exceptions.OperatorInterventionError,
            asyncpg.exceptions.ReadOnlySQLTransactionError,
            asyncpg.exceptions.TransactionRollbackError,
            OSError,
        )
        self._connections = connections
        self._patience = patience
        self._statement_timeout = statement_timeout
        self._pool: Any = None
        self._side_pools: list[Any] = []
        self._ready: set[str] = set()
        self._opening = asyncio.Lock()

    @property
    def dsn(self) -> Secret:
        """The address, password included."""
        return self._dsn

    async def run(
        self, room: Tables, act: Callable[[Any], Awaitable[T]], *, patience: float | None = None
    ) -> T:
        """Run work on a connection, and repeat it while connections are lost.

        Args:
            room: The tables that the work needs; they are created or upgraded first.
            act: The work. It gets a connection, and may run more than once.
            patience: Seconds during which the work is repeated; None for the database's own number.

        Returns:
            The result of `act`.

        Raises:
            HighLevelError: An error of the type ``room.problem``: the database cannot be reached, is too slow, or
                refused a statement, or a later version of this package wrote the tables.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + (self._patience if patience is None else patience)
        pause = 0.0
        problem = ""
        while not problem:
            try:
                pool = await self._prepared(room)
                async with pool.acquire() as connection:
                    try:
                        return await act(connection)
                    except self._driver.InternalClientError:
                        # its protocol state is unknown: the pool must not hand it out again
                        connection.terminate()
                        raise
            # before its base class OSError, which counts as a lost connection
            except TimeoutError:
                problem = f"took longer than {self._statement_timeout:g} s"
            except self._lost as error:
                # the first repetition comes without a pause: a pooled connection may have died while it was idle
                if pause and loop.time() + pause > until:
                    problem = f"can't be reached: {_why(error)}"
            except self._driver.PostgresError as error:
                problem = f"refused: {error}"
            if not problem:
                await asyncio.sleep(pause)
                pause = min(max(pause * 2, _FIRST_PAUSE), _LONGEST_PAUSE)
        raise room.problem(f"the Postgres database {self.name} {problem}")

    async def side_pool(self, room: Tables, size: int) -> Any:
        """Open a separate pool, for connections that are held for long.

        In the common pool they would leave none for `run`. The database closes the new pool with itself.

        Args:
            room: The tables that are used over it; they are created or upgraded first.
            size: The largest number of its connections.

        Returns:
            The asyncpg pool.
        """
        await self.run(room, _nothing)
        pool = await self._new_pool(size)
        self._side_pools.append(pool)
        return pool

    async def aclose(self) -> None:
        """Close all connections; a later use opens new ones."""
        pools = [*self._side_pools, *([] if self._pool is None else [self._pool])]
        self._pool = None
        self._side_pools = []
        for pool in pools:
            await pool.close()

    @property
    def name(self) -> str:
        """The host and the database, without user and password, for messages."""
        parts = urlsplit(self._dsn.reveal())
        return f"{parts.hostname or 'local'}{parts.path}"

    async def _prepared(self, room: Tables) -> Any:
        if self._pool is not None and room.name in self._ready:
            return self._pool
        async with self._opening:
            if self._pool is None:
                self._pool = await self._new_pool(self._connections)
                self._ready = set()
            pool = self._pool
            if room.name not in self._ready:
                async with pool.acquire() as connection:
                    await self._set_up(connection, room)
                self._ready.add(room.name)
        return pool

    async def _set_up(self, connection: Any, room: Tables) -> None:
        """Create or upgrade ``room``'s tables, in one transaction, one process at a time."""
        async with connection.transaction():
            await connection.execute("select pg_advisory_xact_lock($1)", _SETUP_LOCK)
            # No `if not exists` on existing ones: it needs the right to create, which a process may lack that only
            # uses the tables.
            if await connection.fetchval("select to_regclass('hl_async.format')") is None:
                await connection.execute(_FORMAT)
            version = await connection.fetchval(
                "select version from hl_async.format where room = $1", room.name
            )
            for step in room.steps[version or 0 :]:
                await connection.execute(step)
            if (version or 0) < len(room.steps):
                await connection.execute(
                    "insert into hl_async.format values ($1, $2)"
                    " on conflict (room) do update set version = excluded.version",
                    room.name,
                    len(room.steps),
                )
        if (version or 0) > len(room.steps):
            raise room.problem(
                f"the {room.name} tables of {self.name} were written by a later version of hl_async; upgrade it"
            )

    async def _new_pool(self, size: int) -> Any:
        return await self._driver.create_pool(
            self._dsn.reveal(), min_size=0, max_size=size, command_timeout=self._statement_timeout
        )

    def __repr__(self) -> str:
        return f"<Database {self.name}>"


def _why(error: Exception) -> str:
    """Return the reason of a lost connection as text for a message."""
    # the text of these errors is a number, the name of a class, or empty
    if isinstance(error, socket.gaierror):
        return "its name is unknown"
    if isinstance(error, ConnectionRefusedError | FileNotFoundError):
        return "no server listens there"
    return str(error) or type(error).__name__


async def _nothing(_: Any) -> None:
    """Do nothing; `Database.run` creates the tables before it calls this."""


def database_of(place: Database | Secret | str) -> tuple[Database, bool]:
    """Return the database of an address, and whether this call created it.

    The caller closes a database that this call created. A `Database` is returned unchanged.
    """
    return (place, False) if isinstance(place, Database) else (Database(place), True)


def changed_rows(status: str) -> int:
    """Return the number of rows in asyncpg's status text, such as 3 for ``UPDATE 3``."""
    return int(status.rsplit(" ", 1)[-1])


def plain_text(value: Any) -> Any:
    """Return a text that Postgres can store, and any other value unchanged.

    It stores neither NUL, which becomes U+FFFD, nor lone surrogates, which become ``?``.
    """
    # most texts are printable, and `isprintable` is faster than encoding
    if isinstance(value, str) and ("\x00" in value or not value.isprintable()):
        return value.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return value
