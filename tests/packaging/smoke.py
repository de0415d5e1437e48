"""Run by .ci/packages from an installed wheel alone: ``python smoke.py EXTRA``. Prints one line, or fails."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path

import aiohttp

import hl_async
from hl_async.models import ContactDetails, EstimateDraft, LineItem
from hl_async.sandbox import Sandbox


async def one_estimate() -> str:
    async with (
        Sandbox() as box,
        hl_async.HighLevel(box.token, base_url=box.url, location_id=box.location_id) as hl,
    ):
        contact = ContactDetails(id="c1", name="Alex", phone_no="+12145596993", email="alex@example.com")
        line = LineItem(name="Cabinets", currency="USD", amount=Decimal("9.99"), qty=3)
        shop = hl.location()
        made = await shop.estimates.create(
            EstimateDraft(
                name="Kitchen",
                currency="USD",
                expiry_date=date(2040, 1, 1),
                contact_details=contact,
                items=[line],
            )
        )
        listed = [one.id async for one in shop.estimates.list()]
        assert listed == [made.id]
        assert made.total == Decimal("29.97")
        return str(made.total)


def nothing() -> None:
    from hl_async.cli import main

    assert importlib.util.find_spec("click") is None
    package = Path(hl_async.__file__).parent
    assert all((package / name).is_file() for name in ("SKILL.md", "llms.txt", "py.typed"))
    try:
        main()
    except SystemExit as end:
        assert end.code == 1  # and says which extra is missing


def cli() -> None:
    from hl_async.cli.app import run

    assert run(["--version"]) == 0
    assert run(["call", "--list"]) == 0
    assert run(["completion", "bash"]) == 0


def demo() -> None:
    from hl_async.cli.app import run

    cli()
    assert run(["demo", "--keep", "demo"]) == 0
    assert Path("demo").is_dir()


def speedups() -> None:
    import uvloop

    from hl_async.transport.bodies import CODINGS

    assert "zstd" in CODINGS
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(one_estimate()) == "29.97"


def sandbox() -> None:
    async def look() -> str:
        async with Sandbox() as box, aiohttp.ClientSession() as browser:
            async with browser.get(f"{box.url}/_console/") as answer:
                return await answer.text()

    assert "What to do next" in asyncio.run(look())


def xlsx() -> None:
    import openpyxl

    from hl_async.bulk import Mapping, SourceItem, read_source

    book = openpyxl.Workbook()
    for row in (("No", "Item", "Price"), ("A-1", "Oak", 9.99)):
        book.active.append(row)
    book.save("t.xlsx")
    Path("m.toml").write_text(
        '[document]\ngroup_by = "No"\nname = "{No}"\ncurrency = "USD"\nexpiry_date = "2040-01-01"\n'
        '[contact]\nid = "c"\nname = "A"\n[line]\nname = "{Item}"\namount = "{Price}"\nqty = "1"\n'
    )
    (item,) = read_source(Path("t.xlsx"), Mapping.load(Path("m.toml")))
    assert isinstance(item, SourceItem), item


def webhooks() -> None:
    from hl_async.errors import SignatureMissing
    from hl_async.webhooks import verify

    try:
        verify(b"{}", {})
    except SignatureMissing:
        return
    raise AssertionError("a delivery without a signature was accepted")


def postgres() -> None:
    from hl_async.bulk.journals.postgres import PostgresJournals
    from hl_async.storage.postgres import Database

    database = Database("postgresql://nobody:secret@127.0.0.1:1/none", patience=0.0)
    for made in (hl_async.PostgresTokenStore(database), hl_async.PostgresBudget(database)):
        assert "secret" not in repr(made)
    try:
        asyncio.run(PostgresJournals(database, "run").exists())
    except hl_async.HighLevelError as error:
        assert "can't be reached" in str(error), error
    else:
        raise AssertionError("a database that is not there was reached")


def dbos() -> None:
    from dbos import DBOS

    from hl_async.bulk.workers.dbos import DbosEngine

    postgres()
    assert "nobody" not in repr(DbosEngine("postgresql://nobody@127.0.0.1:1/none", asyncio.Event(), name="w"))
    assert DBOS.enqueue_workflow_with_options_async


def sql() -> None:
    from hl_async.bulk import SourceItem, SourceSettings, read_sql

    Path("q.csv").write_text("No,Item,Price\nA-1,Oak,9.99\n")
    query = "SELECT No AS source_id, Item AS line_name, Price AS line_amount FROM q"
    (item,) = read_sql(query, [Path("q.csv")], SourceSettings(currency="USD", contact_id="c"))
    assert isinstance(item, SourceItem), item


def everything() -> None:
    for check in (cli, sandbox, speedups, sql, xlsx, webhooks, dbos):
        check()


CHECKS: dict[str, Callable[[], None]] = {
    "nothing": nothing,
    "cli": demo,
    "sandbox": sandbox,
    "speedups": speedups,
    "sql": sql,
    "xlsx": xlsx,
    "webhooks": webhooks,
    "postgres": postgres,
    "dbos": dbos,
    "all": everything,
    "lowest": everything,
}

if __name__ == "__main__":
    extra = sys.argv[1]
    home = Path(hl_async.__file__).parent
    assert (home / "py.typed").exists()
    assert Path.cwd() not in home.parents
    total = asyncio.run(one_estimate())
    sys.stdout, shown = sys.stderr, sys.stdout
    CHECKS.get(extra, lambda: None)()
    print(f"hl-async {hl_async.__version__} with {extra}: {total}", file=shown)
