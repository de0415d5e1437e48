"""Files of tokens and documents are their owner's alone from the moment they exist."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from hl_async.auth.stores.sqlite import SqliteStore
from hl_async.storage.private_files import create_private, make_private_folder, open_private


@pytest.fixture(autouse=True)
def no_umask() -> Iterator[None]:
    """The mode must come from us: a umask of 0 hides nothing."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    with open_private(tmp_path / "rejects.csv", newline="") as file:
        file.write("näme\r\n")
        assert mode(tmp_path / "rejects.csv") == 0o600
    assert (tmp_path / "rejects.csv").read_bytes() == "näme\r\n".encode()
    with open_private(tmp_path / "export.bin", "xb") as file:
        file.write(b"\xff")
    assert mode(tmp_path / "export.bin") == 0o600
    create_private(tmp_path / "journal.db")
    assert mode(tmp_path / "journal.db") == 0o600


def test_a_file_that_exists_keeps_its_mode_and_content(tmp_path: Path) -> None:
    path = tmp_path / "shared.csv"
    path.write_text("kept")
    path.chmod(0o640)
    create_private(path)
    with open_private(path, "a") as file:
        file.write(" and more")
    assert (mode(path), path.read_text()) == (0o640, "kept and more")
    with pytest.raises(FileExistsError):
        open_private(path, "x")


def test_every_folder_that_is_made_is_closed_to_others(tmp_path: Path) -> None:
    deep = tmp_path / "state" / "hl_async" / "tokens"
    make_private_folder(deep)
    make_private_folder(deep)
    assert [mode(folder) for folder in (deep, deep.parent, deep.parent.parent)] == [0o700] * 3
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        make_private_folder(tmp_path / "file" / "below")


async def test_the_token_store_makes_its_folders_and_files_private(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "state" / "hl_async" / "tokens.db")
    async with store.locked("a"):
        await store.save("a", b"{}", 0)
    await store.aclose()
    made = {path.relative_to(tmp_path).as_posix(): mode(path) for path in tmp_path.rglob("*")}
    assert {name: bits for name, bits in made.items() if bits not in (0o600, 0o700)} == {}
    assert made["state"] == made["state/hl_async"] == made["state/hl_async/tokens.db.locks"] == 0o700
