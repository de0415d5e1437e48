"""A business moved whole under SIGKILLs: customers, estimates, invoices and payments, against a sandbox elsewhere.

One run creates both kinds; a quarter of the documents are estimates, and some invoices are marked as sent or voided.
Every contact, document, payment and marking once, and the amount due of each invoice equal to the source's. ``--documents``,
``--customers``, ``--payments``, ``--kills``, ``--seed``. Half of the customers are in the location before.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from benchmarks.bars import Row, note
from benchmarks.torture import COMMAND, control

WORKER = [sys.executable, "-m", "benchmarks.move", "--source"]


def documents_of(options: argparse.Namespace, dice: random.Random) -> list[Any]:
    """Return estimates, and invoices whose payments never exceed their totals."""
    from hl_async.bulk.sources.document import Document, DocumentCustomer, DocumentLine, DocumentPayment

    left = options.payments
    found = []
    for n in range(options.documents):
        person = n % options.customers
        qty, price = dice.randint(1, 9), Decimal(dice.randint(100, 99_999)) / 100
        due = qty * price
        payments = []
        is_estimate = n % 4 == 0
        invoices = sum(m % 4 > 0 for m in range(n, options.documents))
        share = 0.0 if is_estimate else left / invoices
        for _ in range(min(left, int(share) + (dice.random() < share % 1))):
            amount = min(due, Decimal(dice.randint(1, int(due * 100) // 2 or 1)) / 100)
            if amount > 0:
                payments.append(
                    DocumentPayment(
                        amount=amount, date=date(2026, 3, 1 + n % 28), mode="Check", reference=str(n)
                    )
                )
                due -= amount
        left -= len(payments)
        found.append(
            Document(
                source_id=str(n), kind="estimate" if is_estimate else "invoice", number=f"OLD-{n}",
                name=f"Document {n}", currency="USD",
                issue_date=date(2026, 1, 1 + n % 28), due_date=date(2026, 6, 1),
                customer=DocumentCustomer(name=f"Person {person}", email=f"p{person}@example.com"),
                lines=[DocumentLine(name="Work", amount=price, qty=Decimal(qty))], payments=payments,
                total=qty * price, amount_due=due, status=_status(n, is_estimate, bool(payments)),
            )
        )  # fmt: skip
    return found


def _status(n: int, is_estimate: bool, is_paid: bool) -> str:
    """Return the status of a document in the old system: of unpaid invoices some were sent, and some are void."""
    return "" if is_estimate or is_paid else {5: "void", 6: "sent"}.get(n % 8, "")


async def know(url: str, token: str, location: str, customers: int) -> None:
    """Create the contacts that are in the location before the move."""
    from hl_async import HighLevel, bulk_map
    from hl_async.models import ContactDraft

    async with HighLevel(token, base_url=url, location_id=location) as hl:
        drafts = [
            ContactDraft(name=f"Person {n}", email=f"p{n}@example.com", tags=["vip"])
            for n in range(0, customers, 2)
        ]
        async with bulk_map(hl.location().contacts.create, drafts, limit=20) as outcomes:
            async for outcome in outcomes:
                outcome.result()


async def migrate(source: Path) -> int:
    """Run or resume the move, as the process that is killed."""
    from hl_async import HighLevel, bulk
    from hl_async.bulk.sources.opening import open_source
    from hl_async.bulk.stages.customers import ContactPolicy
    from hl_async.bulk.stages.payments import PaymentPolicy
    from hl_async.bulk.stages.states import StatePolicy

    opened = await asyncio.to_thread(open_source, [source], pairs=["marks_sent=true"])
    async with HighLevel.from_env() as hl:
        report = await bulk.migrate(
            hl, opened, contacts=ContactPolicy(index_delay=0.6), payments=PaymentPolicy(allow_receipts=True),
            states=StatePolicy(sender="u1"), settle=0.8, attempt_timeout=0.6,
        )  # fmt: skip
    if report.state != "done":
        print(report.reason, file=sys.stderr)
        return 1
    payments = report.payments
    print(json.dumps({"created": report.created, "recorded": payments.recorded if payments else 0,
                      "reasons": payments.reasons if payments else {}}))  # fmt: skip
    return 0


def main() -> int:
    """Run it. Exit with 1 if anything was lost, doubled or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--customers", type=int, default=500)
    parser.add_argument("--payments", type=int, default=800)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--source", type=Path, help=argparse.SUPPRESS)
    options, _ = parser.parse_known_args()
    if options.source is not None:
        return asyncio.run(migrate(options.source))
    from hl_async.bulk.sources.document import encode_document

    dice = random.Random(options.seed)
    began = time.perf_counter()
    sandbox = subprocess.Popen(
        [*COMMAND, "sandbox", "--json", "--rate-max", "200", "--rate-interval", "1", "--faults", "migration",
         "--fault-seed", str(options.seed)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert sandbox.stdout is not None
    ready = json.loads(sandbox.stdout.readline())
    url, location = ready["url"], ready["location_id"]
    environment = {**os.environ, "HL_BASE_URL": url, "HL_TOKEN": ready["token"], "HL_LOCATION_ID": location}
    try:
        control(url, "faults", {"profile": "none"}, "PUT")
        asyncio.run(know(url, ready["token"], location, options.customers))
        control(url, "faults", {"profile": "migration", "times": {"late": 0.8}}, "PUT")
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "books.ndjson"
            documents = documents_of(options, dice)
            source.write_bytes(b"".join(encode_document(one) + b"\n" for one in documents))
            hit, report = killed([*WORKER, str(source)], environment, options.kills, dice)
            good = judge(url, location, documents, options)
            print(
                f"  {hit} SIGKILLs, seed {options.seed}, report {report}, {time.perf_counter() - began:.0f} s"
            )
    finally:
        sandbox.terminate()
        sandbox.wait(10)
    return 0 if good else 1


def killed(
    command: list[str], environment: dict[str, str], kills: int, dice: random.Random
) -> tuple[int, dict[str, Any]]:
    """Kill ``command`` at random moments, then let it end. Return the kills that hit, and its report."""
    hit = 0
    for _ in range(kills):
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(1.0 + dice.random())  # a start takes most of a second
        if process.poll() is not None:
            break
        hit += 1
        process.kill()
        process.wait()
    for _ in range(20):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode == 0:
            return hit, json.loads(done.stdout.splitlines()[-1])
    raise SystemExit(f"it never ended: {done.stderr}")


def judge(url: str, location: str, documents: list[Any], options: argparse.Namespace) -> bool:
    """Compare contacts, documents and sums in the sandbox with the source."""
    invoices = control(url, f"invoices?location={location}")
    made = [*control(url, f"estimates?location={location}"), *invoices]
    people = Counter(one["email"] for one in control(url, f"contacts?location={location}"))
    names = Counter(one["name"] for one in made)
    due = {one.name: one.amount_due for one in documents}
    doubled = sum(count - 1 for count in (*names.values(), *people.values()))
    lost = len(documents) - len(names) + options.customers - len(people)
    wrong = sum(Decimal(str(one["amountDue"])) != due.get(one["name"]) for one in invoices)
    totals = sum(Decimal(str(one["total"])) for one in made) == sum(one.total for one in documents)
    payments = sum(len(one.payments) for one in documents)
    goals = {one.name: one.status for one in documents if one.status}
    marked = {one["name"]: one for one in invoices if one["name"] in goals}
    wrong += sum(one["status"] != goals[name] or one.get("sentCount") != 1 for name, one in marked.items())
    note(
        Row(
            f"whole move under SIGKILLs, {len(documents):,} documents: lost, doubled, another due or state",
            lost + doubled + wrong,
            0,
            "",
        )
    )
    print(
        f"move: {len(documents):,} documents, {options.customers} customers, {payments} payments, {len(goals)} states: "
        f"lost {lost}, doubled {doubled}, amounts due or states that differ {wrong}, totals right: {totals}"
    )
    return not lost and not doubled and not wrong and totals


if __name__ == "__main__":
    sys.exit(main())
