"""Shared runs under fire: workers that are killed, a Postgres that crashes, and a thousand locations that take turns.

``python -m benchmarks.workers [--locations N] [--documents N] [--kills N] [--seed N]`` migrates N documents into each of
N locations with three ``hl-async worker`` processes and faults, killing one of them every few seconds (half of them
come back under a new name) and Postgres once; then measures how evenly a thousand locations get their turns.
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
from pathlib import Path
from typing import Any, Self

import asyncpg

from benchmarks.bars import Row, note
from benchmarks.faults import draft
from benchmarks.postgres import Server, postgres
from benchmarks.torture import COMMAND, control
from hl_async.models.codec import encode

WORKERS = 3
SETTLE, ATTEMPT, LEASE, SLICE = 2.0, 1.0, 6.0, 5.0
STUCK_BAR = 30.0


def main() -> int:
    """Run both; exit 1 when anything was lost, doubled, stuck or unfair."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--locations", type=int, default=100)
    parser.add_argument("--documents", type=int, default=100, help="per location")
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--fair", type=int, default=1000, help="locations that take turns; 0 leaves that out")
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args()
    with postgres() as server:
        good = torture(
            server, options.locations, options.documents, options.kills, random.Random(options.seed)
        )
    if options.fair:
        with postgres() as server:
            good = fairness(server, options.fair) and good
    return 0 if good else 1


# ----------------------------------------------------------------------------------------------- under fire


