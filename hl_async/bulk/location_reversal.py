"""Internal. The rollback of one location: list, delete the run's own, look again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Final, NamedTuple

from hl_async.bulk.documents import (
    Documents,
    LocationReading,
    OpenRun,
    is_said_by_api,
    listed_of,
    read_location,
    row_of,
)
from hl_async.bulk.journals.protocol import Deletion, LaneJournal
from hl_async.bulk.keys import is_unique
from hl_async.bulk.kinds import location_of, words_for
from hl_async.bulk.ownership import Claim, Listed, claims, reason_to_keep, vouches
from hl_async.bulk.protocol import KnownItem, LaneFacts, State, Timing
from hl_async.bulk.reports import Kept
from hl_async.bulk.reversal_progress import ReversalBoard
from hl_async.bulk.stages.customers import DELETION
from hl_async.errors import (
    BadRequest,
    Conflict,
    HighLevelError,
    JournalError,
    LaneLost,
    NotFound,
    ValidationFailed,
)

_DELETIONS_AT_ONCE: Final = 10
_FAILURES: Final = 5
"""So many deletions in a row may fail before a location is left for the next try."""
GONE: Final = ("deleted", "gone")
"""Outcomes of a deletion after which the document is not there."""


class ReversalOptions(NamedTuple):
    """How a location is taken back."""

    timing: Timing
    even_changed: bool
    pauses: Sequence[float]


class LocationEnd(NamedTuple):
    """How a location ended; ``reason`` is empty if only ``kept`` is left of the run."""

    kept: list[Kept]
    open: int
    reason: str = ""
    until: float | None = None


async def each_deletion(run: OpenRun) -> AsyncIterator[Deletion]:
    """Yield the deletions of a run's documents in their order."""
    after = 0
    while batch := await run.journal.deletions(after=after):
        after = batch[-1].id
        for one in batch:
            # Deletions of contacts stand in the same table, under keys of their own.
            if not one.key.startswith(DELETION):
                yield one


