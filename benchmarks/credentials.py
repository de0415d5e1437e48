"""Tokens under fire: one refresh per expiry however many ask, kills in the middle of refreshes, 2,000 locations.

``--rounds`` expiries seen by 4 processes that share one store, in SQLite and in Postgres, ``--kills`` SIGKILLs of a process that refreshes
without a pause, ``--locations`` of one agency. Counts are exact, and a run that misses one ends with status 1.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.bars import Row, note
from benchmarks.postgres import postgres
from benchmarks.torture import COMMAND, control
from hl_async import HighLevel, OAuthApp, PostgresTokenStore, RefreshPolicy, SqliteStore, TokenStore
from hl_async.errors import GrantLost

PROCESSES = 4
CALLS = 50
POLICY = RefreshPolicy(rejection_pause=0.0, backoff=0.05)


def store_at(place: str) -> TokenStore:
    """The store of an address, or of a file."""
    return PostgresTokenStore(place) if place.startswith("postgres") else SqliteStore(place)


class Setup:
    """A sandbox in its own process with one app, and a store that one location's consent is in."""

    def __init__(self, url: str, location: str, store: str) -> None:
        self.url = url
        self.location = location
        self.store = store
        made = control(url, "apps", {}, "POST")
        self.client_id: str = made["client_id"]
        self.client_secret: str = made["client_secret"]

    def app(self) -> OAuthApp:
        """The app, as each process makes it."""
        store = store_at(self.store)
        return OAuthApp(
            self.client_id, self.client_secret, store=store, redirect_uri=f"{self.url}/done", refresh=POLICY
        )

    async def install(self, location: str | None) -> None:
        """A consent of the location, or of the agency."""
        body = {"client_id": self.client_id, "location_id": location}
        code = await asyncio.to_thread(control, self.url, "authorise", body, "POST")
        app = self.app()
        async with HighLevel(app, base_url=self.url):
            await app.exchange_code(code["code"])

    def refreshes(self) -> int:
        """How many refresh tokens the sandbox has taken."""
        return int(control(self.url, "state")["refreshes"])

    def worker(self, job: str) -> subprocess.Popen[str]:
        """Another process that does ``job`` with the same store."""
        given = [job, self.url, self.location, self.store, self.client_id, self.client_secret]
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.credentials", "--worker", json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"the worker ended with {process.wait()}")
        return process


