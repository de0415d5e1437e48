"""Token stores: the contract for each of ours, and what SQLite and encryption promise beyond it."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from base64 import b64encode
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from hl_async.auth import EncryptedStore, MemoryStore, SqliteStore, Stored, TokenStore
from hl_async.auth.stores.sqlite import RULES
from hl_async.errors import ConfigurationError, TokenStoreError
from hl_async.secret import Secret
from hl_async.testing.stores import NAME, OTHER, TokenStoreContract

OLD, NEW = bytes(range(32)), bytes(range(32, 64))
SECRET = b"s3ntinel-refresh-token"


class TestMemoryStore(TokenStoreContract):
    async def open_store(self) -> TokenStore:
        return MemoryStore()


class TestSqliteStore(TokenStoreContract):
    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "own" / "tokens.db"

    async def open_store(self) -> TokenStore:
        return SqliteStore(self.path)

    async def open_again(self) -> TokenStore:
        return SqliteStore(self.path)


class TestEncryptedStore(TestSqliteStore):
    async def open_store(self) -> TokenStore:
        return EncryptedStore(await super().open_store(), [NEW, OLD])

    async def open_again(self) -> TokenStore:
        return EncryptedStore(await super().open_again(), [NEW, OLD])


# ---------------------------------------------------------------------------------------- SQLite


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "own" / "tokens.db"


async def test_the_file_is_for_its_owner_alone(path: Path) -> None:
    store = SqliteStore(path)
    async with store.locked(NAME):
        await store.save(NAME, SECRET, 0)
    await store.aclose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert store.path == path and "tokens.db" in repr(store)


async def test_a_file_that_others_may_read_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o644)
    store = SqliteStore(path)
    with pytest.raises(TokenStoreError, match="mode 0644.*chmod 600"):
        await store.load(NAME)
    path.chmod(0o600)
    assert await store.load(NAME) is None  # mended without a new store
    await store.aclose()


async def test_entries_outlive_the_store_and_it_opens_again_by_itself(path: Path) -> None:
    store = SqliteStore(path)
    await store.save(NAME, SECRET, 0)
    await store.aclose()
    assert await store.load(NAME) == Stored(1, SECRET)
    await store.aclose()


async def test_what_was_replaced_or_removed_is_gone_from_the_file(path: Path) -> None:
    store = SqliteStore(path)
    await store.save(NAME, SECRET, 0)
    await store.save(NAME, b"other", 1)
    await store.save(OTHER, SECRET, 0)
    await store.delete(OTHER, 1)
    await store.aclose()
    files = [one for one in path.parent.rglob("*") if one.is_file()]
    assert all(SECRET not in one.read_bytes() for one in files)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"this is a letter, not a database at all" * 100, "damaged or not a database"),
        (b"SQLite format 3\x00" + b"\xff" * 5_000, "damaged|failed|cannot"),
    ],
)
async def test_a_damaged_file_is_said_to_be_damaged_and_left_alone(
    path: Path, content: bytes, problem: str
) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    store = SqliteStore(path)
    with pytest.raises(TokenStoreError, match=problem):
        await store.save(NAME, SECRET, 0)
    await store.aclose()
    assert path.read_bytes() == content


async def test_another_programs_database_is_not_taken_over(path: Path) -> None:
    path.parent.mkdir()
    path.touch(0o600)
    connection = sqlite3.connect(path)
    connection.execute("create table theirs (x)")
    connection.commit()
    connection.close()
    store = SqliteStore(path)
    with pytest.raises(TokenStoreError, match="another program"):
        await store.load(NAME)
    await store.aclose()


async def test_a_file_of_a_later_version_is_not_touched(path: Path) -> None:
    store = SqliteStore(path)
    await store.save(NAME, SECRET, 0)
    await store.aclose()
    connection = sqlite3.connect(path)
    connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(TokenStoreError, match="later version"):
        await store.load(NAME)
    await store.aclose()


def sqlite_error(path: Path, mode: str, *statements: str) -> sqlite3.Error:
    connection = sqlite3.connect(f"file:{path}?mode={mode}", uri=True, isolation_level=None)
    try:
        for statement in statements:
            connection.execute(statement)
    except sqlite3.Error as error:
        return error
    finally:
        connection.close()
    raise AssertionError("it worked")


async def test_what_sqlite_says_is_explained_to_the_person_who_has_to_mend_it(path: Path) -> None:
    store = SqliteStore(path)
    await store.save(NAME, SECRET, 0)
    await store.aclose()
    write = "insert into entry values ('x', 1, zeroblob(500000))"
    assert "is read-only; nothing was refreshed" in RULES.explain(sqlite_error(path, "ro", write))
    assert "the disk is full" in RULES.explain(sqlite_error(path, "rw", "pragma max_page_count = 4", write))
    assert "check the path" in RULES.explain(sqlite_error(path, "rw", "select nonsense"))
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    busy = sqlite_error(path, "rw", "pragma busy_timeout = 1", write)
    holder.close()
    assert "locked by another program" in RULES.explain(busy)


async def test_a_folder_where_the_file_should_be_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    store = SqliteStore(path)
    with pytest.raises(TokenStoreError, match="tokens.db"):
        await store.load(NAME)
    await store.aclose()


async def test_a_lock_that_is_never_given_back_is_reported(path: Path) -> None:
    holder, waiter = SqliteStore(path), SqliteStore(path, lock_timeout=0.05)
    async with holder.locked(NAME):
        with pytest.raises(TokenStoreError, match="held the lock"):
            async with waiter.locked(NAME):
                pass
    await asyncio.gather(holder.aclose(), waiter.aclose())


async def test_where_no_lock_can_be_made_the_directory_is_named(path: Path) -> None:
    path.parent.mkdir()
    path.with_name("tokens.db.locks").write_text("in the way")
    store = SqliteStore(path)
    with pytest.raises(TokenStoreError, match="lock .* cannot be opened"):
        async with store.locked(NAME):
            pass
    await store.aclose()


async def test_a_caller_that_is_cancelled_does_not_undo_its_write(path: Path) -> None:
    store = SqliteStore(path)
    task = asyncio.create_task(store.save(NAME, SECRET, 0))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await store.load(NAME) == Stored(1, SECRET)
    await store.aclose()


# ---------------------------------------------------------------------------------------- encryption


async def test_what_is_stored_is_not_readable() -> None:
    inside = MemoryStore()
    await EncryptedStore(inside, [NEW]).save(NAME, SECRET, 0)
    stored = await inside.load(NAME)
    assert stored is not None and SECRET not in stored.data
    assert "EncryptedStore around" in repr(EncryptedStore(inside, [NEW])) and "bytes" in repr(stored)


async def test_keys_rotate_entry_by_entry() -> None:
    inside = MemoryStore()
    await EncryptedStore(inside, [OLD]).save(NAME, SECRET, 0)
    both = EncryptedStore(inside, [NEW, OLD])
    assert await both.load(NAME) == Stored(1, SECRET)
    await both.save(NAME, SECRET, 1)
    assert await EncryptedStore(inside, [NEW]).load(NAME) == Stored(2, SECRET)
    with pytest.raises(TokenStoreError, match="with another key"):
        await EncryptedStore(inside, [OLD]).load(NAME)


async def test_an_entry_can_be_neither_changed_nor_moved_to_another_location() -> None:
    inside = MemoryStore()
    store = EncryptedStore(inside, [NEW])
    await store.save(NAME, SECRET, 0)
    stored = await inside.load(NAME)
    assert stored is not None
    await inside.save(OTHER, stored.data, 0)
    with pytest.raises(TokenStoreError, match="was copied from another entry"):
        await store.load(OTHER)
    for place in range(len(stored.data)):
        changed = bytearray(stored.data)
        changed[place] ^= 1
        version = stored.version + place
        assert await inside.save(NAME, bytes(changed), version)
        with pytest.raises(TokenStoreError, match=r"was changed|is not encrypted"):
            await store.load(NAME)
    await inside.save(NAME, stored.data[: len(stored.data) // 2], stored.version + len(stored.data))
    with pytest.raises(TokenStoreError, match="was changed"):
        await store.load(NAME)


async def test_an_authentic_plaintext_that_is_not_an_entry_is_refused() -> None:
    inside = MemoryStore()
    await inside.save(NAME, b"fernet:" + Fernet(b64encode(NEW)).encrypt(SECRET), 0)
    with pytest.raises(TokenStoreError, match="does not decrypt"):
        await EncryptedStore(inside, [NEW]).load(NAME)


async def test_two_writes_of_the_same_entry_look_different() -> None:
    inside = MemoryStore()
    store = EncryptedStore(inside, [NEW])
    await store.save(NAME, SECRET, 0)
    first = await inside.load(NAME)
    await store.save(NAME, SECRET, 1)
    second = await inside.load(NAME)
    assert first is not None and second is not None and first.data != second.data


async def test_plain_entries_are_read_only_if_asked_for() -> None:
    inside = MemoryStore()
    await inside.save(NAME, SECRET, 0)
    with pytest.raises(TokenStoreError, match="is not encrypted"):
        await EncryptedStore(inside, [NEW]).load(NAME)
    assert await EncryptedStore(inside, [NEW], accept_plain=True).load(NAME) == Stored(1, SECRET)


@pytest.mark.parametrize(
    "key", [NEW, NEW.hex(), b64encode(NEW), b64encode(NEW).decode(), Secret(b64encode(NEW).decode())]
)
async def test_a_key_may_be_bytes_hexadecimal_or_base64(key: bytes | str | Secret) -> None:
    inside = MemoryStore()
    await EncryptedStore(inside, [NEW]).save(NAME, SECRET, 0)
    assert await EncryptedStore(inside, [key]).load(NAME) == Stored(1, SECRET)


async def test_keys_may_come_from_a_key_service() -> None:
    asked = []

    async def service() -> list[bytes]:
        asked.append(1)
        return [NEW]

    store = EncryptedStore(MemoryStore(), service)
    await store.save(NAME, SECRET, 0)
    assert await store.load(NAME) == Stored(1, SECRET)
    assert asked == [1]
    plain = EncryptedStore(MemoryStore(), lambda: [OLD])
    assert await plain.save(NAME, SECRET, 0)


@pytest.mark.parametrize(
    "keys", [[], [b"short"], ["not a key"], [""], NEW, [5], ["ä" * 64], [bytes(44)], [bytes(range(200, 240))]]
)
def test_a_bad_key_is_refused_at_once_and_not_printed(keys: object) -> None:
    with pytest.raises(ConfigurationError, match="keys: ") as caught:
        EncryptedStore(MemoryStore(), keys)  # type: ignore[arg-type]
    assert "not a key" not in str(caught.value)