def torture(server: Server, locations: int, each: int, kills: int, dice: random.Random) -> bool:
    """Migrate while workers and the database die; judge what is in the sandbox."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Sandbox(locations, "--faults", "migration", "--rate-max", "8", "--rate-interval", "10") as box:
            environment = {**os.environ, **box.environment, "HL_POSTGRES": server.dsn}
            source = folder / "torture.ndjson"
            write_source(source, box.locations, each)
            hand_over(source, environment)
            crew = Crew(environment, folder, dice)
            watch = Watch(server.dsn)
            away = 0.0
            hit = 0
            events: list[tuple[float, str]] = []
            next_kill = time.monotonic() + 6
            while not watch.look():
                crew.keep()
                now = time.monotonic()
                if hit < kills and now >= next_kill:
                    hit += crew.kill()
                    events.append((now, "SIGKILL"))
                    next_kill = now + 2.5 + 3.0 * dice.random()
                if server.is_ours and hit >= kills // 2 and not away:
                    away = server.crash()
                    events += [(now, "Postgres crashes"), (time.monotonic(), "Postgres is back")]
                    watch.forgive()
                time.sleep(0.25)
            crew.stop()
            lost, doubled, total = judge(box, each)
            requests = control(box.url, "state")
            if requests["refused"]:
                explain(control(box.url, "requests"), events)
    documents = locations * each
    wanted = round(29.97 * documents, 2)
    print(
        f"{documents:,} documents for {locations} locations, {WORKERS} workers, {hit} SIGKILLs ({crew.renamed} came back under "
        f"a new name), Postgres crashed {'once' if away else 'never'} ({away:.1f} s away), {time.monotonic() - began:.0f} s"
    )
    print(
        f"lost {lost}, doubled {doubled}, total {total:,} of {wanted:,}; longest without progress: {watch.longest:.1f} s "
        f"({watch.where}); {requests['requests']:,} requests, {requests['refused']:,} refused"
    )
    bad = note(
        Row(
            f"{WORKERS} workers under SIGKILLs, {documents:,} documents: lost or doubled",
            lost + doubled,
            0,
            "",
        )
    )
    stuck = note(Row("longest time that a lane stood still under SIGKILLs", watch.longest, STUCK_BAR, "s"))
    refused = note(Row("requests refused under SIGKILLs and a crash of Postgres", requests["refused"], 0, ""))
    return bad and stuck and refused and total == wanted and hit == kills


def explain(requests: list[dict[str, Any]], events: list[tuple[float, str]]) -> None:
    """Print every refused request with what arrived in its location before it, and what had happened."""
    for one in requests:
        if not one["refused"]:
            continue
        before = [r for r in requests if r["location"] == one["location"] and r["number"] < one["number"]][
            -12:
        ]
        at = one["at"]
        print(f"refused: request {one['number']} of {one['location']}, {one['operation']}")
        print("  before: " + " ".join(f"{r['at'] - at:.2f}{'!' if r['refused'] else ''}({r['fault'] or '-'},{r['elapsed']:.2f})" for r in before))  # fmt: skip
        near = [(moment - at, what) for moment, what in events if abs(moment - at) < 40]
        print("  events: " + ", ".join(f"{ago:.1f} {what}" for ago, what in near))


class Sandbox:
    """A sandbox in a process of its own, with so many locations."""

    def __init__(self, locations: int, *options: str) -> None:
        self._process = subprocess.Popen(
            [*COMMAND, "sandbox", "--json", "--locations", str(locations), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout is not None
        ready = json.loads(self._process.stdout.readline())
        self.url: str = ready["url"]
        self.locations = list(control(self.url, "state")["locations"])
        control(self.url, "faults", {"times": {"late": 1.5}}, "PUT")
        self.environment = {
            "HL_BASE_URL": self.url,
            "HL_TOKEN": ready["token"],
            "HL_LOCATION_ID": ready["location_id"],
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()


def write_source(source: Path, locations: list[str], each: int) -> None:
    """``each`` documents for every location, in turns."""
    with source.open("wb") as file:
        for n in range(each * len(locations)):
            place = locations[n % len(locations)].encode()
            file.write(encode(draft(f"d{n}"))[:-1] + b',"sourceId":"d%d","altId":"%s"}\n' % (n, place))


def hand_over(
    source: Path, environment: dict[str, str], settle: float = SETTLE, attempt: float = ATTEMPT
) -> None:
    """Plan the run and leave it to workers."""
    times = ["--settle", str(settle), "--attempt-timeout", str(attempt)]
    subprocess.run(
        [*COMMAND, "migrate", str(source), "--engine", "dbos", "--detach", *times],
        env=environment,
        check=True,
        stderr=subprocess.DEVNULL,
    )


class Crew:
    """Three workers; a killed one is started again, every second time under a new name."""

    def __init__(self, environment: dict[str, str], folder: Path, dice: random.Random) -> None:
        self._environment = environment
        self._folder = folder
        self._dice = dice
        self._started = 0
        self._killed = 0
        self.renamed = 0
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        for n in range(WORKERS):
            self._start(f"worker-{n}")

    def keep(self) -> None:
        """Start again what ended."""
        for name, process in list(self._workers.items()):
            if process.poll() is not None:
                del self._workers[name]
                self._started += 1
                if self._killed % 2:
                    self.renamed += 1
                    name = f"worker-new-{self._started}"
                self._start(name)

    def kill(self) -> int:
        """SIGKILL a random one; how many were hit."""
        process = self._dice.choice(list(self._workers.values()))
        if process.poll() is not None:
            return 0
        process.kill()
        process.wait()
        self._killed += 1
        return 1

    def stop(self) -> None:
        """Let all of them end in good order."""
        for process in self._workers.values():
            process.terminate()
        for process in self._workers.values():
            process.wait(60)

    def _start(self, name: str) -> None:
        command = [
            *COMMAND, "worker", "--name", name, "--slice", str(SLICE), "--lease", str(LEASE),
            "--attempt-timeout", str(ATTEMPT), "--lanes", "40", "--max-in-flight", "8",
        ]  # fmt: skip
        with (self._folder / f"{name}.log").open("ab") as log:
            self._workers[name] = subprocess.Popen(command, env=self._environment, stderr=log)


class Watch:
    """How long each lane stood still while it could have gone on: since something of it changed, or its wait ended."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._loop = asyncio.new_event_loop()
        self._moved: dict[str, tuple[Any, float]] = {}
        self.longest = 0.0
        self.where = ""

    def look(self) -> bool:
        """Measure; whether all lanes are done."""
        try:
            rows = self._loop.run_until_complete(self._rows())
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        now = time.monotonic()
        for row in rows:
            key, sign = row["location"], (row["done"], row["attempts"], row["finished"], row["waits"])
            before, since = self._moved.get(key, (None, now))
            if sign != before or row["waits"] or row["done"]:
                since = now
            elif now - since > self.longest:
                self.longest = now - since
                held = f"worked on by {row['holder']}" if row["held"] else "in nobody's hands"
                self.where = f"{key}, {held}"
            self._moved[key] = sign, since
        return bool(rows) and all(row["done"] for row in rows)

    def forgive(self) -> None:
        """The database was away on purpose: count anew."""
        self._moved.clear()

    async def _rows(self) -> list[Any]:
        connection = await asyncpg.connect(self._dsn)
        try:
            rows: list[Any] = await connection.fetch(
                "select l.location, l.done, l.wake_at > clock_timestamp() as waits, l.holder,"
                " l.until > clock_timestamp() as held, sum(i.attempt) as attempts,"
                " count(*) filter (where i.state not in ('planned', 'sent')) as finished"
                " from hl_async.lane l join hl_async.item i on i.run = l.run and i.location = l.location"
                " group by l.run, l.location"
            )
            return rows
        finally:
            await connection.close()


