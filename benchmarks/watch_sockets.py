"""A watch over real sockets: the sandbox's rate limit, SIGKILLs, and interactive calls beside it.

The sandbox holds 100,000 estimates. A process of its own watches them with a fifth of the rate budget, on a SQLite file.
1,000 changes happen at random moments, and the process is killed and started again in between. Then interactive calls
are timed beside a watch and without one, turn about.

Time is scaled: the rate limit's interval, the times of the watch and the moments of the changes are divided by
``--speed``. Round trips, CPU and the disk are not, so they weigh more than in reality. Latencies are printed in seconds
of an unscaled location, which is measured seconds times the speed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.bars import Row, note
from hl_async import HighLevel
from hl_async.changes import ChangeFeed, FeedPolicy, SqliteCursors
from hl_async.operations import LIST_ESTIMATES
from hl_async.resources.changes import ListSource
from hl_async.resources.holder import requester_of
from hl_async.sandbox import Sandbox
from hl_async.sandbox.estimates import create
from hl_async.telemetry import AttemptStarted, Event
from hl_async.testing.serving import served

_SHARE: Final = 0.2
_MAX: Final = 100
_INTERVAL: Final = 10.0
_EVERY: Final = 5.0
_LEASE: Final = 20.0
_KILLS: Final = 8
_START: Final = 4.0
"""Seconds that a killed process may take to start again; the speed does not scale them."""
_STATUSES: Final = ("sent", "viewed", "accepted", "declined", "invoiced")
_BODY: Final = {
    "name": "Kitchen",
    "title": "Kitchen",
    "currency": "USD",
    "issueDate": "2026-01-15",
    "expiryDate": "2040-12-31",
    "contactDetails": {"id": "c6tZWq1n0uEh8Rk2Lm4p", "name": "Alex", "email": "alex@example.com"},
    "businessDetails": {"name": "Shop"},
    "discount": {"type": "percentage", "value": 0},
    "items": [{"name": "Cabinets", "currency": "USD", "amount": Decimal("9.99"), "qty": 3, "type": "one_time"}],
}  # fmt: skip


class Told(NamedTuple):
    """A change that the watch printed, and when."""

    at: float
    kind: str
    document_id: str


class Watching:
    """The watching process: started, listened to, killed. Blocking."""

    def __init__(self, box: Sandbox, cursor: Path, speed: float) -> None:
        self._command = [sys.executable, "-m", "benchmarks.watch_sockets", "--child", str(cursor), str(speed)]
        self._env = {
            **os.environ,
            "HL_TOKEN": box.token,
            "HL_BASE_URL": box.url,
            "HL_LOCATION_ID": box.location_id,
        }
        self.told: list[Told] = []
        self.peaks: list[float] = []
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None

    def start(self) -> None:
        """Start a process; what it prints is noted by a thread."""
        process = subprocess.Popen(self._command, env=self._env, stdout=subprocess.PIPE, text=True)

        def listen() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                found = json.loads(line)
                self.told.append(Told(time.monotonic(), found["kind"], found["document_id"]))

        self._process = process
        self._listener = threading.Thread(target=listen, daemon=True)
        self._listener.start()

    def megabytes(self, what: str = "VmRSS") -> float:
        """Return the resident memory of the process."""
        assert self._process is not None
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def kill(self) -> None:
        """Kill the process at whatever instruction it is."""
        assert self._process is not None
        assert self._listener is not None
        self.peaks.append(self.megabytes("VmHWM"))
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._listener.join()


def fill(box: Sandbox, count: int) -> list[str]:
    """Put estimates into the sandbox's state and return their ids."""
    place = box.ledger.places[box.location_id]
    template = create(box.ledger, place, _BODY)
    place.estimates.clear()
    for number in range(count):
        name = box.ledger.new_id()
        who = {**template["contactDetails"], "id": f"contact{number % 5_000}"}
        place.estimates[name] = {**template, "_id": name, "estimateNumber": number + 1, "contactDetails": who}
    return list(place.estimates)


