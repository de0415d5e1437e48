"""The token store that the documentation shows keeps every promise of a store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from hl_async.auth import Stored, TokenStore
from hl_async.testing.stores import TokenStoreContract

_PAGE = Path(__file__).parents[2] / "docs" / "credentials.md"


@pytest.fixture(autouse=True)
def no_blocking_calls(no_blocking_calls: BlockBuster) -> None:
    """Not here: the fake Redis loads its Lua from the disk, in the loop."""
    no_blocking_calls.deactivate()


def documented_store() -> Any:
    code = next(
        block
        for block in re.findall(r"```python[^\n]*\n(.*?)```", _PAGE.read_text(), re.DOTALL)
        if "RedisStore:" in block
    )
    assert len(code.splitlines()) <= 30, "the page promises thirty lines"
    scope: dict[str, Any] = {"Stored": Stored}
    exec(compile(code, str(_PAGE), "exec"), scope)
    return scope["RedisStore"]


class TestDocumentedStore(TokenStoreContract):
    @pytest.fixture(autouse=True)
    def place(self) -> None:
        import fakeredis  # takes a second, which only this file needs

        self.server = fakeredis.FakeServer()
        self.kind = documented_store()

    async def open_store(self) -> TokenStore:
        import fakeredis

        store: TokenStore = self.kind(fakeredis.FakeAsyncRedis(server=self.server))
        return store

    async def open_again(self) -> TokenStore:
        return await self.open_store()
