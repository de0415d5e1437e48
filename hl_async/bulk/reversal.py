"""Take a run back: a durable state of the run, which ends when every document is proven gone or kept by name.

The order of steps:

1. The run is closed: no process sends any of its items from then on. Planned items are withdrawn.
2. Documents that the journal recorded are deleted.
3. Requests without an answer are waited for, as long as one of them can still be executed.
4. The location is listed, and every draft that the run provably made is deleted. This is repeated until a listing
   shows none, because a list may lag behind. A recorded document that two listings do not show is deleted by its id.

Only the API's own 404 proves that a document is gone; absence from a list proves nothing. No id is ever erased.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final, NamedTuple

from hl_async.bulk.documents import Documents, OpenRun, is_said_by_api, read_location, require_listed, row_of
from hl_async.bulk.journals.protocol import Deletion, LaneJournal, LaneRelease
from hl_async.bulk.keys import is_unique
from hl_async.bulk.map import bulk_map
from hl_async.bulk.ownership import Claim, claims, reason_to_keep
from hl_async.bulk.protocol import KnownItem, LaneFacts, RunState, State, Timing
from hl_async.bulk.reports import Kept, Progress, RollbackReport
from hl_async.errors import (
    BadRequest,
    BulkError,
    Conflict,
    HighLevelError,
    JournalError,
    LaneLost,
    NotFound,
    ValidationFailed,
)

_LOCATIONS_AT_ONCE: Final = 20
_DELETIONS_AT_ONCE: Final = 10
_FAILURES: Final = 5
"""So many deletions in a row may fail before a location is left for the next try."""
PAUSES: Final = (1.0, 1.0, 3.0, 10.0, 30.0)
"""Seconds between listings, while a list still shows, or hides, what was deleted."""
_PROGRESS_EVERY: Final = 1.0
_GONE: Final = ("deleted", "gone")


class _How(NamedTuple):
    """How a location is taken back."""

    timing: Timing
    even_changed: bool
    pauses: Sequence[float]


class _Location(NamedTuple):
    """How a location ended: ``reason`` is empty when nothing of the run is left but ``kept``."""

    kept: list[Kept]
    open: int
    reason: str = ""
    until: float | None = None


async def rollback(
    run: OpenRun,
    documents: Callable[[str], Documents],
    timing: Timing,
    *,
    even_changed: bool = False,
    on_progress: Callable[[Progress], None] | None = None,
    pauses: Sequence[float] = PAUSES,
) -> RollbackReport:
    """Delete the drafts that a run created; see the module for the order of steps.

    Args:
        run: The run. Its ``stop`` ends the rollback early; the journal then says how to continue.
        documents: Gives the documents of a location.
        timing: The waits that the run was executed with.
        even_changed: Delete drafts that people changed as well.
        on_progress: Called about once per second.
        pauses: Seconds between listings that don't agree with what was deleted.

    Raises:
        BulkError: The run makes no documents that could be deleted, or a worker still creates some.
        JournalError: The journal cannot be written.
    """
    require_listed(run.operation, "deleted")
    journal = run.journal
    await journal.set_run_state(RunState.ROLLING_BACK)
    if working := await journal.withdraw():
        raise BulkError(
            f"{', '.join(working)} still creates documents of this run and was asked to stop; "
            "run the same command again in a moment"
        )
    withdrawn = await journal.withdraw_planned()
    how = _How(timing, even_changed, pauses)
    board = _Board(await _size(run), on_progress)

    async def reverse(location: str) -> _Location:
        return await _reverse(run, location, documents(location), how, board)

    ended = await _all(reverse, await journal.locations())
    reasons = list(dict.fromkeys(one.reason for one in ended if one.reason))
    if not reasons:
        await journal.set_run_state(RunState.ROLLED_BACK)
    deleted, gone = await _deletions(run)
    board.show(force=True)
    return RollbackReport(
        deleted=deleted,
        gone=gone,
        withdrawn=max(withdrawn, (await journal.counts(totals=False)).of(State.WITHDRAWN)),
        kept=[kept for one in ended for kept in one.kept],
        open=sum(one.open for one in ended),
        state=(await journal.run_state()).value,
        journal=journal.name,
        reason="; ".join(reasons),
        until=max((one.until for one in ended if one.until is not None), default=None),
    )


async def _all(
    reverse: Callable[[str], Coroutine[Any, Any, _Location]], locations: list[str]
) -> list[_Location]:
    """Take locations back, several at once. A failure leaves its location open; a broken journal ends it all."""
    ended: list[_Location] = []
    async with bulk_map(reverse, locations, limit=_LOCATIONS_AT_ONCE) as outcomes:
        async for outcome in outcomes:
            error = outcome.error
            if error is None:
                ended.append(outcome.result())
            elif isinstance(error, JournalError) or not isinstance(error, HighLevelError):
                raise error
            else:
                ended.append(_Location([], 1, str(error)))
    return ended


async def _size(run: OpenRun) -> int:
    counts = await run.journal.counts(totals=False)
    return counts.of(State.CREATED) + counts.of(State.SENT)


async def _deletions(run: OpenRun) -> tuple[int, int]:
    """Return how many documents this run's rollback deleted, and how many were gone before."""
    outcomes: dict[str, str] = {}
    async for one in _each_deletion(run):
        if one.outcome in _GONE and outcomes.get(one.document) != "deleted":
            outcomes[one.document] = one.outcome
    deleted = sum(outcome == "deleted" for outcome in outcomes.values())
    return deleted, len(outcomes) - deleted