class LocationReversal:
    """The rollback of one location."""

    def __init__(
        self,
        run: OpenRun,
        lane: LaneJournal,
        documents: Documents,
        how: ReversalOptions,
        board: ReversalBoard,
    ) -> None:
        self._run = run
        self._lane = lane
        self._keys = run.kinds.keys_of(lane.location)
        self._location = location_of(lane.location)
        self._documents = documents
        self._timing, self._even_changed, self._pauses = how
        self._board = board
        self._kept: dict[str, Kept] = {}
        self._failed: dict[str, str] = {}
        self._failures = 0
        self._unproven: dict[str, str] = {}
        """Keys by documents whose deletion an earlier process began and did not see the end of."""
        self._last: dict[str, Kept | None] = {}
        """The decision about a document when it was last seen: a reason to keep it, or None."""
        self._absent: set[str] = set()
        """Recorded documents that no listing showed, although the list vouches for their absence."""
        self._unseen: dict[str, Kept] = {}
        """Recorded documents that were never seen: nothing is known about them."""
        self._candidates: dict[str, frozenset[str]] = {}
        """Unrecorded documents of the last listing, by key."""
        self._settled: set[str] = set()
        """Keys whose unrecorded documents two listings in a row showed alike."""
        self._first: LocationReading | None = None
        self._has_control = False
        """Whether a listing has shown a document of the run: only then its silence means something."""

    async def work(self) -> LocationEnd:
        """Delete, wait, list and delete until a listing shows nothing more to delete."""
        try:
            # A lane may have customers only, and then there is nothing to list.
            return await self._work() if await self._lane.known() else LocationEnd([], 0)
        except JournalError:
            raise
        except HighLevelError as error:
            return await self._left(str(error))

    async def _work(self) -> LocationEnd:
        await self._learn_deletions()
        # before the first deletion: afterwards the list lacks the controls that vouch for its silence
        await self._see_all()
        if self._run.stop.is_set():
            return await self._left("interrupted")
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
        doubtful = self._is_doubtful(facts, await self._lane.known())
        quiet = loud = 0
        while loud <= len(self._pauses):
            # A listing that shows something starts the count of quiet ones again.
            is_quiet = await self._pass()
            quiet, loud = (quiet + 1, loud) if is_quiet else (0, loud + 1)
            if self._run.stop.is_set():
                return await self._left("interrupted")
            # Without a doubt one quiet listing is enough, if it showed documents before: silence from the first look
            # on proves nothing.
            if quiet > (len(self._pauses) if doubtful else not self._has_control):
                if self._unseen:
                    return await self._left(self._unseen_words())
                await self._conclude()
                return LocationEnd(list(self._kept.values()), 0)
            # The same failure again and again is about the token or the API, and not about the documents.
            if self._failures >= _FAILURES:
                break
            pause = self._pauses[max(quiet, loud) - 1] if max(quiet, loud) <= len(self._pauses) else 0.0
            # a list need not be waited for longer than the run itself would wait for it
            await self._pause(min(pause, self._timing.settle) if is_quiet else pause)
        words = (
            *self._failed.values(),
            f"the list of {words_for(self._lane.location)} does not agree with the deletions",
        )
        return await self._left(words[0])

    async def _learn_deletions(self) -> None:
        """Read deletions of earlier processes, and complete the items of proven ones."""
        gone: set[str] = set()
        async for one in each_deletion(self._run):
            if one.location == self._lane.location and one.outcome not in GONE:
                self._unproven[one.document] = one.key
            else:
                self._unproven.pop(one.document, None)
                gone.add(one.document)
        # A process may die between a deletion's result and the state of its item. No list shows that document again.
        for item in (await self._lane.known()).values():
            if item.document in gone and item.state is not State.DELETED:
                await self._run.journal.rolled_back(item.ordinal, item.document)

    async def _see_all(self) -> None:
        """List until each recorded document is seen, or the list vouches for its absence.

        Nothing is deleted meanwhile: the documents in a list are the control for those that it lacks.
        """
        waited = 0.0
        for look, pause in enumerate((*self._pauses, None)):
            self._first = reading = await self._read()
            known = await self._lane.known()
            hidden = self._hidden(reading, known)
            # An earlier process saw each document that it began to delete, so the API's 404 proves its absence.
            for one in self._unproven:
                hidden.pop(one, None)
            if not hidden or self._even_changed:
                return
            # our own clock for our own documents; the API's clock may be off by SKEW
            shown = {one.id for one in reading.listed}
            sent = [item.last_sent for item in known.values() if item.document in shown and item.last_sent]
            newest = max(sent, default=None)
            now = self._lane.now()
            vouched = {
                one
                for one, key in hidden.items()
                if vouches(newest, reading.newest, known[key].last_sent, now, self._timing)
            }
            waited_out = look > 0 and waited >= self._timing.settle and vouched == hidden.keys()
            if waited_out or pause is None:
                self._absent |= vouched
                return
            if await self._pause(pause):
                return
            waited += pause

    async def _read(self) -> LocationReading:
        """List the location, and ask the API for recorded documents that the list lacks."""
        known = await self._lane.known()
        reading = await read_location(self._documents, self._run.journal, self._keys, known)
        hidden = list(self._hidden(reading, known).items())
        for at in range(0, len(hidden), _DELETIONS_AT_ONCE):
            batch = hidden[at : at + _DELETIONS_AT_ONCE]
            found = await asyncio.gather(*(self._ask(known[key], one) for one, key in batch))
            if None in found:
                # the API has no such call, or a proxy answers: the rest would fare alike
                break
            reading.listed.extend(one for one in found if isinstance(one, Listed))
        return reading

    async def _ask(self, item: KnownItem, document: str) -> Listed | str | None:
        """Return a document as the API gives it, "gone", or None if it does not tell."""
        try:
            found = await self._documents.see(document)
        except NotFound as error:
            if not is_said_by_api(error):
                return None
            # the deletion that follows confirms it: between the two calls people may restore it
            self._absent.add(document)
            return "gone"
        if found is None:
            return None
        return listed_of(found, self._keys.read(found), await row_of(self._run.journal, item.ordinal))

    def _hidden(self, reading: LocationReading, known: dict[str, KnownItem]) -> dict[str, str]:
        """Return the recorded documents that a listing lacks, with their keys."""
        shown = {one.id for one in reading.listed}
        hidden = {
            item.document: key
            for key, item in known.items()
            if item.document and item.document not in shown and item.state is not State.DELETED
        }
        return hidden | {one: key for one, key in self._unproven.items() if one not in shown and key in known}

    def _is_doubtful(self, facts: LaneFacts, known: dict[str, KnownItem]) -> bool:
        """Return whether the location may hold documents whose ids the journal lacks.

        Only the list's silence shows that they are not there. So it is listed for as long as a list may lag.
        """
        if facts.unclean:
            return True
        due = None if facts.last_ambiguous_ever is None else self._timing.sweep_at(facts.last_ambiguous_ever)
        if due is None or (facts.swept_at is not None and facts.swept_at >= due):
            return False
        return any(
            item.possible > bool(item.document) and item.state is not State.DELETED for item in known.values()
        )

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
        """Wait. Return whether the run was stopped meanwhile."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._run.stop.wait()
        return self._run.stop.is_set()

    async def _left(self, reason: str, until: float | None = None) -> LocationEnd:
        """Return the open rest, for the next try."""
        known = await self._lane.known()
        items = sum(
            item.state is State.SENT or (item.state is State.CREATED and item.document not in self._kept)
            for item in known.values()
        )
        return LocationEnd([*self._kept.values(), *self._unseen.values()], max(items, 1), reason, until)

    async def _pass(self) -> bool:
        """List once and delete. Return whether the listing proves that nothing is left.

        A deletion that succeeds shows that a document was there: if the listing did not have it, the listing lags
        and its silence about other documents means nothing. So a listing proves only what it shows after the last
        deletion.
        """
        # each pass decides from its own listing alone: people go on working meanwhile
        self._kept.clear()
        self._failed.clear()
        self._unseen.clear()
        known = await self._lane.known()
        reading, self._first = self._first or await self._read(), None
        self._has_control = self._has_control or bool(reading.listed)
        recorded = self._note_candidates(reading, known)
        doomed: list[tuple[str, str]] = []
        is_waiting = False
        for claim in claims(reading.listed, known, self._timing, unique_keys=is_unique(self._keys)):
            reason = reason_to_keep(claim, even_changed=self._even_changed)
            if reason is not None:
                await self._keep_document(claim, reason, known)
            elif claim.listed.id in recorded or claim.key in self._settled:
                doomed.append((claim.key or claim.listed.key or "", claim.listed.id))
            else:
                is_waiting = True
                continue
            self._last[claim.listed.id] = self._kept.get(claim.listed.id)
        for document, key in self._hidden(reading, known).items():
            if await self._may_delete_unseen(document, known[key]):
                doomed.append((key, document))
        outcomes: list[str] = []
        for at in range(0, len(doomed), _DELETIONS_AT_ONCE):
            if self._run.stop.is_set() or self._failures >= _FAILURES:
                return False
            batch = doomed[at : at + _DELETIONS_AT_ONCE]
            outcomes += await asyncio.gather(*(self._delete(known[key], key, one) for key, one in batch))
            self._board.show()
        return "deleted" not in outcomes and not self._failed and not is_waiting

    def _note_candidates(self, reading: LocationReading, known: dict[str, KnownItem]) -> set[str | None]:
        """Note a listing's unrecorded documents by key, and return the recorded ids.

        A list that hides an original shows its copy as the oldest one. So who made an unrecorded document is decided
        only when two listings agree.
        """
        recorded = {item.document for item in known.values()}
        found: dict[str, set[str]] = {}
        for one in reading.listed:
            if one.key is not None and one.id not in recorded:
                found.setdefault(one.key, set()).add(one.id)
        before, self._candidates = self._candidates, {key: frozenset(ids) for key, ids in found.items()}
        self._settled = {key for key, ids in self._candidates.items() if before.get(key) == ids}
        return recorded

    async def _may_delete_unseen(self, document: str, item: KnownItem) -> bool:
        """Return whether an unlisted document may be deleted; else keep or leave it open."""
        if self._even_changed or document in self._absent or document in self._unproven:
            return True
        if document in self._last:
            kept = self._last[document]
            # Seen before, and hidden now: the decision of that look still holds.
            if kept is not None:
                self._kept[document] = kept
            return kept is None
        row = await row_of(self._run.journal, item.ordinal)
        detail = "the list does not show it; people may have changed it"
        self._unseen[document] = Kept("unseen", row.source_id, document, self._location, detail)
        return False

    def _unseen_words(self) -> str:
        return (
            f"the list of {words_for(self._lane.location)} lacks {len(self._unseen):,} documents of this run (for "
            f"example {next(iter(self._unseen))}), so people may have changed them unseen; --even-changed deletes them"
        )

    async def _keep_document(
        self, claim: Claim, reason: tuple[str, str], known: dict[str, KnownItem]
    ) -> None:
        """Name a document that stays, and record it as its item's if a key led to it."""
        key = claim.key or claim.listed.key or ""
        row = await row_of(self._run.journal, known[key].ordinal)
        self._board.done.add(claim.listed.id)
        self._kept[claim.listed.id] = Kept(
            reason[0], row.source_id, claim.listed.id, self._location, reason[1]
        )
        if claim.key not in self._settled or not claim.is_first or row.document:
            return
        # Recorded although it is kept: the next rollback then finds it by its id.
        if row.state is State.SENT:
            await self._lane.created(row.ordinal, row.attempt, claim.listed.id)
        else:
            await self._lane.adopt(row.ordinal, claim.listed.id)

    async def _delete(self, item: KnownItem, key: str, document: str) -> str:
        """Delete a document. Return ``deleted``, ``gone`` or the words of the failure."""
        if not self._lane.lasts(self._timing.guard):
            raise LaneLost(f"another process may work on {self._lane.location} by now")
        # written down first: a process that dies now leaves a name for its successor to ask about
        deletion = await self._lane.delete_intended(document, key, "rollback")
        outcome = await self._request(item, document)
        await self._lane.delete_ended(deletion, outcome)
        if outcome in GONE:
            self._failures = 0
            self._unproven.pop(document, None)
            self._board.done.add(document)
            # a second copy is not the item's document, whose own deletion is still to come
            if item.document in (None, document):
                await self._run.journal.rolled_back(item.ordinal, document)
        return outcome

    async def _request(self, item: KnownItem, document: str) -> str:
        try:
            await self._documents.delete(document)
        except NotFound as error:
            if is_said_by_api(error):
                return "gone"
            failure = str(error)
        # The API keeps the document and says why. Asking again would bring the same answer.
        except (BadRequest, Conflict, ValidationFailed) as error:
            if is_said_by_api(error):
                row = await row_of(self._run.journal, item.ordinal)
                kept = Kept("refused", row.source_id, document, self._location, str(error))
                self._kept[document] = kept
                return str(error)
            failure = str(error)
        except HighLevelError as error:
            failure = str(error)
        else:
            return "deleted"
        # Everything else leaves open whether the document was deleted, so it is asked for again.
        self._failures += 1
        self._failed[document] = failure
        return failure

    async def _conclude(self) -> None:
        """Withdraw unanswered items whose documents are provably not in the location."""
        # Planned first, because only a planned item can be withdrawn.
        for item in await self._lane.ambiguous():
            await self._lane.mark_planned(item.ordinal, item.attempt, listed=True)
        await self._run.journal.withdraw_planned()
