"""Customers of a migration under faults and SIGKILLs, against a sandbox in another process.

Of the customers, some are in the location, some may be two contacts each, and the rest is new. The search shows changes
late. Every new one is created once, none twice, every ambiguous one is reported, and a rollback leaves those that were
there as they were. With duplicates allowed and not. ``--documents``, ``--customers``, ``--there``, ``--ambiguous``,
``--kills``, ``--lag``, ``--seed``.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import tempfile
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.bars import Row, note
from benchmarks.torture import COMMAND, control, killed
from hl_async.bulk.sources.document import Document, DocumentCustomer, DocumentLine, encode_document

_TIMES = ["--settle", "0.8", "--attempt-timeout", "0.6", "--json"]


def customer_of(n: int) -> DocumentCustomer:
    """Return customer ``n``, with an e-mail address and a phone number."""
    return DocumentCustomer(name=f"Customer {n}", email=f"customer{n}@example.com", phone=f"+1214555{n:04d}")


def write_source(path: Path, documents: int, customers: int) -> None:
    """Write documents, each of one of the customers."""
    with path.open("wb") as file:
        for n in range(documents):
            one = Document(
                source_id=f"Q-{n}",
                name=f"Quote {n}",
                currency="USD",
                customer=customer_of(n % customers),
                lines=[DocumentLine(name="Door", amount=Decimal(n % 90 + 10))],
            )
            file.write(encode_document(one) + b"\n")


def seed(url: str, token: str, location: str, there: int, ambiguous: int) -> None:
    """Put known customers into the location: one contact each, or two for the ambiguous ones."""
    people: list[dict[str, str]] = []
    for n in range(there):
        people.append({"name": f"Customer {n}", "email": f"customer{n}@example.com"})
    for n in range(there, there + ambiguous):
        # the e-mail address leads to one contact, and the phone number to another
        people.append({"name": f"First {n}", "email": f"customer{n}@example.com"})
        people.append({"name": f"Second {n}", "phone": f"+1214555{n:04d}"})
    headers = {
        "Authorization": f"Bearer {token}",
        "Version": "2021-07-28",
        "Content-Type": "application/json",
    }
    for person in people:
        body = json.dumps({"locationId": location, **person}).encode()
        for _ in range(100):
            try:
                urlopen(Request(f"{url}/contacts/", body, headers), timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                break


def contacts_of(url: str, location: str) -> dict[str, dict[str, Any]]:
    """Return the contacts of a location by id."""
    return {one["id"]: one for one in control(url, f"contacts?location={location}")}


def run(options: argparse.Namespace, *, allowed: bool) -> bool:
    """One migration and its rollback; whether everything was as it has to be."""
    dice = random.Random(options.seed)
    began = time.perf_counter()
    sandbox = subprocess.Popen(
        [*COMMAND, "sandbox", "--json", "--rate-max", "60", "--rate-interval", "1", "--fault-seed", str(options.seed)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sandbox.stdout is not None
    ready = json.loads(sandbox.stdout.readline())
    url, location = ready["url"], ready["location_id"]
    environment = {**os.environ, "HL_BASE_URL": url, "HL_TOKEN": ready["token"], "HL_LOCATION_ID": location}
    try:
        control(url, "contact-quirks", {"duplicates_allowed": allowed, "index_lag": options.lag}, "PUT")
        seed(url, ready["token"], location, options.there, options.ambiguous)
        time.sleep(options.lag)
        before = contacts_of(url, location)
        control(url, "faults", {"profile": "migration", "times": {"late": 0.8}}, "PUT")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "source.ndjson"
            write_source(source, options.documents, options.customers)
            command = [*COMMAND, "migrate", str(source), "--max-rejects", "100%", *_TIMES]
            hit, report = killed(command, environment, options.kills, dice)
            return judge(options, url, location, before, report, allowed, hit, began, source, environment)
    finally:
        sandbox.terminate()
        sandbox.wait(10)


def judge(
    options: argparse.Namespace,
    url: str,
    location: str,
    before: dict[str, dict[str, Any]],
    report: dict[str, Any],
    allowed: bool,
    hit: int,
    began: float,
    source: Path,
    environment: dict[str, str],
) -> bool:
    """Compare the location with the source, take the run back and compare again."""
    new = options.customers - options.there - options.ambiguous
    after = contacts_of(url, location)
    made = Counter(one.get("email") for one in after.values() if one["id"] not in before)
    twice = sum(number > 1 for number in made.values())
    estimates = control(url, f"estimates?location={location}")
    names = Counter(one["name"] for one in estimates)
    strangers = sum(one["contactDetails"]["id"] not in after for one in estimates)
    told = report["contacts"]["rejected"]
    wanted = sum(
        not options.there <= n % options.customers < options.there + options.ambiguous
        for n in range(options.documents)
    )
    touched = sum(after.get(one) != before[one] for one in before)
    back = [*COMMAND, "rollback", str(source) + ".hl.db", "--yes", "--json"]
    hit_back, undone = killed(
        back, environment, max(2, options.kills // 10), random.Random(options.seed), good=(0,)
    )
    left = contacts_of(url, location)
    untouched = left == before
    name = "allowed" if allowed else "refused"
    print(
        f"duplicates {name}: {options.documents} documents of {options.customers} customers, {hit} SIGKILLs: "
        f"{len(made)} of {new} created, {twice} twice, {told} of {options.ambiguous} reported, {len(names)} of {wanted} "
        f"documents, {sum(n > 1 for n in names.values())} twice, {strangers} without a contact, {touched} others touched; "
        f"rollback under {hit_back} SIGKILLs: {undone['state']}, {undone['contacts_deleted']} contacts deleted, the "
        f"{len(before)} others as they were: {untouched}; {time.perf_counter() - began:.0f} s"
    )
    wrong = (
        abs(len(made) - new) + twice + abs(told - options.ambiguous) + touched + strangers + (not untouched)
    )
    wrong += abs(len(names) - wanted) + sum(n > 1 for n in names.values())
    note(Row(f"contacts under SIGKILLs, duplicates {name}: lost, doubled or touched", wrong, 0, ""))
    return wrong == 0


def main() -> int:
    """Run both; exit 1 when anything was lost, doubled or touched."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--customers", type=int, default=300)
    parser.add_argument("--there", type=int, default=100)
    parser.add_argument("--ambiguous", type=int, default=20)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--lag", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args()
    good = [run(options, allowed=allowed) for allowed in (False, True)]
    return 0 if all(good) else 1


if __name__ == "__main__":
    raise SystemExit(main())
