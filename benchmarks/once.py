"""One contact per person and one estimate per key: several processes, the fault mix, SIGKILLs.

``--calls 1000 --people 300 --known 100 --processes 4`` for contacts; ``--pairs 500 --deaths 40`` for estimates.
Contacts are run with duplicates allowed and not, with an exact look-up and with one that lags as the search does.
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
from hl_async import ClientConfig, GovernorPolicy, HighLevel, Once, RetryPolicy, SqliteStore, Timeouts
from hl_async.errors import AmbiguousContact, HighLevelError
from hl_async.models import ContactDetails, EstimateDraft, LineItem
from hl_async.sandbox import FaultPlan, NeighbourQuirks, Sandbox
from hl_async.testing.serving import served

LAG = 5.0
LATE = 0.8


def email(person: int) -> str:
    """The first address of a person."""
    return f"person{person}@example.com"


def phone(person: int) -> str:
    """The number of a person."""
    return f"+1214555{person:04d}"


def draft(key: str) -> EstimateDraft:
    """The estimate of a key, for a contact of its own."""
    contact = ContactDetails(id=f"contact-{key}", name="Alex", phone_no="+12145596993", email="")
    line = LineItem(name="Oak", currency="USD", amount=Decimal("9.99"), qty=Decimal(3))
    return EstimateDraft(
        name="Kitchen",
        currency="USD",
        expiry_date=date(2040, 1, 1),
        contact_details=contact,
        items=[line],
    )


# ------------------------------------------------------------------------------------- in a process of its own


def client(settle: float) -> HighLevel:
    """A client of the sandbox that the environment names."""
    return HighLevel(
        os.environ["HL_TOKEN"],
        base_url=os.environ["HL_BASE_URL"],
        location_id=os.environ["HL_LOCATION_ID"],
        config=ClientConfig(timeouts=Timeouts(attempt=2.0)),
        governor=GovernorPolicy(max=100_000, interval=0.2, linger=0.1),
        retry=RetryPolicy(base=0.01, cap=0.05),
        once=Once(SqliteStore(os.environ["ONCE_STORE"]), settle=settle, patience=2 * settle),
    )


async def ensure_all(calls: list[int], known: int, settle: float) -> Counter[str]:
    """Ensure the contact of each person; what ends in doubt is called again, as a queue would."""
    tally: Counter[str] = Counter()
    gate = asyncio.Semaphore(8)
    async with client(settle) as hl:
        contacts = hl.location().contacts

        async def one(person: int, dice: random.Random) -> None:
            address = email(person)
            if person < known and dice.random() < 0.3:
                address = f"second-{address}"
            number = {"phone": phone(person)} if dice.random() < 0.6 else {}
            async with gate:
                for _ in range(20):
                    try:
                        found = await contacts.ensure(
                            email=address, first_name="Somebody", source="form", **number
                        )
                    except AmbiguousContact:
                        raise
                    except HighLevelError as error:
                        tally[f"again after {type(error).__name__}"] += 1
                        continue
                    tally["created" if found.created else "found"] += 1
                    return
                tally["GAVE UP"] += 1

        await asyncio.gather(*(one(who, random.Random(f"{n}:{who}")) for n, who in enumerate(calls)))
    return tally


async def create_all(keys: list[str], done: Path, settle: float) -> Counter[str]:
    """Create the estimate of each key; a line in ``done`` for each one, so that a killed process goes on."""
    tally: Counter[str] = Counter()
    gate = asyncio.Semaphore(8)
    async with client(settle) as hl:
        estimates = hl.location().estimates
        with done.open("a") as log:

            async def one(key: str) -> None:
                async with gate:
                    for _ in range(20):
                        try:
                            made = await estimates.create(draft(key), once=key)
                        except HighLevelError as error:
                            tally[f"again after {type(error).__name__}"] += 1
                            continue
                        log.write(f"{key} {made.id}\n")
                        log.flush()
                        return
                    tally["GAVE UP"] += 1

            await asyncio.gather(*(one(key) for key in keys))
    return tally


def work(order: dict[str, Any]) -> None:
    """Carry out an order of the parent."""
    if order["job"] == "ensure":
        tally = asyncio.run(ensure_all(order["calls"], order["known"], order["settle"]))
    else:
        done = Path(order["done"])
        seen = {line.split()[0] for line in done.read_text().splitlines() if line.count(" ") == 1}
        tally = asyncio.run(create_all([k for k in order["keys"] if k not in seen], done, order["settle"]))
    print(json.dumps(tally))


# ------------------------------------------------------------------------------------------------ the parent


class Workers:
    """Processes that work against one sandbox and share one store."""

    def __init__(self, box: Sandbox, folder: Path) -> None:
        self._environment = {
            **os.environ,
            "HL_BASE_URL": box.url,
            "HL_TOKEN": box.token,
            "HL_LOCATION_ID": box.location_id,
            "ONCE_STORE": str(folder / "once.db"),
        }

    def start(self, order: dict[str, Any]) -> subprocess.Popen[str]:
        """Start a process with an order."""
        command = [sys.executable, "-m", "benchmarks.once", "--order", json.dumps(order)]
        return subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, text=True)


def faults(seed: int) -> FaultPlan:
    """The fault mix; late commits come ``LATE`` seconds after the answer was lost."""
    plan = FaultPlan("migration", seed)
    plan.times.late, plan.times.retry_after = LATE, 0.05
    return plan


def contacts(
    calls: int, people: int, known: int, processes: int, seed: int, *, duplicates: bool, lagging: bool
) -> dict[str, Any]:
    """Ensure people from several processes; what is in the sandbox afterwards."""
    quirks = NeighbourQuirks(duplicates_allowed=duplicates, index_lag=LAG, lookup_lags=lagging)
    dice = random.Random(seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        served(faults=faults(seed), contacts=quirks, rate_max=100_000, rate_interval=0.2) as box,
    ):
        state = box.neighbours.of(box.location_id)
        for person in range(known):
            contact_id = box.neighbours.new_id("old")
            state.contacts[contact_id] = {
                "id": contact_id,
                "email": email(person),
                "additionalEmails": [{"email": f"second-{email(person)}"}],
                "tags": ["vip", f"no{person}"],
                "customFields": [],
                "firstName": "Known",
                "locationId": box.location_id,
            }
            box.neighbours.index(state, contact_id)
        box.clock.advance(2 * LAG)  # they have been there for long
        before = {one["id"]: _identity(one) for one in state.contacts.values()}
        whom = [n % people for n in range(calls)]
        dice.shuffle(whom)
        settle = LAG + LATE + 1.0 if lagging else 2 * LATE + 0.5
        workers = Workers(box, Path(folder))
        began = time.perf_counter()
        running = [
            workers.start({"job": "ensure", "calls": whom[n::processes], "known": known, "settle": settle})
            for n in range(processes)
        ]
        tally: Counter[str] = Counter()
        for one in running:
            out, _ = one.communicate(timeout=1200)
            tally.update(json.loads(out.splitlines()[-1]) if one.returncode == 0 else {"CRASHED": 1})
        return {
            "contacts": len(state.contacts),
            "changed": sum(_identity(state.contacts[one]) != was for one, was in before.items()),
            "people": len({one["email"] for one in state.contacts.values()}),
            "seconds": time.perf_counter() - began,
            "requests": box.count,
            "faults": sum(box.faults.injected.values()),
            "tally": dict(tally),
        }


def _identity(contact: dict[str, Any]) -> str:
    kept = ("email", "additionalEmails", "tags", "firstName")
    return json.dumps([contact.get(name) for name in kept])


def estimates(pairs: int, deaths: int, seed: int) -> dict[str, Any]:
    """Create the same keys from two processes that are killed again and again."""
    dice = random.Random(seed)
    keys = [f"form-{n:04d}" for n in range(pairs)]
    settle = 2 * LATE + 0.5
    with (
        tempfile.TemporaryDirectory() as folder,
        served(faults=faults(seed), rate_max=100_000, rate_interval=0.2) as box,
    ):
        workers = Workers(box, Path(folder))
        logs = [Path(folder) / f"done{n}" for n in range(2)]
        orders = [{"job": "create", "keys": keys, "done": str(log), "settle": settle} for log in logs]
        for log in logs:
            log.touch()
        began = time.perf_counter()
        running = [workers.start(order) for order in orders]
        killed = 0
        while any(one.poll() is None for one in running):
            time.sleep(0.5 + dice.random())
            victim = dice.randrange(2)
            if killed < deaths and running[victim].poll() is None:
                running[victim].kill()
                running[victim].communicate()
                killed += 1
                running[victim] = workers.start(orders[victim])
        tally: Counter[str] = Counter()
        for one in running:
            out, _ = one.communicate()
            tally.update(json.loads(out.splitlines()[-1]) if one.returncode == 0 else {"CRASHED": 1})
        answers: dict[str, set[str]] = {}
        for log in logs:
            for line in log.read_text().splitlines():
                key, made = line.split()
                answers.setdefault(key, set()).add(made)
        there = box.ledger.estimates(box.location_id)
        return {
            "estimates": len(there),
            "keys": len({one["meta"]["hl_async"]["once"] for one in there}),
            "answered": len(answers),
            "disagree": sum(len(made) != 1 for made in answers.values()),
            "killed": killed,
            "seconds": time.perf_counter() - began,
            "requests": box.count,
            "faults": sum(box.faults.injected.values()),
            "tally": dict(tally),
        }


def main() -> int:
    """Run them; exit 1 when anything was doubled, lost or changed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--order")
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--known", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--deaths", type=int, default=40)
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args()
    if options.order:
        work(json.loads(options.order))
        return 0
    good = True
    for duplicates in (False, True):
        for lagging in (False, True):
            seen = contacts(
                options.calls, options.people, options.known, options.processes, options.seed,
                duplicates=duplicates, lagging=lagging,
            )  # fmt: skip
            name = f"duplicates {'allowed' if duplicates else 'refused'}, look-up {'lags' if lagging else 'exact'}"
            print(f"{name}: {json.dumps(seen)}")
            good &= note(
                Row(f"contacts of {options.people} people, {name}", seen["contacts"], options.people, "")
            )
            good &= note(
                Row(f"people with a contact, {name}", seen["people"], options.people, "", at_least=True)
            )
            good &= note(Row(f"known contacts that changed, {name}", seen["changed"], 0, ""))
            good &= not {"GAVE UP", "CRASHED"} & set(seen["tally"])
    seen = estimates(options.pairs, options.deaths, options.seed)
    print(f"estimates: {json.dumps(seen)}")
    good &= note(
        Row(
            f"estimates of {options.pairs} keys, {seen['killed']} kills", seen["estimates"], options.pairs, ""
        )
    )
    good &= note(Row("keys with an estimate", seen["keys"], options.pairs, "", at_least=True))
    good &= note(Row("keys whose callers got different estimates", seen["disagree"], 0, ""))
    good &= not {"GAVE UP", "CRASHED"} & set(seen["tally"])
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