def judge(box: Sandbox, each: int) -> tuple[int, int, float]:
    """(lost, doubled, total) over all locations."""
    lost = doubled = 0
    total = 0.0
    for location in box.locations:
        found = control(box.url, f"estimates?location={location}")
        keys = Counter(one["meta"]["hl_async"]["k"] for one in found)
        lost += each - len(keys)
        doubled += sum(count - 1 for count in keys.values())
        total += sum(one["total"] for one in found)
    return lost, doubled, round(total, 2)


# -------------------------------------------------------------------------------------------------- fairness


def fairness(server: Server, locations: int) -> bool:
    """A thousand locations of equal work: how many slices the most favoured one is ahead of the least, at any moment."""
    seconds, each = 2.0, 40
    with (
        tempfile.TemporaryDirectory() as name,
        Sandbox(locations, "--rate-max", "10", "--rate-interval", "10") as box,
    ):
        environment = {**os.environ, **box.environment, "HL_POSTGRES": server.dsn}
        source = Path(name) / "fair.ndjson"
        write_source(source, box.locations, each)
        hand_over(source, environment, attempt=30.0)
        command = [*COMMAND, "worker", "--slice", str(seconds), "--lanes", "30", "--max-in-flight", "4"]
        crew = [
            subprocess.Popen([*command, "--name", f"fair-{n}"], env=environment, stderr=subprocess.DEVNULL)
            for n in range(2)
        ]
        try:
            spread, turns = asyncio.run(_spread(server.dsn, seconds, 30 + 3.5 * seconds * locations / 60))
        finally:
            for process in crew:
                process.terminate()
            for process in crew:
                process.wait(60)
    print(
        f"{locations:,} locations of equal work, up to {turns} turns each: at most {spread:.2f} slices between the first "
        "and the last of them"
    )
    row = Row(
        f"{locations:,} locations of equal work: spread of their shares", spread, 1, "slices", noise=0.1
    )
    return note(row) and turns > 1


async def _spread(dsn: str, slice_seconds: float, seconds: float) -> tuple[float, int]:
    """The largest difference between the turns of any two locations at any moment, and the most turns of one.

    The turn in hand counts for the part of it that is over: else one that ends a moment later than another which began
    after it would be a whole turn behind.
    """
    connection = await asyncpg.connect(dsn)
    ends = time.monotonic() + seconds
    began: dict[str, tuple[int, float]] = {}
    worst, most = 0.0, 0
    while (now := time.monotonic()) < ends:
        rows = await connection.fetch(
            "select location, turns, until > clock_timestamp() as held, done from hl_async.lane"
        )
        if any(row["done"] for row in rows):
            break
        shares = []
        for row in rows:
            turns, since = began.get(row["location"], (-1, now))
            if turns != row["turns"]:
                since = now
            began[row["location"]] = row["turns"], since
            over = 1.0 if not row["held"] else min(1.0, (now - since) / slice_seconds)
            shares.append(row["turns"] - 1 + over if row["turns"] else 0.0)
        worst = max(worst, max(shares) - min(shares))
        most = max(most, int(max(shares)))
        await asyncio.sleep(0.2)
    await connection.close()
    return worst, most


if __name__ == "__main__":
    sys.exit(main())
