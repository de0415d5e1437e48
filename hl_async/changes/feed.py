"""Internal. The feed: reads pages within its share of the rate budget.

It yields the differences.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from hl_async.changes.cursors import CursorStore, MemoryCursors
from hl_async.changes.detection import Change, ChangeKind, Seen, change_of, differences, is_stale, observe
from hl_async.changes.passes import FeedState, advance
from hl_async.errors import (
    BadRequest,
    CallError,
    ConfigurationError,
    CursorError,
    Forbidden,
    NotFound,
    Unauthorized,
    ValidationFailed,
)
from hl_async.models import Estimate, Invoice

T = TypeVar("T")

_logger = logging.getLogger("hl_async")

_FINAL: Final = (Unauthorized, Forbidden, NotFound, BadRequest, ValidationFailed)
_LONGEST_PAUSE: Final = 60.0
_MOST_PUSHED: Final = 1_000
_CHECKED_AT_ONCE: Final = 20
_MISSED_PASSES: Final = 2
"""Complete passes, and as many lists of its contact, that lack a document before it counts as deleted."""


@dataclasses.dataclass(frozen=True, slots=True)
class FeedPolicy:
    """How a feed reads.

    Attributes:
        share: The part of the location's rate budget that it may use, above 0 to 1. It is the feed's own: two feeds of
            0.2 use 0.4.
        every: Seconds between two looks at the newest documents, and at least between two passes.
        limit: Documents per page.
        lease: Seconds after which another process takes over from one that died.
        lag: Seconds for which a copy with an older time counts as a list that lags behind. Afterwards it counts as a
            change that a server with a slower clock wrote.
    """

    share: float = 0.2
    every: float = 5.0
    limit: int = 100
    lease: float = 30.0
    lag: float = 600.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigurationError(
                "share", f"{self.share!r} is not a share; give a number above 0, up to 1"
            )
        for name in ("every", "lease", "lag"):
            if not getattr(self, name) > 0:
                raise ConfigurationError(name, f"{getattr(self, name)!r} is not a number of seconds above 0")
        if not 20 < self.limit <= 100:
            raise ConfigurationError("limit", f"{self.limit!r} is not a page size from 21 to 100")


class Look(NamedTuple):
    """The answer to "is this document still there?".

    Attributes:
        document: The document, if it is still there.
        is_proof: Its absence is proved, not only likely.
        following: The offset of the next page to look at; None after the last.
    """

    document: Estimate | Invoice | None
    is_proof: bool
    following: int | None = None


class FeedSource(Protocol):
    """Internal. The part of a location that a feed reads."""

    @property
    def name(self) -> str:
        """Location, kind and format, to which a cursor belongs."""
        ...

    def rate(self) -> float:
        """Return the location's rate budget in requests per second."""
        ...

    async def page(self, offset: int, limit: int) -> Sequence[Estimate | Invoice]:
        """Read one page of the list."""
        ...

    async def look(self, document_id: str, contact_id: str, offset: int) -> Look:
        """Look for one document that a pass has not met, with one request."""
        ...


