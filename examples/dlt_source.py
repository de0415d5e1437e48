"""A dlt source: estimates, invoices and their lines, with what changed since the last run.

Needs `pip install 'dlt[duckdb]' hl-async`, and HL_TOKEN and HL_LOCATION_ID in the environment.

The API cannot ask for changes, so each run reads the lists, and dlt drops the rows that it has loaded. Rows of the last
two days are loaded again: a document that shifted across the edge of a page while one night's list was read is loaded
by the next. Deleted documents stay in the warehouse; `hl-async watch` reports them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import dlt

from hl_async.models import to_rows
from hl_async.sync import HighLevel

OVERLAP: Final = 2 * 24 * 3600
TYPES: Final = {
    "text": ("name", "title", "contact_id", "contact_name", "contact_email", "contact_phone", "line_description",
             "line_product_id"),
    "decimal": ("total", "amount_paid", "amount_due", "line_qty", "line_amount", "line_tax_rate"),
    "date": ("issue_date", "last_date"),
    "timestamp": ("created_at", "updated_at"),
}  # fmt: skip


def columns(per: str) -> Any:
    """Return the types of columns that may be empty in every row of a load."""
    return {
        name: {"data_type": kind, "nullable": True}
        for kind, names in TYPES.items()
        for name in names
        if per == "line" or not name.startswith("line_")
    }


def newer() -> Any:
    """Return the cursor of a table; a row without a time of its last update is always loaded."""
    return dlt.sources.incremental("updated_at", lag=OVERLAP, on_cursor_value_missing="include")


def rows(kind: str, per: Any) -> Iterator[dict[str, Any]]:
    """Yield the rows of a location."""
    with HighLevel.from_env() as hl:
        shop = hl.location()
        yield from to_rows(shop.estimates.list() if kind == "estimates" else shop.invoices.list(), per=per)


@dlt.source(name="highlevel")
def highlevel() -> Any:
    """Return four resources. A document replaces its row, and all of its lines."""
    for kind in ("estimates", "invoices"):

        @dlt.resource(name=kind, primary_key="id", write_disposition="merge", columns=columns("document"))
        def documents(updated_at: Any = newer(), kind: str = kind) -> Iterator[dict[str, Any]]:  # noqa: B008
            yield from rows(kind, "document")

        @dlt.resource(
            name=f"{kind}_lines",
            primary_key=("id", "line"),
            merge_key="id",
            write_disposition="merge",
            columns=columns("line"),
        )
        def lines(updated_at: Any = newer(), kind: str = kind) -> Iterator[dict[str, Any]]:  # noqa: B008
            yield from rows(kind, "line")

        yield documents
        yield lines


if __name__ == "__main__":
    pipeline = dlt.pipeline("highlevel", destination="duckdb", dataset_name="crm")
    print(pipeline.run(highlevel()))