async def _each_deletion(run: OpenRun) -> AsyncIterator[Deletion]:
    after = 0
    while batch := await run.journal.deletions(after=after):
        after = batch[-1].id
        for one in batch:
            yield one


class _Board:
    """The progress of all locations together."""

    def __init__(self, of: int, on_progress: Callable[[Progress], None] | None) -> None:
        self._of = of
        self._on_progress = on_progress
        self._began = self._said = time.monotonic()
        self._waits: dict[str, tuple[float, int]] = {}
        self.done: set[str] = set()

    def waiting(self, location: str, until: float | None, items: int = 0) -> None:
        """Note that a location waits for so many unanswered requests, or no longer does."""
        if until is None:
            self._waits.pop(location, None)
        else:
            self._waits[location] = (until, items)
        self.show(force=True)

    def show(self, *, force: bool = False) -> None:
        """Report progress, at most once per second unless forced."""
        now = time.monotonic()
        if self._on_progress is None or not (force or now - self._said >= _PROGRESS_EVERY):
            return
        self._said = now
        rate = len(self.done) / max(now - self._began, 0.001)
        of = max(self._of, len(self.done))
        until = max((until for until, _ in self._waits.values()), default=None)
        self._on_progress(
            Progress(
                len(self.done),
                of,
                created=0,
                rejected=0,
                ambiguous=sum(items for _, items in self._waits.values()),
                rate=rate,
                eta=(of - len(self.done)) / rate if rate > 0 else None,
                note="settling" if self._waits else "",
                until=until,
            )
        )