class ChangeFeed:
    """The changes of a location's estimates or invoices, as an endless iterator.

    Get one from ``shop.estimates.changes()``. A document's changes are remembered when the next document's are asked
    for. What the reader did not finish is reported again after a restart, with the same ``Change.id``. Nothing is
    read ahead of a slow reader, and its lease is renewed meanwhile.

    The first pass over an unknown location only learns its documents. A change is seen within one pass. With
    the usual budget and a fifth of it, a pass takes about 620 s for 100,000 documents: documents ÷ 90 ÷ (share x
    requests per second) seconds, and a tenth more for the looks at the newest page. New documents are seen within
    ``every`` seconds.

    Several processes may run the same feed on a shared store. One of them reads; another takes over when its lease
    ends.

    Raises:
        CursorError: The store cannot be used.
        CallError: The API refuses the list for good. The feed logs a temporary failure, waits and tries again.
    """

    def __init__(
        self,
        source: FeedSource,
        store: CursorStore | None = None,
        policy: FeedPolicy | None = None,
        *,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._store = MemoryCursors() if store is None else store
        self._policy = policy or FeedPolicy()
        self._holder = secrets.token_hex(8)
        self._wall = wall
        self._stop = asyncio.Event()
        self._wake = asyncio.Event()
        # bounded: a reader that stands still must not collect webhooks without end; a pass finds dropped ones
        self._pushed: deque[Estimate | Invoice] = deque(maxlen=_MOST_PUSHED)
        self._next_request: float | None = None
        self._newest_at = 0.0
        self._pass_began = 0.0
        self._next_pass = 0.0
        self._renewed_at = -1e9
        self._failures = 0
        self._passed = asyncio.Event()
        self.seconds_per_pass: float | None = None
        """Seconds that the last complete pass took."""

    def stop(self) -> None:
        """End the iteration after the change that is being handled."""
        self._stop.set()
        self._wake.set()

    async def first_pass(self) -> float:
        """Wait until this feed has completed a pass, and return the seconds that it took."""
        await self._passed.wait()
        assert self.seconds_per_pass is not None
        return self.seconds_per_pass

    def push(self, document: Estimate | Invoice) -> None:
        """Feed a document that arrived by another way, such as a webhook.

        It is compared like one that was read. Of more than 1,000 that wait, the oldest are dropped: the lists show
        them within a pass.
        """
        self._pushed.append(document)
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self.endless()

    def endless(self) -> AsyncGenerator[Change, None]:
        """Iterate until :meth:`stop`.

        ``contextlib.aclosing`` around it releases the lease at once.
        """
        return self._run(once=False)

    def once(self) -> AsyncGenerator[Change, None]:
        """Iterate until one pass is complete.

        It is for cron jobs, with a cursor that survives them.
        """
        return self._run(once=True)

    async def _run(self, *, once: bool) -> AsyncGenerator[Change, None]:
        name = self._source.name
        try:
            while not self._stop.is_set():
                if await self._leased():
                    keeping = asyncio.create_task(self._keep())
                    try:
                        async for change in self._hold(once=once):
                            yield change
                    finally:
                        keeping.cancel()
                        await asyncio.wait([keeping])  # it may be using the store
                    if once:
                        return
                elif once:
                    raise CursorError(f"another process reads {name}; it holds the lease")
                else:
                    await self._wait(self._policy.lease / 3)
        finally:
            await self._store.release(name, self._holder)

    async def _hold(self, *, once: bool) -> AsyncIterator[Change]:
        """Read while the lease is held."""
        name, store = self._source.name, self._store
        state = await store.state(name) or FeedState()
        clock = asyncio.get_running_loop().time
        self._pass_began = clock()  # of a pass that another process began, only the rest is timed
        while not self._stop.is_set() and await self._leased():
            reading = await self._read(state)
            if reading is None:
                continue
            known = await store.load(name, [document.id for document in reading.documents])
            found, rows = compared(
                name, state, reading.documents, known, is_pass=reading.is_pass, older=self._older
            )
            for document_id, changes in found.items():
                for change in changes:
                    yield change
                # The reader may have taken long: another process that took over has newer rows.
                if not await self._leased():
                    return
                # after the yields: a crash before this line repeats the changes, one after it would lose them
                await store.save(name, state, {document_id: rows.pop(document_id)})
            await store.save(name, reading.following, rows)
            if reading.is_complete:
                # a first pass has nothing to miss
                if not state.is_baseline:
                    async for change in self._missing(reading.following):
                        yield change
                self.seconds_per_pass = clock() - self._pass_began
                self._passed.set()
                if once:
                    return
                self._next_pass = self._pass_began + self._policy.every
            state = reading.following

    async def _read(self, state: FeedState) -> _Reading | None:
        """Take a pushed document, or read the newest page, or the next page of the pass."""
        if self._pushed:
            # one by one: two versions of a document are two changes
            return _Reading([self._pushed.popleft()], state, is_pass=False, is_complete=False)
        clock = asyncio.get_running_loop().time
        if not state.offset:
            if (pause := self._next_pass - clock()) > 0:
                await self._doze(pause)
                return None
            self._pass_began = clock()
        # between the pages of a long pass, the newest documents are looked at every `every` seconds
        is_pass = not state.offset or clock() - self._newest_at < self._policy.every
        page = await self._page(state.offset if is_pass else 0)
        if page is None:
            return None
        if not is_pass or not state.offset:
            self._newest_at = clock()
        if not is_pass:
            return _Reading(page, state, is_pass=False, is_complete=False)
        step = advance(state, [document.id for document in page], self._policy.limit)
        return _Reading(page, step.state, is_pass=True, is_complete=step.is_complete)

    async def _missing(self, state: FeedState) -> AsyncIterator[Change]:
        """Look for the documents that the pass before ``state`` has not met."""
        name, store = self._source.name, self._store
        done = state.number - 1
        while rows := await store.unseen(name, done, _CHECKED_AT_ONCE):
            for document_id, row in rows.items():
                look = await self._look(document_id, row.contact)
                if look is None or self._stop.is_set():
                    return  # the next pass asks again
                kept: dict[str, Seen] = {}
                gone: list[str] = []
                if look.document is not None:
                    verdict = _verdict(row, observe(look.document, done), self._older)
                    kept[document_id] = verdict.row
                    for kind in verdict.kinds:
                        yield change_of(name, kind, document_id, row, verdict.row, look.document)
                # lists may lag: without a proof, absence counts only when it is seen twice
                elif look.is_proof or row.missing + 1 >= _MISSED_PASSES:
                    yield change_of(name, ChangeKind.DELETED, document_id, row, None, None)
                    gone.append(document_id)
                else:
                    kept[document_id] = met(row, done, row.missing + 1)
                if not await self._leased():
                    return
                await store.save(name, state, kept, gone)

    async def _keep(self) -> None:
        """Renew the lease while the reader takes its time over a change."""
        while True:
            await asyncio.sleep(self._policy.lease / 3)
            with contextlib.suppress(CursorError):  # the reading itself meets the same store, and reports it
                await self._leased()

    def _older(self, since: float) -> float:
        """Return when an older copy was first read; 0 if that is too long ago for a lag."""
        now = self._wall()
        return 0.0 if since and now - since >= self._policy.lag else since or now

    async def _page(self, offset: int) -> Sequence[Estimate | Invoice] | None:
        return await self._asked(lambda: self._source.page(offset, self._policy.limit))

    async def _look(self, document_id: str, contact_id: str) -> Look | None:
        offset: int | None = 0
        look: Look | None = None
        while offset is not None:
            look = await self._asked(functools.partial(self._source.look, document_id, contact_id, offset))
            offset = None if look is None else look.following
        return look

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Make one request within the share; None, after a pause, if it failed for now."""
        clock = asyncio.get_running_loop().time
        gap = 1 / (self._policy.share * self._source.rate())
        if self._next_request is None:
            # a feed that is started again and again keeps to its share too
            self._next_request = clock() + gap
        await self._wait(self._next_request - clock())
        if self._stop.is_set():
            return None
        # counted from now after an idle time: unused share is not saved up for a burst
        self._next_request = max(clock(), self._next_request) + gap
        try:
            answer = await ask()
        except _FINAL:
            raise
        except CallError as error:
            pause = min(_LONGEST_PAUSE, 2.0**self._failures)
            self._failures += 1
            _logger.warning("%s cannot be read, trying again in %g s: %s", self._source.name, pause, error)
            await self._wait(pause)
            return None
        self._failures = 0
        return answer

    async def _leased(self) -> bool:
        """Hold the lease, renewing it when a third of it is over."""
        now = asyncio.get_running_loop().time()
        if now - self._renewed_at < self._policy.lease / 3:
            return True
        if not await self._store.lease(self._source.name, self._holder, self._policy.lease):
            # ask again at the next call, however long the loop slept
            self._renewed_at = -1e9
            return False
        self._renewed_at = now
        return True

    async def _doze(self, seconds: float) -> None:
        """Wait between two passes; a pushed document or a stop ends it."""
        self._wake.clear()
        if not self._pushed and not self._stop.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()

    async def _wait(self, seconds: float) -> None:
        if seconds > 0 and not self._stop.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await self._stop.wait()
            except TimeoutError:
                pass

    def __repr__(self) -> str:
        return f"<ChangeFeed {self._source.name}, {self._policy.share:.0%} of the rate budget>"


class _Reading(NamedTuple):
    """Documents to compare, and where the feed stands after them."""

    documents: Sequence[Estimate | Invoice]
    following: FeedState
    is_pass: bool
    is_complete: bool


class _Verdict(NamedTuple):
    """What a look at a known document means, and the row to store."""

    kinds: tuple[ChangeKind, ...]
    row: Seen


def _verdict(previous: Seen, current: Seen, older: Callable[[float], float]) -> _Verdict:
    """Compare two looks.

    A copy with an older time is a list that lags behind, until it has lagged for too long.
    """
    if is_stale(previous, current):
        # An older copy would report a change backwards, and the next look would report it forwards again.
        since = older(previous.older)
        if since:
            return _Verdict((), met(previous, current.passed, older=since))
    return _Verdict(differences(previous, current), current)


def compared(
    feed: str,
    state: FeedState,
    documents: Sequence[Estimate | Invoice],
    known: dict[str, Seen],
    *,
    is_pass: bool,
    older: Callable[[float], float],
) -> tuple[dict[str, list[Change]], dict[str, Seen]]:
    """Compare a page with the last states.

    Returns changes by document, the oldest first, and the rows to store.
    """
    found: dict[str, list[Change]] = {}
    rows: dict[str, Seen] = {}
    has_known_after = False
    # lists are newest first
    for document in reversed(documents):
        previous = known.get(document.id)
        number = state.number if is_pass or previous is None else previous.passed
        current = observe(document, number)
        if previous is not None:
            kinds, rows[document.id] = _verdict(previous, current, older)
        else:
            rows[document.id] = current
            # While the location is being learnt, a document counts as new only above one that was there already.
            is_new = not state.is_baseline or (not is_pass and has_known_after)
            kinds = differences(None, current) if is_new else ()
        if kinds:
            found[document.id] = [
                change_of(feed, kind, document.id, previous, current, document) for kind in kinds
            ]
        has_known_after = has_known_after or previous is not None
    return found, rows


def met(row: Seen, passed: int, missing: int = 0, older: float = 0.0) -> Seen:
    """Return the row with another pass on it."""
    return Seen(row.status, row.paid, row.updated, row.digest, row.contact, passed, missing, older)
