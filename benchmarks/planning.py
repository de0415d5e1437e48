"""Planning: documents per second of CPU through a mapping and through SQL, and how memory grows with the source.

Each measurement is a process of its own, so that its peak memory is its own. A document has two lines, a customer, dates, a
tax and a total of its own that is compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import bars

WAYS = ("mapping", "sql")
FEW, MANY = 20_000, 100_000
BAR = 10_000
ROOM = 100.0
"""MB that five times as many documents may take more."""

MAPPING = """
[document]
group_by = "Order"
name = "Order {Order}"
title = "Quote"
currency = "USD"
issue_date = "{Date}"
expiry_days = 30
total = "{Total}"
[contact]
id = "c1"
name = "{Customer}"
email = "{Email}"
[line]
name = "{Item}"
amount = "{Price}"
qty = "{Qty}"
tax_rate = "{Tax}"
"""
QUERY = """
SELECT "Order" AS source_id, _line AS place, 'Order ' || "Order" AS name, 'Quote' AS title, 'USD' AS currency, "Date" AS issue_date,
  Total AS total, 'c1' AS customer_contact_id, Customer AS customer_name, Email AS customer_email, Item AS line_name, Price AS line_amount,
  Qty AS line_qty, Tax AS line_tax_rate
FROM orders
"""


def write(path: Path, documents: int) -> None:
    """An export of so many documents."""
    with path.open("w", encoding="utf-8") as file:
        file.write("Order,Date,Customer,Email,Item,Price,Qty,Tax,Total\n")
        for n in range(documents):
            for line in range(2):
                file.write(
                    f"A-{n},2024-03-0{1 + n % 9},Alex {n % 500},a{n % 500}@example.com,Door {line},{10 + n % 900}.00,2,5,{(10 + n % 900) * 4 * 1.05:.2f}\n"
                )


def measure(way: str, folder: Path) -> dict[str, float]:
    """Read everything once, in this process."""
    import duckdb  # noqa: F401 - loading a library is no part of planning

    from hl_async.bulk import Mapping, SourceSettings, read_source
    from hl_async.bulk.sources.sql import read_sql

    path = folder / "orders.csv"
    (folder / "orders.toml").write_text(MAPPING, "utf-8")
    before = time.process_time()
    if way == "sql":
        reading = read_sql(QUERY, [path], SourceSettings())
    else:
        reading = read_source(path, Mapping.load(folder / "orders.toml"))
    for record in reading:
        assert record.total is not None, record
    seconds = time.process_time() - before
    assert reading.facts.compared == reading.facts.documents
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"documents": reading.facts.documents, "seconds": seconds, "peak": peak}


def run(way: str, documents: int) -> dict[str, float]:
    """Measure in a process of its own."""
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "orders.csv", documents)
        command = [sys.executable, "-m", "benchmarks.planning", "--measure", way, "--folder", name]
        found: dict[str, float] = json.loads(
            subprocess.run(command, check=True, capture_output=True, text=True).stdout
        )
        return found


def main() -> int:
    """Measure both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", choices=WAYS)
    parser.add_argument("--folder", type=Path)
    options, _ = parser.parse_known_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.folder)))
        return 0
    for way in WAYS:
        few, many = run(way, FEW), run(way, MANY)
        assert many["documents"] == MANY
        rate, growth = many["documents"] / many["seconds"], many["peak"] - few["peak"]
        print(
            f"{way:8} {rate:8,.0f} documents per second of CPU; peak {few['peak']:.0f} MB at {FEW:,}, {many['peak']:.0f} MB at {MANY:,}"
        )
        bars.TABLE.append(
            bars.Row(
                f"planning through {way}, two lines each", rate, BAR, "documents/s of CPU", at_least=True
            )
        )
        bars.TABLE.append(
            bars.Row(
                f"memory of planning through {way}, {MANY:,} documents against {FEW:,}", growth, ROOM, "MB"
            )
        )
    return 0 if all(row.held for row in bars.TABLE if "planning" in row.what) else 1


if __name__ == "__main__":
    sys.exit(main())