class Changing:
    """Changes documents as people and customers do, and notes when."""

    def __init__(self, box: Sandbox, names: list[str], dice: random.Random) -> None:
        self._box = box
        self._place = box.ledger.places[box.location_id]
        self._dice = dice
        self._fresh = dice.sample(names, len(names) // 2)
        self.made: dict[tuple[str, str], float] = {}

    def one(self) -> None:
        """Make one change: mostly of a status, some edits, a few new and deleted documents."""
        what = self._dice.random()
        if what < 0.05:
            name, kind = create(self._box.ledger, self._place, _BODY)["_id"], "created"
        else:
            name = self._fresh.pop()
            document = self._place.estimates[name]
            if what < 0.07:
                kind = "deleted"
                del self._place.estimates[name]
            elif what < 0.25:
                kind = "edited"
                self._box.ledger.touch(document, name=f"Kitchen {what}")
            else:
                kind = self._dice.choice(_STATUSES)
                self._box.ledger.touch(document, estimateStatus=kind)
        self.made[name, kind] = time.monotonic()


class Outcome(NamedTuple):
    """What one run of changes and kills showed; waits in unscaled seconds."""

    missed: int
    wrong: int
    repeated: int
    waits: list[float]
    deletions: list[float]
    busiest: int
    refused: int
    one_pass: float
    learnt: float
    peaks: list[float]


def watch(count: int, changes: int, speed: float, seed: int, folder: Path) -> Outcome:
    """Play changes and kills against the sandbox."""
    dice = random.Random(seed)
    with served(rate_max=_MAX, rate_interval=_INTERVAL / speed) as box:
        names = fill(box, count)
        one_pass = count / 90 / (_SHARE * _MAX / _INTERVAL) / speed
        watching = Watching(box, folder / "watch.db", speed)
        watching.start()
        _until_learnt(box, count, one_pass)
        learnt = watching.megabytes("VmHWM")
        changing = Changing(box, names, dice)
        span = max(60.0 / speed, one_pass * 1.5)
        began = time.monotonic()
        events = sorted(
            [(dice.uniform(0, span), "change") for _ in range(changes)]
            + [(dice.uniform(0, span), "kill") for _ in range(_KILLS)]
        )
        for at, what in events:
            time.sleep(max(0.0, began + at - time.monotonic()))
            if what == "change":
                changing.one()
            else:
                watching.kill()
                watching.start()
        # A deletion takes three passes to be sure of. A busy machine makes them longer, so they are counted, not timed.
        done = len(_ends(box, count)) + 15  # at most three requests of a pass count
        limit = time.monotonic() + one_pass * 30 + 120
        while set(changing.made) - {told[1:][::-1] for told in watching.told} and time.monotonic() < limit:
            if len(_ends(box, count)) >= done:
                break
            time.sleep(0.5)
        watching.kill()
        return _outcome(box, watching, changing, speed, one_pass, learnt)


def _outcome(
    box: Sandbox, watching: Watching, changing: Changing, speed: float, one_pass: float, learnt: float
) -> Outcome:
    first: dict[tuple[str, str], float] = {}
    for told in watching.told:
        first.setdefault((told.document_id, told.kind), told.at)
    waits = {key: (first[key] - at) * speed for key, at in changing.made.items() if key in first}
    return Outcome(
        missed=len(changing.made) - len(waits),
        wrong=len(set(first) - set(changing.made)),
        repeated=len(watching.told) - len(first),
        waits=sorted(wait for (_, kind), wait in waits.items() if kind != "deleted"),
        deletions=sorted(wait for (_, kind), wait in waits.items() if kind == "deleted"),
        busiest=busiest([one.at for one in box.requests], _INTERVAL / speed),
        refused=box.refused,
        one_pass=one_pass * speed,
        learnt=learnt,
        peaks=watching.peaks,
    )


def _until_learnt(box: Sandbox, count: int, one_pass: float) -> None:
    """Wait until the first pass has read the end of the list."""
    limit = time.monotonic() + one_pass * 5 + 60
    while not any(int(one.query.get("offset", 0)) >= count - 100 for one in list(box.requests)[-3:]):
        if time.monotonic() > limit:
            raise RuntimeError("the first pass does not end")
        time.sleep(0.1)
    time.sleep(1.0)


def _ends(box: Sandbox, count: int) -> list[int]:
    """Return the requests that met the end of the list: one to three for each pass."""
    return [
        one.number
        for one in list(box.requests)
        if "contactId" not in one.query and int(one.query.get("offset", 0)) >= count - 20
    ]


def busiest(moments: Sequence[float], interval: float) -> int:
    """Return the most requests in any interval."""
    most = begin = 0
    for end, at in enumerate(moments):
        while moments[begin] <= at - interval:
            begin += 1
        most = max(most, end - begin + 1)
    return most


async def child(cursor: Path, speed: float) -> None:
    """Watch and print, until killed."""
    async with HighLevel.from_env() as hl:
        source = ListSource(requester_of(hl.location()), "estimates", LIST_ESTIMATES, None)
        policy = FeedPolicy(share=_SHARE, every=_EVERY / speed, lease=_LEASE / speed)
        async for change in ChangeFeed(source, SqliteCursors(cursor), policy):
            print(json.dumps({"kind": change.kind.value, "document_id": change.document_id}), flush=True)


# -------------------------------------------------------------------------------- calls beside a watch


class Waits:
    """Notes how long interactive calls wait for a slot."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_event(self, event: Event) -> None:
        """Take the waits of the calls that are timed."""
        if isinstance(event, AttemptStarted) and event.operation == "estimates.generate_number":
            self.seconds.append(event.waited)


async def beside(speed: float, calls: int, rounds: int, seed: int) -> dict[bool, list[float]]:
    """Time calls with and without a watch in one client, turn about; waits in unscaled milliseconds."""
    dice = random.Random(seed)
    found: dict[bool, list[float]] = {False: [], True: []}
    async with Sandbox(rate_max=_MAX, rate_interval=_INTERVAL / speed) as box:
        fill(box, 5_000)
        waits = Waits()
        async with HighLevel(
            box.token, base_url=box.url, location_id=box.location_id, observers=[waits]
        ) as hl:
            shop = hl.location()
            for turn in range(rounds * 2):
                is_watched = bool(turn % 2)
                feed = shop.estimates.changes(share=_SHARE, every=_EVERY / speed)
                reader = asyncio.create_task(_read(feed)) if is_watched else None
                await asyncio.sleep(_INTERVAL / speed)
                waits.seconds.clear()
                busy = 0.6 * _MAX / _INTERVAL * speed  # of the budget of which the watch may have a fifth
                for _ in range(calls):
                    await asyncio.sleep(dice.expovariate(busy))
                    await shop.estimates.generate_number()
                found[is_watched] += [seconds * speed * 1e3 for seconds in waits.seconds]
                feed.stop()
                if reader is not None:
                    await reader
    return found


async def _read(feed: ChangeFeed) -> None:
    async for _ in feed:
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was seen, and hold it against its bars."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["--child"]:
        asyncio.run(child(Path(given[1]), float(given[2])))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=100_000)
    parser.add_argument("--changes", type=int, default=1_000)
    parser.add_argument("--speed", type=float, default=20.0)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args(given)
    print(
        f"scaled by {options.speed:g}: {_MAX} requests per {_INTERVAL / options.speed:g} s in place of {_INTERVAL:g} s,"
        f" newest pages every {_EVERY / options.speed:g} s, leases of {_LEASE / options.speed:g} s"
    )
    with tempfile.TemporaryDirectory() as folder:
        found = watch(options.size, options.changes, options.speed, options.seed, Path(folder))
    held = _report(found, options.size, options.changes, options.speed)
    waits = asyncio.run(beside(options.speed, options.calls, 3, options.seed))
    alone, watched = (_middle_and_late(sorted(waits[which])) for which in (False, True))
    print(
        f"interactive calls wait p50 {alone[0]:.1f} ms, p99 {alone[1]:.1f} ms alone;"
        f" p50 {watched[0]:.1f} ms, p99 {watched[1]:.1f} ms beside a watch"
    )
    held &= note(
        Row("interactive calls beside a watch: p99 wait, more than alone", watched[1] - alone[1], 50.0, "ms")
    )
    return 0 if held else 1


def _report(found: Outcome, size: int, changes: int, speed: float) -> bool:
    middle, late = _middle_and_late(found.waits)
    print(
        f"{size:,} documents, {changes:,} changes, {_KILLS} SIGKILLs: {found.missed} missed, {found.wrong} wrong,"
        f" {found.repeated} repeated; seen after p50 {middle:,.0f} s, p99 {late:,.0f} s (a pass: {found.one_pass:,.0f} s);"
        f" {len(found.deletions)} deletions after at most {max(found.deletions, default=0):,.0f} s;"
        f" {found.refused} refused; busiest interval {found.busiest} requests of {_SHARE * _MAX:.0f};"
        f" memory {found.learnt:.0f} MB after the first pass, at most {max(found.peaks):.0f} MB later"
    )
    what = f"watch over sockets, {size:,} documents"
    rows = [
        Row(f"{what}: missed, or reported wrongly", found.missed + found.wrong, 0, ""),
        Row(f"{what}: refusals", found.refused, 0, ""),
        Row(f"{what}: requests in the busiest interval", found.busiest, _SHARE * _MAX + 1, ""),
        Row(
            f"{what}: p99 against two passes, a lease and a start",
            late / (found.one_pass * 2 + _LEASE + 10 + _START * speed),
            1.0,
        ),
        Row(f"{what}: memory that grew after the first pass", max(found.peaks) - found.learnt, 15, "MB"),
    ]
    held = [note(row) for row in rows]  # each is noted, also after one that is missed
    return all(held)


def _middle_and_late(waits: list[float]) -> tuple[float, float]:
    return (waits[len(waits) // 2], waits[int(len(waits) * 0.99)]) if waits else (0.0, 0.0)


if __name__ == "__main__":
    raise SystemExit(main())
