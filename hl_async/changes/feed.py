"""Internal. The feed: reads lists within its share of the budget, yields changes."""

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
"""Complete passes without a document before it counts as deleted. After each, its contact's list lacks it too."""


@dataclasses.dataclass(frozen=True, slots=True)
class FeedPolicy:
    """Rules for reading a feed.

    Attributes:
        share: Part of the location's rate budget that the feed may use, above 0 and at most 1. Two feeds of 0.2 use
            0.4 together.
        every: Seconds between two looks at the newest documents, and at least between two passes.
        limit: Documents per page, from 21 to 100.
        lease: Seconds after which another process takes over from one that died.
        lag: Seconds for which a copy with an older time counts as a list that lags behind. Afterwards it counts as a
            change that a server with a slower clock wrote.

    Raises:
        ConfigurationError: A value is out of range.
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
    """The result of looking for one document.

    Attributes:
        document: The document, None if it was not found.
        is_proof: If the document was not found, it certainly does not exist.
        following: Offset of the next page to look at; None after the last.
    """

    document: Estimate | Invoice | None
    is_proof: bool
    following: int | None = None


class FeedSource(Protocol):
    """Internal. The part of a location that a feed reads."""

    @property
    def name(self) -> str:
        """Location, kind and format of the documents: the name of the feed in a store."""
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

    Get one from ``shop.estimates.changes()``. The changes of a document are stored as reported when the reader asks for
    the next document's. Changes that were not stored are reported again after a restart, with the same ``Change.id``.
    The feed does not read ahead of a slow reader, and renews its lease meanwhile.

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
        # Bounded: a slow reader must not collect webhooks without end. A pass finds the dropped documents.
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
        """Add a document from another source, such as a webhook.

        It is compared like one that the feed read. If more than 1,000 wait, the oldest are dropped. The next pass reads
        them.
        """
        self._pushed.append(document)
        self._wake.set()

    def __aiter__(self) -> AsyncIterator[Change]:
        return self.endless()

    def endless(self) -> AsyncGenerator[Change, None]:
        """Iterate until :meth:`stop`.

        Leave the loop inside ``contextlib.aclosing``, so that the lease is released at once.
        """
        return self._run(once=False)

    def once(self) -> AsyncGenerator[Change, None]:
        """Iterate until one pass is complete, for cron jobs with a stored cursor.

        Raises :class:`CursorError` if another process holds the lease.
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
                        await asyncio.wait([keeping])  # it may be in the middle of a write to the store
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
        self._pass_began = clock()  # if another process began the pass, only the rest of it is timed
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
                # After the yields: a crash before this line repeats the changes. A write before them could lose some.
                await store.save(name, state, {document_id: rows.pop(document_id)})
            await store.save(name, reading.following, rows)
            if reading.is_complete:
                # Before the first pass no document was known, so none can be missing.
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
            # One by one, because two versions of a document are two changes.
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
                # Lists may lag, so without a proof a document must be missing twice.
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
            with contextlib.suppress(CursorError):  # `_hold` uses the same store and raises it
                await self._leased()

    def _older(self, since: float) -> float:
        """Return when an older copy was first read, or 0 if that was over ``lag`` s ago."""
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
            # The first request waits too: a feed that is restarted often must keep to its share.
            self._next_request = clock() + gap
        await self._wait(self._next_request - clock())
        if self._stop.is_set():
            return None
        # Counted from now after an idle time, so that unused share does not become a burst.
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
            # The store is asked again at the next call.
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
    """Documents to compare, and the position of the feed after them."""

    documents: Sequence[Estimate | Invoice]
    following: FeedState
    is_pass: bool
    is_complete: bool


class _Verdict(NamedTuple):
    """The changes that a look at a known document shows, and the row to store."""

    kinds: tuple[ChangeKind, ...]
    row: Seen


def _verdict(previous: Seen, current: Seen, older: Callable[[float], float]) -> _Verdict:
    """Compare two looks.

    For ``FeedPolicy.lag`` seconds, a copy with an older time is taken for a list that lags behind.
    """
    if is_stale(previous, current):
        # An older copy would be reported as a change back, and the next look as a change forth.
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

    Returns the changes by document, the oldest document first, and the rows to store.
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
    """Return the row with the number of another pass."""
    return Seen(row.status, row.paid, row.updated, row.digest, row.contact, passed, missing, older)
