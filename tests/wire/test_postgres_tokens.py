"""The token store in Postgres: the contract, and what it promises about locks and lost connections.

Against a Postgres that pip installs, or the server of ``HL_TEST_POSTGRES``.
"""

from __future__ import annotations

import asyncio
import os

import asyncpg
import pytest

from hl_async import HighLevel, OAuthApp, PostgresTokenStore, RefreshPolicy
from hl_async.auth import Stored, TokenStore
from hl_async.errors import ConfigurationError, TokenStoreError
from hl_async.sandbox import Sandbox
from hl_async.testing.stores import NAME, TokenStoreContract


def named(dsn: str, name: str) -> str:
    """``dsn`` for connections that can be told apart, so that nobody else's are ended on a server that is shared."""
    return f"{dsn}{'&' if '?' in dsn else '?'}application_name=hl-test-{os.getpid()}-{name}"


async def end_connections(dsn: str, name: str) -> None:
    killer = await asyncpg.connect(dsn)
    query = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1"
    assert await killer.fetch(query, f"hl-test-{os.getpid()}-{name}")
    await killer.close()


class TestPostgresTokenStore(TokenStoreContract):
    @pytest.fixture(autouse=True)
    def place(self, dsn: str) -> None:
        self.dsn = dsn

    async def open_store(self) -> TokenStore:
        store = PostgresTokenStore(self.dsn)
        await self.clear(store)
        return store

    async def open_again(self) -> TokenStore:
        return PostgresTokenStore(self.dsn)


async def test_one_refresh_for_all_who_share_the_database(dsn: str, box: Sandbox) -> None:
    registered = box.add_app()

    def make() -> OAuthApp:
        policy = RefreshPolicy(rejection_pause=0.0)
        return OAuthApp(
            registered.client_id, registered.client_secret, store=PostgresTokenStore(dsn), refresh=policy,
            redirect_uri="https://app.example/callback",
        )  # fmt: skip

    apps = [make() for _ in range(4)]
    clients = [HighLevel(app, base_url=box.url) for app in apps]
    for client in clients:
        await client.__aenter__()
    try:
        await apps[0].exchange_code(box.authorise(registered.client_id, box.location_id))
        for expiry in range(1, 6):
            box.tokens.expire()
            calls = [
                c.location(box.location_id).estimates.generate_number() for c in clients for _ in range(10)
            ]
            await asyncio.gather(*calls)
            assert box.tokens.refreshes == expiry
    finally:
        for client in clients:
            await client.aclose()


async def test_a_lock_ends_with_the_connection_of_its_holder(dsn: str) -> None:
    holder, waiter = PostgresTokenStore(named(dsn, "holder")), PostgresTokenStore(dsn, lock_timeout=5.0)
    reached, never = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with holder.locked(NAME):
            reached.set()
            await never.wait()

    task = asyncio.create_task(hold())
    await reached.wait()
    impatient = PostgresTokenStore(dsn, lock_timeout=0.1)
    with pytest.raises(TokenStoreError, match="held the lock"):
        async with impatient.locked(NAME):
            pass
    await impatient.aclose()
    await end_connections(dsn, "holder")
    async with waiter.locked(NAME):
        pass
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await asyncio.gather(holder.aclose(), waiter.aclose())


async def test_a_connection_that_was_lost_is_made_again(dsn: str) -> None:
    store = PostgresTokenStore(named(dsn, "lost"))
    assert await store.save("reconnect", b"one", 0)
    await end_connections(dsn, "lost")
    await asyncio.sleep(0.05)
    assert await store.load("reconnect") == Stored(1, b"one")
    assert await store.save("reconnect", b"one", 0), "a write that was done already, and is repeated, is done"
    assert not await store.save("reconnect", b"other", 0)
    assert await store.delete("reconnect", 1)
    await store.aclose()
    assert await store.load("reconnect") is None, "it opens again by itself"
    await store.aclose()


async def test_a_table_of_a_later_version_is_not_touched(dsn: str) -> None:
    store = PostgresTokenStore(dsn)
    await store.names("")
    await store.aclose()
    connection = await asyncpg.connect(dsn)
    await connection.execute("update hl_async.format set version = 99 where room = 'token'")
    try:
        with pytest.raises(TokenStoreError, match="later version"):
            await store.names("")
        await store.aclose()
    finally:
        await connection.execute("update hl_async.format set version = 1 where room = 'token'")
        await connection.close()


def test_the_address_is_checked_and_its_password_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="postgresql://"):
        PostgresTokenStore("mysql://x")
    assert (
        repr(PostgresTokenStore("postgresql://u:s3ntinel-access@db.example/app"))
        == "<PostgresTokenStore db.example/app>"
    )
