"""The shared rate budget in Postgres: the contract, and clients that share one against a real sandbox.

Against a Postgres that pip installs, or the server of ``HL_TEST_POSTGRES``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from contract.budgets import BudgetStoreContract, Caller
from hl_async import GovernorPolicy, HighLevel, Lane, MemoryBudget, PostgresBudget, PrivateToken, Secret
from hl_async.config import ClientConfig, Timeouts
from hl_async.errors import BudgetStoreError, ConfigurationError
from hl_async.governor import Governor
from hl_async.governor.shared import BudgetStore
from hl_async.sandbox import Sandbox
from hl_async.storage.postgres import Database
from hl_async.telemetry import BudgetStoreBack, BudgetStoreLost, Event

TOKEN = "pit-5ent1nel-0000-4000-8000-000000000001"


@pytest.fixture(scope="module")
def place(dsn: str) -> Iterator[str]:
    """A database of its own, as these tests lose everything in it."""
    name = f"hl_budget_{os.getpid()}"

    async def administer(statement: str) -> None:
        connection = await asyncpg.connect(dsn)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(administer(f"create database {name}"))
    own = urlsplit(dsn)._replace(path=f"/{name}").geturl()
    asyncio.run(age(own))
    yield own
    asyncio.run(administer(f"drop database {name} with (force)"))


async def age(place: str) -> None:
    """Make the store older than an interval, so that it knows of everything that was sent."""
    store = PostgresBudget(place)
    await Caller(store, "first").ask()
    await store.aclose()
    await execute(place, "update hl_async.budget_born set moment = now() - interval '1 hour'")


async def execute(place: str, statement: str) -> None:
    connection = await asyncpg.connect(place)
    await connection.execute(statement)
    await connection.close()


class TestPostgresBudget(BudgetStoreContract):
    @pytest.fixture(autouse=True)
    def at(self, place: str) -> Iterator[None]:
        self.place = place
        self.lost = False
        yield
        if self.lost:
            asyncio.run(age(place))

    async def open_store(self) -> BudgetStore:
        return PostgresBudget(self.place)

    async def open_again(self) -> BudgetStore:
        return PostgresBudget(self.place)

    async def lose(self, store: BudgetStore) -> bool:
        await execute(self.place, "truncate hl_async.budget, hl_async.budget_born")
        self.lost = True
        return True


# ------------------------------------------------------------------------------------- clients that share


def client(box: Sandbox, budget: BudgetStore, **settings: object) -> HighLevel:
    place = {"base_url": box.url, "location_id": box.location_id}
    return HighLevel(
        PrivateToken(box.token), budget=budget, governor=GovernorPolicy(reserve=0), **place, **settings
    )  # type: ignore[arg-type]


async def bulk(hl: HighLevel, calls: int) -> None:
    estimates = hl.location().with_options(lane=Lane.BULK).estimates
    await asyncio.gather(*(estimates.generate_number() for _ in range(calls)))


async def test_two_clients_spend_one_budget_and_are_never_refused(place: str) -> None:
    async with Sandbox(rate_max=25, rate_interval=0.5, window="sliding") as box:
        database = Database(place)
        async with (
            client(box, PostgresBudget(database)) as one,
            client(box, PostgresBudget(database)) as two,
        ):
            await asyncio.gather(bulk(one, 40), bulk(two, 40))
            await one.location().estimates.generate_number()
            assert one.governor.scope((one.credentials.principal, box.location_id)).snapshot().max == 25
        assert [request.status for request in box.requests].count(429) == 0
        await database.aclose()


async def test_many_that_come_first_at_once_are_all_served(place: str) -> None:
    stores = [PostgresBudget(place) for _ in range(8)]
    for n in range(3):
        await execute(place, "truncate hl_async.budget, hl_async.budget_born")
        callers = [Caller(store, f"crowd/{n}/{k}") for k, store in enumerate(stores)]
        grants = await asyncio.gather(*(caller.ask(bulk=1) for caller in callers))
        assert len({grant.generation for grant in grants}) == 1
        assert all(grant.retry_bulk > 0 for grant in grants), "there was a store before"
    for store in stores:
        await store.aclose()
    await age(place)


async def test_closing_gives_back_what_was_booked_and_leaves_no_task(place: str) -> None:
    await execute(place, "delete from hl_async.budget")  # every sandbox has the same token
    async with Sandbox(rate_max=40, rate_interval=30.0) as box:
        hl = client(box, PostgresBudget(place))
        async with hl:
            calls = asyncio.create_task(bulk(hl, 200))
            async with asyncio.timeout(30):
                while box.count < 5:
                    await asyncio.sleep(0.01)
        await asyncio.gather(calls, return_exceptions=True)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [
            task for task in others if "hl_async" in repr(task.get_coro()) and "sandbox" not in repr(task)
        ]
        sent = len(box.requests)
        store = PostgresBudget(place)
        connection = await asyncpg.connect(place)
        scope = await connection.fetchval("select scope from hl_async.budget order by touched desc limit 1")
        await connection.close()
        grant = await Caller(store, scope, max=40, interval=30.0).ask()
        assert (grant.free, grant.others) == (40 - sent, 0)
        await store.aclose()


async def test_the_store_holds_no_token(place: str) -> None:
    async with Sandbox() as box:
        async with client(box, PostgresBudget(place)) as hl:
            await hl.location().estimates.generate_number()
        connection = await asyncpg.connect(place)
        rows = await connection.fetch("select scope, book from hl_async.budget")
        await connection.close()
        assert any(box.location_id in row["scope"] for row in rows)
        assert not any(box.token in row["scope"] or box.token.encode() in row["book"] for row in rows)


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


async def test_a_store_that_goes_away_is_announced_and_comes_back_by_itself(place: str) -> None:
    recorder = Recorder()
    async with Sandbox(rate_max=40, rate_interval=1.0) as box:
        database = Database(place)
        async with client(box, PostgresBudget(database), observers=[recorder]) as hl:
            shop = hl.location()
            await shop.estimates.generate_number()
            await execute(place, "alter table hl_async.budget rename to elsewhere")
            try:
                # within an eighth of the budget interactive calls go on, bulk waits
                await asyncio.gather(*(shop.estimates.generate_number() for _ in range(8)))
                waiting = asyncio.create_task(bulk(hl, 1))
                await asyncio.sleep(0.15)
                assert not waiting.done()
            finally:
                await execute(place, "alter table hl_async.elsewhere rename to budget")
            await asyncio.wait_for(waiting, 5.0)
        told = [event for event in recorder.events if isinstance(event, BudgetStoreLost | BudgetStoreBack)]
        assert [type(event) for event in told] == [BudgetStoreLost, BudgetStoreBack]
        assert "elsewhere" not in str(told[0])
        assert [request.status for request in box.requests].count(429) == 0
        await database.aclose()


async def test_a_database_that_is_not_there_is_an_error_of_its_own(tmp_path: Path) -> None:
    store = PostgresBudget(Secret(f"postgresql://me:s3ntinel-access@/app?host={tmp_path}"))
    with pytest.raises(BudgetStoreError, match="can't be reached"):
        await Caller(store, "scope").ask()
    await store.aclose()
    assert repr(store) == "<PostgresBudget local/app>"
    with pytest.raises(ConfigurationError, match="postgresql://"):
        PostgresBudget("mysql://x")


async def test_a_budget_goes_to_the_governor_that_is_passed_in() -> None:
    with pytest.raises(ConfigurationError, match="governor that is passed in"):
        HighLevel(TOKEN, governor=Governor(), budget=MemoryBudget())


async def test_clients_of_one_process_share_a_budget_in_memory() -> None:
    budget = MemoryBudget()
    async with Sandbox(rate_max=20, rate_interval=0.4, window="sliding") as box:
        config = ClientConfig(timeouts=Timeouts(attempt=1.0))
        async with client(box, budget, config=config) as one, client(box, budget, config=config) as two:
            await asyncio.gather(bulk(one, 20), bulk(two, 20))
        assert [request.status for request in box.requests].count(429) == 0
    assert "1 scopes" in repr(budget)
