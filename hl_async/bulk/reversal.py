"""Internal. Rollback of a run: each document ends proven gone or kept by name.

It is a durable state of the run. The order of steps:

1. The run is closed: no process sends any of its items from then on. Planned items are withdrawn.
2. The location is listed until every recorded document was seen, because people may have changed one. A document
   that no listing shows is deleted unseen only if the list vouches for its absence; otherwise it stays open by name.
3. Requests without an answer are waited for, as long as one of them can still be executed.
4. Every draft that the run provably made is deleted, and the location is listed again until a listing shows none.

Only the API's own 404 proves that a document is gone; absence from a list proves nothing. No id is ever erased.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from hl_async.bulk.documents import Documents, OpenRun, require_listed
from hl_async.bulk.journals.protocol import Journal, LaneJournal, LaneRelease
from hl_async.bulk.kinds import kind_in
from hl_async.bulk.location_reversal import (
    GONE,
    LocationEnd,
    LocationReversal,
    ReversalOptions,
    each_deletion,
)
from hl_async.bulk.map import bulk_map
from hl_async.bulk.protocol import RunState, State, Timing
from hl_async.bulk.reports import Progress, RollbackReport
from hl_async.bulk.reversal_progress import ReversalBoard
from hl_async.bulk.stages.left_behind import left_by_steps
from hl_async.bulk.standing import count_contacts
from hl_async.errors import BulkError, HighLevelError, JournalError, LaneLost

Afterwards: TypeAlias = Callable[[LaneJournal], Awaitable[LocationEnd]]
_LOCATIONS_AT_ONCE: Final = 20
PAUSES: Final = (1.0, 1.0, 3.0, 10.0, 30.0)
"""Seconds between listings, while a list still shows deleted documents, or hides others."""


async def rollback(
    run: OpenRun,
    documents: Callable[[str], Documents],
    timing: Timing,
    *,
    even_changed: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    pauses: Sequence[float] = PAUSES,
    afterwards: Afterwards | None = None,
) -> RollbackReport:
    """Delete the drafts that a run created; see the module for the order of steps.

    Args:
        run: The run. Its ``stop`` ends the rollback early; the journal then says how to continue.
        documents: Gives the documents of a lane.
        timing: The waits that the run was executed with.
        even_changed: Delete drafts that people changed as well.
        on_progress: Called about once per second.
        pauses: Seconds between listings that do not agree with the deletions.
        afterwards: What to take back once nothing of the documents is open, in the same lease of the lane.

    Raises:
        BulkError: The run makes no documents that could be deleted, or a worker still creates some.
        JournalError: The journal cannot be written.
    """
    require_listed(run.operation, "deleted")
    journal = run.journal
    withdrawn = await _close(journal)
    how = ReversalOptions(timing, even_changed, pauses)
    # Counted after the run was closed: until then items still become documents.
    board = ReversalBoard(await _size(run), on_progress)

    async def reverse(name: str) -> LocationEnd:
        reversal = lambda lane: LocationReversal(run, lane, documents(name), how, board)  # noqa: E731
        return await _reverse(run, name, reversal, None if kind_in(name) else afterwards)

    lanes = await run.lanes()
    # The lane of the location comes last: its customers may be in use by documents of the other kind.
    ended = await _all(reverse, [one for one in lanes if kind_in(one)])
    ended += await _all(reverse, [one for one in lanes if not kind_in(one)])
    # one location that is still open keeps the run open: its state is a claim about all of them
    reasons = list(dict.fromkeys(one.reason for one in ended if one.reason))
    if not reasons:
        await journal.set_run_state(RunState.ROLLED_BACK)
    deleted, gone = await _deletions(run)
    board.show(force=True)
    contacts = await count_contacts(journal)
    return RollbackReport(
        deleted=deleted,
        gone=gone,
        # A repeated rollback withdraws nothing more, and still reports what the first one did.
        withdrawn=max(withdrawn, (await journal.counts(totals=False)).of(State.WITHDRAWN)),
        kept=[*(kept for one in ended for kept in one.kept), *await left_by_steps(journal)],
        contacts_deleted=0 if contacts is None else contacts.deleted,
        open=sum(one.open for one in ended),
        state=(await journal.run_state()).value,
        journal=journal.name,
        reason="; ".join(reasons),
        until=max((one.until for one in ended if one.until is not None), default=None),
    )


async def _close(journal: Journal) -> int:
    """Close a run and withdraw its unsent items and steps. Return how many items."""
    # before everything else: from here on no lane is leased to a process that sends
    await journal.set_run_state(RunState.ROLLING_BACK)
    if working := await journal.withdraw():
        raise BulkError(
            f"{', '.join(working)} still creates documents of this run and was asked to stop; "
            "run the same command again in a moment"
        )
    withdrawn = await journal.withdraw_planned()
    for stage in await journal.steps.stages():
        await journal.steps.withdraw(stage)
    return withdrawn


async def _all(
    reverse: Callable[[str], Coroutine[Any, Any, LocationEnd]], locations: list[str]
) -> list[LocationEnd]:
    """Take locations back, several at once; a failure leaves its location open."""
    ended: list[LocationEnd] = []
    async with bulk_map(reverse, locations, limit=_LOCATIONS_AT_ONCE) as outcomes:
        async for outcome in outcomes:
            error = outcome.error
            if error is None:
                ended.append(outcome.result())
            elif isinstance(error, JournalError) or not isinstance(error, HighLevelError):
                # deletions that cannot be written down must not go on elsewhere either
                raise error
            else:
                ended.append(LocationEnd([], 1, str(error)))
    return ended


async def _size(run: OpenRun) -> int:
    counts = await run.journal.counts(totals=False)
    return counts.of(State.CREATED) + counts.of(State.SENT)


async def _deletions(run: OpenRun) -> tuple[int, int]:
    """Return how many documents the rollback deleted, and how many were gone before."""
    outcomes: dict[str, str] = {}
    async for one in each_deletion(run):
        # A document that was deleted may be found gone later. It still counts as deleted.
        if one.outcome in GONE and outcomes.get(one.document) != "deleted":
            outcomes[one.document] = one.outcome
    deleted = sum(outcome == "deleted" for outcome in outcomes.values())
    return deleted, len(outcomes) - deleted


async def _reverse(
    run: OpenRun,
    location: str,
    reversal: Callable[[LaneJournal], LocationReversal],
    afterwards: Afterwards | None,
) -> LocationEnd:
    """Take one location back, with its lane leased and kept alive."""
    lane = await run.journal.lease(location, state=RunState.ROLLING_BACK)
    if lane is None:
        return LocationEnd([], 1, f"another process works on {location}")
    keeping = asyncio.create_task(_keep(lane))
    working = asyncio.create_task(_work(lane, reversal(lane), afterwards))
    try:
        await asyncio.wait((keeping, working), return_when=asyncio.FIRST_COMPLETED)
        # The lease is gone: whatever the work would do next, another process may be doing.
        if not working.done():
            keeping.result()
        return await working
    except LaneLost as error:
        return LocationEnd([], 1, str(error))
    finally:
        for task in (keeping, working):
            task.cancel()
        # Awaited before the lane is given back: a deletion under way belongs to this lease.
        await asyncio.gather(keeping, working, return_exceptions=True)
        with contextlib.suppress(LaneLost):
            await lane.release(LaneRelease(done=True))


async def _work(lane: LaneJournal, reversal: LocationReversal, afterwards: Afterwards | None) -> LocationEnd:
    """Take the documents back, and then what they used."""
    end = await reversal.work()
    # A document that is still there needs its contact.
    if end.reason or afterwards is None:
        return end
    more = await afterwards(lane)
    return more._replace(kept=[*end.kept, *more.kept])


async def _keep(lane: LaneJournal) -> None:
    while True:
        await asyncio.sleep(lane.renew_every)
        if not await lane.renew(0.0):
            raise LaneLost(f"another process works on {lane.location} by now")
