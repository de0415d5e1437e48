"""Internal. Conclusions about a run's items from the list of their location.

They serve canary, reconciling, resuming and sweeping. This is the shell around ``evidence``. A listing that proves
nothing is repeated after growing pauses. If none proves anything, the work on the lane ends with the reason, and
every item stays as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Final

from hl_async.bulk.evidence import CANARY_FAILURES, HELD_AFTER, PAGE, Scan, is_server_error, pauses
from hl_async.bulk.journals.protocol import LaneJournal, SentItem
from hl_async.bulk.ownership import Ownership, own_copies
from hl_async.bulk.protocol import Control, Copy, KnownItem, State, Timing, after_listing
from hl_async.bulk.target import Target
from hl_async.errors import CanaryFailed, HighLevelError, LaneLost

SECOND_COPY: Final = "a second copy of"
"""How the reason of a deletion begins that the sweep made."""

_CONTROLS: Final = 10_000
_ASKED: Final = 50
"""So many missing controls are asked for one by one after each listing."""


class Inconclusive(Exception):
    """The work on a lane can't go on for now; the text says why."""


class Reconciler:
    """What a lane learns from the list of its location.

    Args:
        target: The location.
        timing: The waits of the run.
        stop: Ends pauses between two looks at the list.
        wait: Waits so many seconds, or until ``stop``.
        own: Decides which documents with one key are the run's.
        page: So many older documents in a row make the rest of a list uninteresting.
    """

    def __init__(
        self,
        target: Target,
        timing: Timing,
        stop: asyncio.Event,
        *,
        wait: Callable[[float], Awaitable[None]] | None = None,
        own: Callable[[KnownItem, Sequence[Copy], Container[str], Timing], Ownership] = own_copies,
        page: int = PAGE,
    ) -> None:
        self._target = target
        self._timing = timing
        self._stop = stop
        self._wait = wait or self._until_stopped
        self._own = own
        self._page = page
        self.foreign: list[Copy] = []
        """Documents with a key of the run that the last sweep kept: nothing proves that the run made them."""
        self.deleted: list[Copy] = []
        """Second copies that were deleted."""

    async def canary(self, lane: LaneJournal) -> bool:
        """Look for a created document by its key, and note that resuming is safe.

        Returns:
            False if no document was created yet, or none of them exists any more.

        Raises:
            CanaryFailed: The list shows the document without its key.
            Inconclusive: The list does not show the document.
        """
        for control in await lane.controls(None, _ASKED):
            if await self._target.exists(control.document) is not False:
                break
        else:
            return False
        for pause in (*pauses(self._timing.settle), None):
            scan = await self._scan(Scan((), (control,)), until_met=True)
            if scan.proves_absence:
                await lane.prove()
                return True
            if scan.keyless:
                raise CanaryFailed(
                    f"the first document of {lane.location} was created, but the list does not give its key back; "
                    "stopped before the second one. Choose another place for the key (--key name)"
                )
            if pause is None or not await self._pause(pause, lane):
                break
        raise Inconclusive(
            f"the list of {lane.location} does not show the document {control.document}, which was created first; "
            "the next start looks for it again"
        )

    async def reconcile(self, lane: LaneJournal) -> None:
        """List once, and decide about every ambiguous item.

        Raises:
            Inconclusive: The list proves nothing about items that are not in it, or the first document of the
                location failed again and again.
        """
        items = await lane.ambiguous()
        # Before the decisions: if the process dies in between, a sweep must still follow these requests.
        await lane.note_ambiguous(max(item.sent_at for item in items))
        first = min(item.sent_at for item in items)
        recorded = {one.document for one in (await lane.known()).values()}
        proven = (await lane.facts()).proven
        # Documents older than the first request cannot be its.
        scan = await self._controlled(lane, {item.key for item in items}, first)
        for item in items:
            # a document that is recorded for another item only seems to carry this key
            found = [copy for copy in scan.found.get(item.key, ()) if copy.id not in recorded]
            if after_listing(bool(found)) is State.CREATED:
                oldest = min(found, key=lambda copy: (copy.created_at or 0.0, copy.id))
                await lane.created(item.ordinal, item.attempt, oldest.id)
                # A key that came back in a list is the proof that the canary waits for.
                await lane.prove()
                proven = True
            elif scan.proves_absence:
                await self._not_executed(lane, item)
        if not scan.proves_absence:
            raise Inconclusive(_words(lane.location, scan, sum(not scan.found.get(one.key) for one in items)))
        for item in items if not proven else ():
            if CANARY_FAILURES <= item.failures + 1 < HELD_AFTER and is_server_error(item.words):
                raise Inconclusive(
                    f"the first document of {lane.location} failed {item.failures + 1} times: {item.words}"
                )

    async def _not_executed(self, lane: LaneJournal, item: SentItem) -> None:
        # a request without words ended with its process, which says nothing about the document
        if item.words is None or item.failures + 1 < HELD_AFTER:
            await lane.mark_planned(item.ordinal, item.attempt, listed=True)
            return
        await lane.mark_unknown(
            item.ordinal,
            item.attempt,
            f"sent {item.failures + 1} times, and each time it was not executed: {item.words}",
        )

    async def look(self, lane: LaneJournal, *, unclean: bool) -> None:
        """List before a resumed run sends, and adopt documents that the journal forgot.

        Raises:
            Inconclusive: The list proves nothing.
        """
        # Taken before the listing: an earlier request may still be executed while the list is read.
        began = lane.now()
        known = await lane.known()
        recorded = {item.document for item in known.values() if item.document}
        waiting = {key for key, item in known.items() if item.state is State.PLANNED}
        scan = await self._controlled(lane, waiting, None)
        if not scan.proves_absence:
            raise Inconclusive(_words(lane.location, scan, len(waiting)))
        healed = 0
        for key, copies in scan.found.items():
            fresh = [copy for copy in copies if copy.id not in recorded]
            if fresh:
                # the oldest is the original; younger ones may be copies by people
                oldest = min(fresh, key=lambda copy: (copy.created_at or 0.0, copy.id))
                healed += await lane.adopt(known[key].ordinal, oldest.id)
        if healed:
            await lane.prove()
        if healed or unclean:
            # requests that the journal forgot may still be executed: the sweep has to come after them
            await lane.note_ambiguous(began)
        await lane.listed()

    async def sweep(self, lane: LaneJournal) -> None:
        """List when no request can be executed any more, and remove second copies.

        Raises:
            Inconclusive: The list proves nothing.
        """
        # The time before the listing, or a request executed during it would count as swept.
        began = lane.now()
        known = await lane.known()
        recorded = {item.document for item in known.values() if item.document}
        # read to its end: a second copy may be of any age
        scan = await self._controlled(lane, known, None)
        if not scan.proves_absence:
            raise Inconclusive(_words(lane.location, scan, 0))
        foreign: list[Copy] = []
        for key, copies in scan.found.items():
            own = self._own(known[key], copies, recorded, self._timing)
            if known[key].document is None and own.keep is not None:
                await lane.adopt(known[key].ordinal, own.keep.id)
            await self._delete(lane, key, own)
            foreign += own.report
        # an empty list replaces an earlier one: people may have deleted their copies since
        if foreign or self.foreign:
            await lane.note_copies([copy.id for copy in foreign])
        self.foreign = foreign
        await lane.swept(began)

    async def _delete(self, lane: LaneJournal, key: str, own: Ownership) -> None:
        for copy in own.delete:
            # Asked before each deletion: the listing took long, and the lease may have ended meanwhile.
            if not lane.lasts(self._timing.guard):
                raise LaneLost(f"another process may work on {lane.location} by now")
            keep = own.keep.id if own.keep is not None else ""
            deletion = await lane.delete_intended(copy.id, key, f"{SECOND_COPY} {keep}")
            try:
                deleted = await self._target.delete(copy.id)
            except HighLevelError as error:
                await lane.delete_ended(deletion, f"failed: {error}")
                raise
            await lane.delete_ended(deletion, "deleted" if deleted else "gone")
            self.deleted.append(copy)

    # ------------------------------------------------------------------------------------------ listing

    async def _controlled(self, lane: LaneJournal, wanted: Container[str], since: float | None) -> Scan:
        """List until the controls are met, with growing pauses. Return the last listing."""
        # Without younger documents, the newest of all at least shows that the list is not empty.
        controls = await lane.controls(since, _CONTROLS) or await lane.controls(None, 1)
        gone: set[str] = set()
        scan = Scan(wanted)
        for pause in (*pauses(self._timing.settle), None):
            left = [control for control in controls if control.document not in gone]
            scan = await self._scan(Scan(wanted, left, since, page=self._page))
            if scan.proves_absence:
                break
            # a control that people deleted would keep the list from ever proving anything
            gone |= await self._deleted(scan.missing)
            scan.drop(gone)
            if scan.proves_absence or pause is None or not await self._pause(pause, lane):
                break
        scan.drop_deleted(lane.now(), self._timing)
        return scan

    async def _scan(self, scan: Scan, *, until_met: bool = False) -> Scan:
        """Feed a listing to ``scan``, as far as it matters."""
        async with contextlib.aclosing(self._target.listing()) as documents:
            async for key, copy in documents:
                if not scan.see(key, copy) or (until_met and scan.proves_absence):
                    break
        return scan

    async def _deleted(self, missing: Sequence[Control]) -> set[str]:
        """Return the missing controls that were deleted, as far as the API tells."""
        gone: set[str] = set()
        for control in missing[:_ASKED]:
            if await self._target.exists(control.document) is not False:
                break  # it is there, or the API has no call that tells: the list lags
            gone.add(control.document)
        return gone

    async def _pause(self, seconds: float, lane: LaneJournal) -> bool:
        """Wait. Return False if the work is to end."""
        await self._wait(seconds)
        return not self._stop.is_set() and lane.lasts(self._timing.guard)

    async def _until_stopped(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


def _words(location: str, scan: Scan, undecided: int) -> str:
    """Return why a listing proves nothing."""
    if scan.keyless:
        problem = f"gives {len(scan.keyless):,} documents of this run without their keys"
    else:
        problem = f"lacks {len(scan.missing):,} documents that this run created"
    text = f"the list of {location} {problem} (for example {_example(scan)}), so it proves nothing"
    return f"{text} about {undecided:,} documents without an answer" if undecided else text


def _example(scan: Scan) -> str:
    return next(iter(scan.keyless), "") or scan.missing[0].document
