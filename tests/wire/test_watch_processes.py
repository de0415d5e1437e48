"""Two processes on one watch through Postgres, one of which is killed: each change handled, none lost."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from asyncio.subprocess import Process
from collections import Counter

import pytest

import samples
from hl_async import HighLevel
from hl_async.sandbox import Sandbox
from lengths import long

WORKER = """
import asyncio, json, os, sys
from hl_async import HighLevel
from hl_async.changes import PostgresCursors

async def main():
    async with HighLevel.from_env() as hl:
        feed = hl.location().estimates.changes(
            cursor=PostgresCursors(os.environ["HL_POSTGRES"]), share=1, every=0.05, lease=1.5)
        print(json.dumps("ready"), flush=True)
        async for change in feed:
            print(json.dumps([change.id, change.kind, change.document_id]), flush=True)

asyncio.run(main())
"""


class Workers:
    """Processes that handle changes by printing them."""

    def __init__(self, box: Sandbox, dsn: str, location: str) -> None:
        self._settings = {
            "HL_TOKEN": box.token,
            "HL_BASE_URL": box.url,
            "HL_LOCATION_ID": location,
            "HL_POSTGRES": dsn,
        }
        self.handled: list[tuple[str, str, str]] = []
        self.by: list[int] = []
        self._listeners: list[asyncio.Task[None]] = []

    async def start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, env={**os.environ, **self._settings}, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        assert json.loads(await process.stdout.readline()) == "ready"
        self._listeners.append(asyncio.create_task(self._listen(process)))
        return process

    async def _listen(self, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            change, kind, document = json.loads(line)
            self.handled.append((change, kind, document))
            self.by.append(process.pid)

    async def ended(self, *processes: Process) -> None:
        for process in processes:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        await asyncio.gather(*self._listeners)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(60):
            while len({document for _, _, document in self.handled}) < count:
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("kills", [1, long(3)])
@pytest.mark.untraced
async def test_of_two_workers_one_is_killed_and_each_change_is_handled(
    box: Sandbox, dsn: str, kills: int
) -> None:
    dice = random.Random(7)
    # A location of its own for each form: all forms share the database of cursors.
    location = box.add_location(f"watched{kills}")
    async with HighLevel(box.token, base_url=box.url, location_id=location) as hl:
        estimates = hl.location().estimates
        known = [(await estimates.create(samples.estimate())).id for _ in range(25 + 20 * kills)]
    workers = Workers(box, dsn, location)
    first, second = await workers.start(), await workers.start()
    place = box.ledger.places[location]
    async with asyncio.timeout(60):
        while sum(one.location == location and one.method == "GET" for one in box.requests) < 12:
            await asyncio.sleep(0.05)  # the location is learnt
    for name in known[:20]:
        box.ledger.touch(place.estimates[name], estimateStatus="declined")
    changed = 20
    await workers.until(changed)
    await asyncio.sleep(0.5)
    assert len(workers.handled) == 20, "while both live, nothing is done twice"
    assert len(set(workers.by)) == 1
    processes = {first.pid: first, second.pid: second}
    for _ in range(kills):  # kill whichever reads
        for name in known[changed : changed + 20]:
            box.ledger.touch(
                place.estimates[name], estimateStatus=dice.choice(["sent", "viewed", "accepted"])
            )
            await asyncio.sleep(dice.uniform(0, 0.02))
        changed += 20
        await workers.until(changed - dice.randrange(1, 15))
        reader = processes.pop(workers.by[-1])
        reader.send_signal(signal.SIGKILL)
        await reader.wait()
        fresh = await workers.start()
        processes[fresh.pid] = fresh
    for name in known[changed:]:  # after the last kill, so that a survivor has something to read
        box.ledger.touch(place.estimates[name], estimateStatus="accepted")
    await workers.until(len(known))
    await asyncio.sleep(1)
    await workers.ended(*processes.values())
    wanted = {(place.estimates[name]["estimateStatus"], name) for name in known}
    assert {(kind, document) for _, kind, document in workers.handled} == wanted
    assert len(set(workers.by)) >= min(3, 1 + kills)
    repeated = Counter(change for change, _, _ in workers.handled)
    assert len(repeated) == len(known), "a repetition has the id of the first report"