@contextmanager
def setup(folder: Path, *options: str, store: str = "") -> Iterator[Setup]:
    """A :class:`Setup`, its sandbox ended afterwards."""
    sandbox = subprocess.Popen(
        [*COMMAND, "sandbox", "--json", "--rate-max", "100000", "--rate-interval", "1", *options],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert sandbox.stdout is not None
    try:
        ready = json.loads(sandbox.stdout.readline())
        yield Setup(ready["url"], ready["location_id"], store or str(folder / "tokens.db"))
    finally:
        sandbox.terminate()
        sandbox.wait()
        sandbox.stdout.close()


# ------------------------------------------------------------------------------------------- workers


async def _serve(job: str, url: str, location: str, store: str, client_id: str, client_secret: str) -> None:
    app = OAuthApp(client_id, client_secret, store=store_at(store), refresh=POLICY)
    async with HighLevel(app, base_url=url) as hl:
        shop = hl.location(location)
        if job == "calls":
            await shop.estimates.generate_number()
        print("ready", flush=True)
        if job == "refreshes":
            while True:
                await app.refresh(location)
        while await asyncio.to_thread(sys.stdin.readline):
            done = await asyncio.gather(*(shop.estimates.generate_number() for _ in range(CALLS)))
            print(len(done), flush=True)


# ------------------------------------------------------------------------------------------- measurements


def expiries(here: Setup, rounds: int) -> list[int]:
    """Refreshes per expiry, all processes calling at once."""
    asyncio.run(here.install(here.location))
    workers = [here.worker("calls") for _ in range(PROCESSES)]
    found = []
    try:
        for _ in range(rounds):
            before = here.refreshes()
            control(here.url, "expire", {}, "POST")
            for worker in workers:
                print("go", file=worker.stdin, flush=True)
            for worker in workers:
                assert worker.stdout is not None
                if worker.stdout.readline() != f"{CALLS}\n":
                    raise SystemExit("a worker's calls failed")
            found.append(here.refreshes() - before)
    finally:
        for worker in workers:
            worker.communicate()
    return found


def kills(here: Setup, count: int, dice: random.Random) -> dict[str, int]:
    """SIGKILL a refreshing process ``count`` times; what its successor finds each time."""
    asyncio.run(here.install(here.location))
    seen = {"kills": 0, "refreshes": 0, "refresh token good": 0, "rotated, not stored": 0, "unusable": 0}
    before = here.refreshes()
    for _ in range(count):
        worker = here.worker("refreshes")
        time.sleep(dice.random() * 0.1)
        worker.kill()
        worker.communicate()
        seen["kills"] += 1
        usable, refreshable = asyncio.run(_successor(here))
        seen["unusable"] += not usable
        seen["refresh token good" if refreshable else "rotated, not stored"] += 1
        if not refreshable:
            asyncio.run(here.install(here.location))
    seen["refreshes"] = here.refreshes() - before
    return seen


async def _successor(here: Setup) -> tuple[bool, bool]:
    """Whether a new process can call with what the store holds, and whether it can refresh."""
    app = here.app()
    async with HighLevel(app, base_url=here.url) as hl:
        await hl.location(
            here.location
        ).estimates.generate_number()  # raises if nothing in the store is accepted
        try:
            await app.refresh(here.location)
        except GrantLost:
            await hl.location(here.location).estimates.generate_number()
            return True, False
        await hl.location(here.location).estimates.generate_number()
        return True, True


async def agency(here: Setup, locations: list[str]) -> tuple[int, float]:
    """Ask for a token of every location twice; (requests it took, bytes per location kept in memory)."""
    await here.install(None)
    app = here.app()
    warm = 200
    before = (await asyncio.to_thread(control, here.url, "state"))["requests"]
    async with HighLevel(app, base_url=here.url):

        async def ask(some: list[str]) -> None:
            for start in range(0, len(some), 100):
                await asyncio.gather(*(app.bearer(one) for one in some[start : start + 100] * 2))

        await ask(locations[:warm])
        gc.collect()
        tracemalloc.start()
        await ask(locations[warm:])
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] / max(len(locations) - warm, 1)
        tracemalloc.stop()
    after = (await asyncio.to_thread(control, here.url, "state"))["requests"]
    return after - before, held


def main() -> int:
    """Run all three; 1 when a count is not what was promised."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--locations", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    options, _ = parser.parse_known_args()
    if options.worker:
        given: list[Any] = json.loads(options.worker)
        asyncio.run(_serve(*given))
        return 0
    with tempfile.TemporaryDirectory() as place, setup(Path(place)) as here:
        found = expiries(here, options.rounds)
    print(
        f"{len(found)} expiries, {PROCESSES} processes of {CALLS} calls each: refreshes per expiry {set(found)}"
    )
    with (
        tempfile.TemporaryDirectory() as place,
        postgres() as server,
        setup(Path(place), store=server.dsn) as here,
    ):
        shared = expiries(here, options.rounds)
    print(f"{len(shared)} expiries, the same with the store in Postgres: refreshes per expiry {set(shared)}")
    with tempfile.TemporaryDirectory() as place, setup(Path(place)) as here:
        seen = kills(here, options.kills, random.Random(options.seed))
    print("; ".join(f"{name} {value}" for name, value in seen.items()))
    with (
        tempfile.TemporaryDirectory() as place,
        setup(Path(place), "--locations", str(options.locations)) as here,
    ):
        names = list(control(here.url, "state")["locations"])
        requests, held = asyncio.run(agency(here, names))
    print(
        f"{len(names)} locations of one agency: {requests} requests, {held:,.0f} bytes per location in memory"
    )
    return int(
        not all(
            (
                note(
                    Row(
                        f"most refreshes for one expiry, {PROCESSES} processes, {len(found)} expiries",
                        max(found),
                        1,
                        "",
                    )
                ),
                note(
                    Row(
                        f"the same with the store in Postgres, {len(shared)} expiries",
                        max(shared),
                        1,
                        "",
                    )
                ),
                note(
                    Row(
                        f"unusable stores after {seen['kills']} SIGKILLs during refreshes",
                        seen["unusable"],
                        0,
                        "",
                    )
                ),
                note(Row(f"requests for the tokens of {len(names):,} locations", requests, len(names), "")),
                note(Row("memory per idle location with its token", held, 2048, "bytes")),
            )
        )
    )


if __name__ == "__main__":
    sys.exit(main())
