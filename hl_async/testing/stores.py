"""The contract of a token store as tests, for a store of your own.

Subclass :class:`TokenStoreContract` in a test module, define ``open_store``, and run pytest::

    class TestMyStore(TokenStoreContract):
        async def open_store(self):
            return MyStore(await connect(DATABASE_URL))

Every test opens stores in an event loop of its own. So drivers that belong to one loop work, and no asyncio plugin is
needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from hl_async.auth.stores.base import Stored, TokenStore

NAME = "app/location/ve9EPM428h8vShlRW1KT"
OTHER = "app/location/6578278e879ad2646715ba9c"


class TokenStoreContract:
    """One test per promise of :class:`~hl_async.auth.TokenStore`.

    Each test calls ``open_store`` once and expects an empty store. Some also call ``open_again``, for another store on
    the same data. ``clear`` runs at the end of a test that passed, while its store is still open.
    """

    async def open_store(self) -> TokenStore:
        """Return an open, empty store. Override it."""
        raise NotImplementedError("override open_store, and return an open, empty store")

    async def open_again(self) -> TokenStore | None:
        """Return another store on the data of the last ``open_store``.

        It stands for another process. None, the default, skips these checks for stores that share no data.
        """
        return None

    async def clear(self, store: TokenStore) -> None:
        """Delete all entries of a store."""
        for name in await store.names(""):
            entry = await store.load(name)
            if entry is not None:
                await store.delete(name, entry.version)

    # ------------------------------------------------------------------------------ entries

    def test_what_was_never_saved_is_none(self) -> None:
        async def check(store: TokenStore) -> None:
            assert await store.load(NAME) is None
            assert await store.names("") == []
            assert not await store.delete(NAME, 0)
            assert not await store.delete(NAME, 1)

        self._run(check)

    def test_an_entry_comes_back_byte_for_byte_and_counts_its_writes(self) -> None:
        async def check(store: TokenStore) -> None:
            # Entries may be encrypted bytes, which a store that decodes text would damage.
            for version, data in enumerate((b"", b"\x00\xff\n", b"x" * 20_000)):
                assert await store.save(NAME, data, version) is True
                assert await store.load(NAME) == Stored(version + 1, data)

        self._run(check)

    def test_a_write_that_names_another_version_changes_nothing(self) -> None:
        async def check(store: TokenStore) -> None:
            # Otherwise an outdated write would overwrite the only valid refresh token.
            assert await store.save(NAME, b"one", 1) is False
            assert await store.load(NAME) is None
            assert await store.save(NAME, b"one", 0)
            for wrong in (0, 2, 7):
                assert await store.save(NAME, b"two", wrong) is False
            assert await store.load(NAME) == Stored(1, b"one")

        self._run(check)

    def test_of_many_writers_at_once_one_wins(self) -> None:
        async def check(store: TokenStore) -> None:
            # When a token expires, several processes may refresh it at the same moment.
            for version in (0, 1):
                wins = await asyncio.gather(*(store.save(NAME, b"%d" % n, version) for n in range(20)))
                assert sum(wins) == 1
                entry = await store.load(NAME)
                assert entry == Stored(version + 1, b"%d" % wins.index(True))

        self._run(check)

    def test_a_delete_names_the_version_too(self) -> None:
        async def check(store: TokenStore) -> None:
            assert await store.save(NAME, b"one", 0)
            # A logout must not remove the tokens of a login that happened in between.
            assert not await store.delete(NAME, 0)
            assert not await store.delete(NAME, 2)
            assert await store.load(NAME) == Stored(1, b"one")
            assert await store.delete(NAME, 1)
            assert await store.load(NAME) is None
            assert await store.save(NAME, b"again", 0)
            assert await store.load(NAME) == Stored(1, b"again")

        self._run(check)

    def test_names_are_found_by_their_beginning_taken_literally(self) -> None:
        async def check(store: TokenStore) -> None:
            # Percent sign and underscore are wildcards of LIKE in SQL.
            names = ["a%p/location/1", "a_p/location/2", "app/Location/3", "app/company/4", "app/location/5"]
            for name in reversed(names):
                assert await store.save(name, b"-", 0)
            assert await store.names("") == sorted(names)
            assert await store.names("app/location/") == ["app/location/5"]
            assert await store.names("a_") == ["a_p/location/2"]
            assert await store.names("a%p") == ["a%p/location/1"]
            assert await store.names("nobody") == []

        self._run(check)

    def test_another_process_sees_what_was_saved(self) -> None:
        async def check(store: TokenStore) -> None:
            async with self._another() as second:
                if second is None:
                    return
                assert await store.save(NAME, b"one", 0)
                assert await second.load(NAME) == Stored(1, b"one")
                assert await second.save(NAME, b"two", 1)
                assert await store.save(NAME, b"lost", 1) is False
                assert await store.load(NAME) == Stored(2, b"two")

        self._run(check)

    # ------------------------------------------------------------------------------ the lock

    def test_the_lock_lets_one_in_at_a_time(self) -> None:
        async def check(store: TokenStore) -> None:
            async with self._another() as second:
                # A refresh token is valid once, so two refreshes at the same time could lose the installation.
                inside = most = 0

                async def enter(which: TokenStore) -> None:
                    nonlocal inside, most
                    async with which.locked(NAME):
                        inside += 1
                        most = max(most, inside)
                        await asyncio.sleep(0.002)
                        inside -= 1

                await asyncio.gather(*(enter(store if n % 2 else second or store) for n in range(10)))
                assert most == 1

        self._run(check)

    def test_entries_can_be_used_inside_the_lock_also_by_others(self) -> None:
        async def check(store: TokenStore) -> None:
            # The refresher reads and writes while it holds the lock, and others use other entries meanwhile.
            async with store.locked(NAME):
                assert await store.save(NAME, b"one", 0)
                assert await store.load(NAME) == Stored(1, b"one")
                assert await store.save(OTHER, b"two", 0)
                async with self._another() as second:
                    if second is not None:
                        assert await second.load(OTHER) == Stored(1, b"two")
            assert await store.load(NAME) == Stored(1, b"one")

        self._run(check)

    def test_what_was_saved_inside_the_lock_stays_whatever_ends_the_block(self) -> None:
        async def check(store: TokenStore) -> None:
            try:
                async with store.locked(NAME):
                    await store.save(NAME, b"kept", 0)
                    # The server has rotated the token by now, so undoing the write would restore a spent one.
                    raise LookupError
            except LookupError:
                pass
            assert await store.load(NAME) == Stored(1, b"kept")
            async with asyncio.timeout(10), store.locked(NAME):
                pass

        self._run(check)

    def test_a_waiter_that_gives_up_does_not_keep_the_lock(self) -> None:
        async def check(store: TokenStore) -> None:
            async def wait() -> None:
                async with store.locked(NAME):
                    raise AssertionError("the lock was held")

            async with store.locked(NAME):
                waiter = asyncio.create_task(wait())
                await asyncio.sleep(0.03)
                # A call may be cancelled while it waits for the refresh of another process.
                waiter.cancel()
                assert isinstance(
                    (await asyncio.gather(waiter, return_exceptions=True))[0], asyncio.CancelledError
                )
            async with asyncio.timeout(10), store.locked(NAME):
                pass

        self._run(check)

    # ------------------------------------------------------------------------------ life cycle

    def test_closing_twice_is_harmless(self) -> None:
        async def check(store: TokenStore) -> None:
            await store.aclose()
            await store.aclose()

        self._run(check, clear=False)

    # ------------------------------------------------------------------------------ the frame around a test

    def _run(self, check: Callable[[TokenStore], Awaitable[Any]], *, clear: bool = True) -> None:
        async def main() -> None:
            store = await self.open_store()
            try:
                await check(store)
                if clear:
                    await self.clear(store)
            finally:
                await store.aclose()

        asyncio.run(main())

    @asynccontextmanager
    async def _another(self) -> AsyncIterator[TokenStore | None]:
        second = await self.open_again()
        try:
            yield second
        finally:
            if second is not None:
                await second.aclose()