async def _reverse(run: OpenRun, location: str, documents: Documents, how: _How, board: _Board) -> _Location:
    """Take one location back, with its lane leased and kept alive."""
    lane = await run.journal.lease(location, state=RunState.ROLLING_BACK)
    if lane is None:
        return _Location([], 1, f"another process works on {location}")
    keeping = asyncio.create_task(_keep(lane))
    working = asyncio.create_task(_LocationReversal(run, lane, documents, how, board).work())
    try:
        await asyncio.wait((keeping, working), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            keeping.result()
        return await working
    except LaneLost as error:
        return _Location([], 1, str(error))
    finally:
        for task in (keeping, working):
            task.cancel()
        await asyncio.gather(keeping, working, return_exceptions=True)
        with contextlib.suppress(LaneLost):
            await lane.release(LaneRelease(done=True))


async def _keep(lane: LaneJournal) -> None:
    while True:
        await asyncio.sleep(lane.renew_every)
        if not await lane.renew(0.0):
            raise LaneLost(f"another process works on {lane.location} by now")


class _LocationReversal:
    """The rollback of one location."""

    def __init__(
        self,
        run: OpenRun,
        lane: LaneJournal,
        documents: Documents,
        how: _How,
        board: _Board,
    ) -> None:
        self._run = run
        self._lane = lane
        self._documents = documents
        self._timing, self._even_changed, self._pauses = how
        self._board = board
        self._kept: dict[str, Kept] = {}
        self._failed: dict[str, str] = {}
        self._failures = 0
        self._unproven: dict[str, str] = {}
        """Keys by documents whose deletion an earlier process began and did not see the end of."""
        self._hidden: set[str] = set()
        """Recorded documents that the last listing did not show."""
        self._has_control = False
        """Whether a listing has shown a document of the run: only then its silence means something."""

    async def work(self) -> _Location:
        """Delete, wait, list and delete until a listing shows nothing more to delete."""
        try:
            return await self._work()
        except JournalError:
            raise
        except HighLevelError as error:
            return await self._left(str(error))

    async def _work(self) -> _Location:
        async for one in _each_deletion(self._run):
            if one.location == self._lane.location and one.outcome not in _GONE:
                self._unproven[one.document] = one.key
            else:
                self._unproven.pop(one.document, None)
        facts = await self._lane.facts()
        wait = self._wait_for(facts)
        if wait > 0:
            await self._pass()
            until = time.time() + wait
            self._board.waiting(self._lane.location, until, facts.ambiguous)
            stopped = await self._pause(wait)
            self._board.waiting(self._lane.location, None)
            if stopped:
                return await self._left("interrupted", until)
        quiet = 0
        for pause in (*self._pauses, 0.0):
            quiet = quiet + 1 if await self._pass() else 0
            if self._run.stop.is_set():
                return await self._left("interrupted")
            if quiet > (not self._has_control):
                await self._conclude()
                return _Location(list(self._kept.values()), 0)
            if self._failures >= _FAILURES:
                break
            await self._pause(pause)
        disagrees = f"the list of {self._lane.location} does not agree with what was deleted"
        return await self._left(next(iter(self._failed.values()), disagrees))

    def _wait_for(self, facts: LaneFacts) -> float:
        """Return the seconds until no request of the run can be executed any more."""
        if facts.last_ambiguous_ever is None:
            return 0.0
        due = self._timing.sweep_at(facts.last_ambiguous_ever)
        if facts.swept_at is not None and facts.swept_at >= due:
            return 0.0
        # a clock that was set back must not make the wait longer than it can have to be
        longest = self._timing.attempt + 2 * self._timing.settle
        return min(due - self._lane.now(), longest)

    async def _pause(self, seconds: float) -> bool:
        """Wait; returns whether the run was stopped meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._run.stop.wait()
        return self._run.stop.is_set()

    async def _left(self, reason: str, until: float | None = None) -> _Location:
        """Return what is open, for the next try."""
        known = await self._lane.known()
        items = sum(
            item.state is State.SENT or (item.state is State.CREATED and item.document not in self._kept)
            for item in known.values()
        )
        return _Location(list(self._kept.values()), max(items, 1), reason, until)

    async def _pass(self) -> bool:
        """List once and delete; returns whether the listing proves that nothing is left to delete.

        A deletion that succeeds shows that a document was there: if the listing did not have it, the listing lags
        and its silence about other documents means nothing. So a listing proves only what it shows after the last
        deletion.
        """
        self._kept.clear()
        self._failed.clear()
        known = await self._lane.known()
        reading = await read_location(self._documents, self._run.journal, self._run.keys, known)
        self._has_control = self._has_control or bool(reading.listed)
        doomed: list[tuple[str, str]] = []
        for claim in claims(reading.listed, known, self._timing, unique_keys=is_unique(self._run.keys)):
            reason = reason_to_keep(claim, even_changed=self._even_changed)
            if reason is not None:
                await self._keep_document(claim, reason, known)
            elif claim.key is not None:
                doomed.append((claim.key, claim.listed.id))
        shown = {one.id for one in reading.listed}
        hidden = {
            item.document: key
            for key, item in known.items()
            if item.document and item.document not in shown and item.state is not State.DELETED
        }
        hidden |= {one: key for one, key in self._unproven.items() if one not in shown and key in known}
        # people may have changed what a lagging list hides: it is deleted unseen only if it stays hidden
        doomed += [(key, one) for one, key in hidden.items() if one in self._hidden]
        is_waiting = any(one not in self._hidden for one in hidden)
        self._hidden = set(hidden)
        outcomes: list[str] = []
        for at in range(0, len(doomed), _DELETIONS_AT_ONCE):
            if self._run.stop.is_set() or self._failures >= _FAILURES:
                return False
            batch = doomed[at : at + _DELETIONS_AT_ONCE]
            outcomes += await asyncio.gather(*(self._delete(known[key], key, one) for key, one in batch))
            self._board.show()
        return "deleted" not in outcomes and not self._failed and not is_waiting

    async def _keep_document(
        self, claim: Claim, reason: tuple[str, str], known: dict[str, KnownItem]
    ) -> None:
        """Name a document that stays, and record it as its item's if it was found by its key."""
        key = claim.key or claim.listed.key or ""
        row = await row_of(self._run.journal, known[key].ordinal)
        self._board.done.add(claim.listed.id)
        self._kept[claim.listed.id] = Kept(
            reason[0], row.source_id, claim.listed.id, self._lane.location, reason[1]
        )
        if claim.key is None or not claim.is_first or row.document:
            return
        if row.state is State.SENT:
            await self._lane.created(row.ordinal, row.attempt, claim.listed.id)
        else:
            await self._lane.adopt(row.ordinal, claim.listed.id)

    async def _delete(self, item: KnownItem, key: str, document: str) -> str:
        """Delete one document; returns ``deleted``, ``gone`` or the words of the failure."""
        if not self._lane.lasts(self._timing.guard):
            raise LaneLost(f"another process may work on {self._lane.location} by now")
        deletion = await self._lane.delete_intended(document, key, "rollback")
        outcome = await self._request(item, document)
        await self._lane.delete_ended(deletion, outcome)
        if outcome in _GONE:
            self._failures = 0
            self._unproven.pop(document, None)
            self._board.done.add(document)
            if item.document in (None, document):
                await self._run.journal.rolled_back(item.ordinal, document)
        return outcome

    async def _request(self, item: KnownItem, document: str) -> str:
        try:
            await self._documents.delete(document)
        except JournalError:
            raise
        except NotFound as error:
            if is_said_by_api(error):
                return "gone"
            failure = str(error)
        except (BadRequest, Conflict, ValidationFailed) as error:
            if is_said_by_api(error):
                row = await row_of(self._run.journal, item.ordinal)
                self._kept[document] = Kept(
                    "refused", row.source_id, document, self._lane.location, str(error)
                )
                return str(error)
            failure = str(error)
        except HighLevelError as error:
            failure = str(error)
        else:
            return "deleted"
        self._failures += 1
        self._failed[document] = failure
        return failure

    async def _conclude(self) -> None:
        """Withdraw what was sent, waited for, and is provably not in the location."""
        for item in await self._lane.ambiguous():
            await self._lane.mark_planned(item.ordinal, item.attempt, listed=True)
        await self._run.journal.withdraw_planned()
