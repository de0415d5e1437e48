"""A Singer target: quotes of a tap become documents, one per line, which `hl-async migrate` takes.

    tap-quotes --config tap.json | python singer_target.py > documents.ndjson
    hl-async migrate documents.ndjson --set currency=USD

Reads SCHEMA, RECORD and STATE messages from stdin. A tap may repeat a record after a restart, so the last one of a key
counts. The last state goes to stderr, for the tap's next run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import Any, Final

from hl_async.bulk import Document, DocumentCustomer, DocumentLine, encode_document

STREAM: Final = "quotes"


def document_of(record: dict[str, Any]) -> Document:
    """Return the document of one record; the names on the right are those of the tap."""
    return Document(
        source_id=str(record["id"]),
        number=str(record["number"]),
        currency=record["currency"],
        issue_date=date.fromisoformat(record["created_at"][:10]),
        customer=DocumentCustomer(name=record["customer"]["name"], email=record["customer"]["email"]),
        lines=[
            DocumentLine(name=one["title"], amount=Decimal(one["price"]), qty=Decimal(one["quantity"]))
            for one in record["lines"]
        ],
        total=Decimal(record["total"]),
    )


def documents(messages: Iterable[str]) -> tuple[dict[str, Document], Any]:
    """Return the documents by key, and the last state."""
    found: dict[str, Document] = {}
    state = None
    for message in messages:
        # numbers stay text: a double would change amounts
        one = json.loads(message, parse_float=str, parse_int=str)
        if one["type"] == "RECORD" and one["stream"] == STREAM:
            made = document_of(one["record"])
            found[made.source_id] = made
        elif one["type"] == "STATE":
            state = one["value"]
    return found, state


if __name__ == "__main__":
    quotes, last = documents(sys.stdin)
    for quote in quotes.values():
        sys.stdout.buffer.write(encode_document(quote) + b"\n")
    print(json.dumps(last), file=sys.stderr)
