"""A dlt destination: rows of any dlt source become estimates, each once.

Needs `pip install dlt hl-async`, and HL_TOKEN and HL_LOCATION_ID in the environment.

dlt repeats a batch whose end it did not see, and the API has no idempotency keys. The destination therefore only
collects documents, each key once, and the migration creates them through its journal: a run that is repeated after a
crash goes on where it was.
"""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import dlt

from hl_async import HighLevel
from hl_async.bulk import Document, DocumentCustomer, DocumentLine, encode_document, migrate, open_source

FILE: Final = Path("documents.ndjson")


def document_of(row: dict[str, Any]) -> Document:
    """Return the document of one row; the names on the right are those of the source."""
    return Document(
        source_id=str(row["id"]),
        currency=row["currency"],
        customer=DocumentCustomer(name=row["customer"], email=row["email"]),
        lines=[DocumentLine(name=row["title"], amount=Decimal(str(row["amount"])))],
        total=Decimal(str(row["amount"])),
    )


@dlt.destination(batch_size=100, name="highlevel", loader_parallelism_strategy="sequential")
def documents(items: Any, table: Any) -> None:
    """Collect a batch; what an earlier attempt of it collected already is left out."""
    known = set()
    if FILE.exists():
        known = {json.loads(line)["source_id"] for line in FILE.read_text("utf-8").splitlines()}
    with FILE.open("ab") as file:
        for row in items:
            made = document_of(row)
            if made.source_id not in known:
                file.write(encode_document(made) + b"\n")


@dlt.resource(name="quotes", primary_key="id")
def quotes() -> Any:
    """The source: any resource of dlt, a REST API or a database."""
    yield {
        "id": 1,
        "currency": "USD",
        "customer": "Alex",
        "email": "alex@example.com",
        "title": "Deck",
        "amount": "9400.00",  # text stays exact, and one type per column keeps dlt from splitting it
    }
    yield {
        "id": 2,
        "currency": "USD",
        "customer": "Robin",
        "email": "",
        "title": "Stairs",
        "amount": "149.95",
    }


async def create() -> None:
    """Create the collected documents; the same call continues after a crash."""
    source = await asyncio.to_thread(open_source, [FILE], pairs=["contact_id=c6tZWq1n0uEh8Rk2Lm4p"])
    async with HighLevel.from_env() as hl:
        report = await migrate(hl, source)
    print(f"{report.state}: {report.created} created, {report.rejected} rejected")


if __name__ == "__main__":
    print(dlt.pipeline("quotes", destination=documents).run(quotes()))
    asyncio.run(create())
