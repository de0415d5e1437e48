"""Internal. Rate budgets in Postgres, shared by the processes of many hosts.

Needs the extra ``postgres`` (asyncpg). One row per scope holds its allocator in an unlogged table, which costs no
write-ahead log. A crash of the server empties it. After one interval the lost uses no longer matter, so a new store
reserves no bulk before. A logged table records that a budget existed.

An exchange reads the row and the database's clock, applies the rules of :mod:`~hl_async.governor.shared.allocator`,
and writes the row if its version is unchanged. If another process wrote it meanwhile, the exchange starts over. A
process that stops at any instruction therefore holds no lock, and any connection pooler works.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from hl_async.errors import BudgetStoreError
from hl_async.governor.shared.allocator import SlotAllocator
from hl_async.governor.shared.messages import ExchangeReply, ExchangeRequest
from hl_async.secret import Secret
from hl_async.storage.postgres import Database, Tables, database_of

# The row changes many times per second. Unlogged, it costs no write-ahead log (docs/decisions/unlogged-budget.md).
# The low fill factor lets updates stay in their page, and external storage skips compression.
_TABLES: Final = """
create unlogged table if not exists hl_async.budget (
    scope text primary key, version bigint not null, touched timestamptz not null, book bytea not null
) with (fillfactor = 40);
alter table hl_async.budget alter column book set storage external;
create unlogged table if not exists hl_async.budget_born (
    one boolean primary key default true check (one), moment timestamptz not null default clock_timestamp()
);
"""
# A crash of the server empties unlogged tables. This logged row survives, so a store that is created again knows that
# it lost budgets.
_LOST: Final = """
create table if not exists hl_async.budget_known (one boolean primary key default true check (one));
alter table hl_async.budget_born add column if not exists again boolean not null default false;
insert into hl_async.budget_known select from hl_async.budget_born on conflict do nothing;
"""
_BUDGETS: Final = Tables("budget", (_TABLES, _LOST), BudgetStoreError)

_READ: Final = """
select extract(epoch from clock_timestamp())::float8 as now, version, book
from (values (1)) as always left join hl_async.budget on scope = $1
"""
_WRITE: Final = """
update hl_async.budget set version = version + 1, touched = clock_timestamp(), book = $3
where scope = $1 and version = $2
"""
_OPEN: Final = """
insert into hl_async.budget values ($1, 1, clock_timestamp(), $2) on conflict do nothing
"""
_BORN: Final = """
with made as (
    insert into hl_async.budget_born (again) select exists (select from hl_async.budget_known)
    on conflict do nothing returning moment, again
), known as (insert into hl_async.budget_known select from made on conflict do nothing)
select extract(epoch from moment)::float8 as moment, again
from (select * from made union all select moment, again from hl_async.budget_born) as either limit 1
"""
_SWEEP: Final = "delete from hl_async.budget where touched < clock_timestamp() - interval '1 day'"

_MOST_TRIES: Final = 100

_decoder: Final = msgspec.msgpack.Decoder(SlotAllocator)
_encoder: Final = msgspec.msgpack.Encoder()


class PostgresBudget:
    """Rate budgets in Postgres, in the schema ``hl_async``.

    Pass it to every client that spends from the same budgets: ``HighLevel(..., budget=PostgresBudget(dsn))``.

    Args:
        database: An address, or a :class:`~hl_async.storage.postgres.Database`, which stays open when this closes.

    Raises:
        ConfigurationError: asyncpg is not installed.
    """

    __slots__ = ("_database", "_owns")

    def __init__(self, database: Database | Secret | str) -> None:
        self._database, self._owns = database_of(database)

    async def exchange(self, scope: str, request: ExchangeRequest) -> ExchangeReply:
        """See :meth:`BudgetStore.exchange`."""

        async def act(connection: Any) -> ExchangeReply:
            for _ in range(_MOST_TRIES):
                reply = await _try(connection, scope, request)
                if reply is not None:
                    return reply
            raise BudgetStoreError(
                f"other processes changed the budget of {scope} {_MOST_TRIES} times in a row"
            )

        # Without patience: the scopes decide when to ask an unreachable store again, and calls must not wait for it.
        return await self._database.run(_BUDGETS, act, patience=0.0)

    async def aclose(self) -> None:
        """Close the connections, unless the database was passed in."""
        if self._owns:
            await self._database.aclose()

    def __repr__(self) -> str:
        return f"<PostgresBudget {self._database.name}>"


async def _try(connection: Any, scope: str, request: ExchangeRequest) -> ExchangeReply | None:
    """Make one exchange, or return None if another process wrote the row meanwhile."""
    row = await connection.fetchrow(_READ, scope)
    now = row["now"]
    if row["version"] is not None:
        book = _decoder.decode(row["book"])
        reply = book.exchange(now, request)
        done = await connection.execute(_WRITE, scope, row["version"], _encoder.encode(book))
    else:
        born = await connection.fetchrow(_BORN)
        # Another process is inserting the row of `budget_born`. The next statement can read it.
        if born is None:
            return None
        book = SlotAllocator.opened(request.terms, born["moment"], now, lost=born["again"])
        reply = book.exchange(now, request)
        # A new scope is rare, which makes it the moment to remove old ones.
        await connection.execute(_SWEEP)
        done = await connection.execute(_OPEN, scope, _encoder.encode(book))
    return reply if done.endswith(" 1") else None
