"""Internal. One valid token per location, shared by all tasks and processes.

The current token is in memory. The store is read if no token is loaded, if it is due for renewal, or if the server
refused it. One task per key does this work. It belongs to the refresher, and callers wait behind ``asyncio.shield``:
a cancelled caller never interrupts a refresh between the server's rotation and the write of the new pair.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final, TypeAlias

from hl_async import telemetry as events
from hl_async.auth.policy import (
    RefreshPolicy,
    RefreshStep,
    is_final,
    lost,
    missing,
    next_step,
    rejected,
    subject,
    unavailable,
)
from hl_async.auth.repository import Found, TokenRepository, contended
from hl_async.auth.token_endpoint import Denied, Issued, NoAnswer, Reply, TokenEndpoint
from hl_async.auth.tokens import COMPANY, LOCATION, TokenSet, fingerprint, grant_from_answer
from hl_async.errors import (
    AuthError,
    GrantLost,
    NotEntered,
    RefreshRejected,
    RefreshUnavailable,
    TokenStoreError,
)
from hl_async.telemetry import Telemetry

CompanyOf: TypeAlias = Callable[[str], str | None]

_logger: Final = logging.getLogger("hl_async")
_NEVER: Final = -math.inf
_RACES: Final = 8
_SAVES: Final = 3


class _Entry:
    """State of one key in this process. Times belong to the monotonic clock."""

    __slots__ = (
        "due", "error", "failures", "header", "refused", "renewed_after_refusal", "retry_at", "task", "unsaved",
        "usable_until", "was_refused",
    )  # fmt: skip

    def __init__(self) -> None:
        self.header: str | None = None
        self.due = _NEVER
        self.usable_until = _NEVER
        self.refused: str | None = None
        self.was_refused = False
        self.renewed_after_refusal = _NEVER
        self.failures = 0
        self.retry_at = _NEVER
        self.error: AuthError | None = None
        self.unsaved: tuple[str, TokenSet, str] | None = None
        self.task: asyncio.Task[AuthError | None] | None = None


class Refresher:
    """Keeps the tokens of one app valid. ``company_of`` returns the minting company."""

    def __init__(
        self,
        repository: TokenRepository,
        policy: RefreshPolicy,
        company_of: CompanyOf | None,
        *,
        monotonic: Callable[[], float],
        wall: Callable[[], float],
        random: Callable[[], float],
    ) -> None:
        self._repository = repository
        self._policy = policy
        self._company_of = company_of
        self._monotonic = monotonic
        self._wall = wall
        self._random = random
        self._entries: dict[str, _Entry] = {}
        self._tasks: set[asyncio.Task[AuthError | None]] = set()
        self._server: TokenEndpoint | None = None
        self._telemetry = Telemetry()
        self._closing = False

    def open(self, server: TokenEndpoint, telemetry: Telemetry) -> None:
        """Start to use ``server``."""
        self._server = server
        self._telemetry = telemetry
        self._closing = False

    async def aclose(self) -> None:
        """Wait for the refreshes under way, and store pairs that are not stored yet."""
        self._closing = True
        while self._tasks:
            await asyncio.wait(self._tasks)
        for key, entry in self._entries.items():
            if entry.unsaved is not None:
                try:
                    await self._flush(entry)
                except TokenStoreError as error:
                    _logger.error("the new refresh token of %s was never stored: %s", key, error)
        self._entries.clear()
        self._server = None

    @property
    def is_open(self) -> bool:
        """Whether a client uses this app now."""
        return self._server is not None

    @property
    def server(self) -> TokenEndpoint:
        """The authorisation server. Raises :class:`NotEntered` outside the block."""
        if self._server is None:
            raise NotEntered(
                "this OAuthApp is not in use yet; enter 'async with HighLevel(app) as hl:' first"
            )
        return self._server

    # ------------------------------------------------------------------------------ requests of calls

    def current(self, key: str) -> str | None:
        """Return the usable header, or None. Start its renewal if that is due."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        now = self._monotonic()
        if now >= entry.due:
            if now >= entry.usable_until:
                return None
            if entry.task is None and now >= entry.retry_at and not self._closing:
                self._start(key, entry, background=True)
        return entry.header

    async def bearer(self, key: str) -> str:
        """Return the header, loaded, refreshed or minted; see :meth:`Credentials.bearer`."""
        for _ in range(_RACES):
            header = self.current(key)
            if header is not None:
                return header
            entry = self._entries.setdefault(key, _Entry())
            if entry.task is None:
                if entry.error is not None and self._monotonic() < entry.retry_at:
                    raise copy.copy(entry.error)  # do not ask a failing server again before the pause is over
                self._start(key, entry, background=False)
            await self._join(key, entry)
        raise RefreshUnavailable(f"the server refuses each renewed token of {key}", key=key)

    def reject(self, key: str, sent: str) -> bool:
        """Drop the refused header ``sent``; see :meth:`Credentials.reject`."""
        entry = self._entries.get(key)
        if entry is None or entry.header != sent:
            return True  # another header is loaded already, or will be
        if self._monotonic() - entry.renewed_after_refusal < self._policy.rejection_pause:
            return False
        entry.refused = sent
        entry.was_refused = True
        entry.header = None
        entry.due = entry.usable_until = _NEVER
        return True

    async def renew(self, key: str) -> None:
        """Renew now, whatever the token's age and even after a final refusal."""
        entry = self._entries.setdefault(key, _Entry())
        if entry.task is not None:
            await asyncio.shield(entry.task)
        self._start(key, entry, background=False, force=True)
        await self._join(key, entry)

    async def adopt(self, name: str, grant: TokenSet) -> None:
        """Store the tokens of a new consent, and use them from now on."""
        entry = self._entries.setdefault(grant.key, _Entry())
        try:
            await self._repository.put(name, grant)
        except TokenStoreError:
            entry.unsaved = (name, grant, "")  # the code is used up, so this pair must not get lost
            raise
        entry.unsaved = None
        self._adopt(entry, grant, renewed=False)

    def forget(self, key: str) -> None:
        """Drop the state of ``key`` in this process."""
        self._entries.pop(key, None)

    # ------------------------------------------------------------------------------ the one task per key

    def _start(self, key: str, entry: _Entry, *, background: bool, force: bool = False) -> None:
        server = self.server  # raises outside the client's block, before there is a task
        work = self._work(server, key, entry, background, force)
        task = asyncio.get_running_loop().create_task(work, name=f"hl_async refresh {key}")
        entry.task = task
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, entry))

    def _ended(self, entry: _Entry, task: asyncio.Task[AuthError | None]) -> None:
        self._tasks.discard(task)
        if entry.task is task:
            entry.task = None
        if not task.cancelled():
            task.exception()  # a background refresh has no caller that would collect its error

    async def _join(self, key: str, entry: _Entry) -> None:
        """Wait for the entry's task; every waiter gets an error object of its own."""
        task = entry.task
        if task is None:
            return
        try:
            error = await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not task.cancelled() or (current is not None and current.cancelling()):
                raise  # the caller was cancelled; the refresh goes on
            error = RefreshUnavailable(
                f"the refresh for {key} was cancelled; the stored token was kept", key=key
            )
        if error is not None:
            raise copy.copy(error)

    async def _work(
        self, server: TokenEndpoint, key: str, entry: _Entry, background: bool, force: bool
    ) -> AuthError | None:
        started = self._monotonic()
        try:
            if entry.unsaved is not None:  # written first, because the token in the store is used up
                await self._flush(entry)
            grant, renewed = await self._obtain(server, key, entry, entry.header or entry.refused, force)
        except AuthError as error:
            failure = error.with_traceback(None)
        else:
            self._adopt(entry, grant, renewed)
            if renewed:
                self._telemetry.emit(events.TokenRefreshed(key, self._monotonic() - started, background))
            return None
        failure.key = failure.key or key
        self._failed(key, entry, failure, background)
        return failure

    def _adopt(self, entry: _Entry, grant: TokenSet, renewed: bool) -> None:
        now = self._monotonic()
        remaining = grant.remaining(self._wall())
        age = grant.life - remaining
        entry.header = grant.header
        entry.usable_until = now + remaining - self._policy.margin(grant.life)
        entry.due = entry.usable_until  # a token that cannot be renewed is used to its end
        if grant.minted or grant.refresh_token is not None:
            entry.due = now + self._policy.renewal_age(grant.life, self._random()) - age
        entry.renewed_after_refusal = now if renewed and entry.was_refused else _NEVER
        entry.was_refused = False
        entry.failures = 0
        entry.retry_at = _NEVER
        entry.error = None

    def _failed(self, key: str, entry: _Entry, failure: AuthError, background: bool) -> None:
        entry.failures += 1
        final = isinstance(failure, GrantLost)
        tried = not final and isinstance(failure, RefreshUnavailable | RefreshRejected)
        pause = self._policy.pause(entry.failures, self._random()) if tried else self._policy.max_backoff
        if isinstance(failure, RefreshUnavailable):
            pause = max(pause, failure.retry_after)
        # Missing or lost tokens are not remembered: another process may store new ones, so the next call reads the
        # store. After a failed background renewal, the call that finds the token expired must try at once.
        entry.error = failure if tried and not background else None
        entry.retry_at = self._monotonic() + pause
        self._telemetry.emit(events.TokenRefreshFailed(key, type(failure).__name__, background))
        if background and final:
            _logger.error("a background refresh failed for good while its token still works: %s", failure)

    # ------------------------------------------------------------------------------ obtaining a token

    async def _obtain(
        self, server: TokenEndpoint, key: str, entry: _Entry, unwanted: str | None, force: bool
    ) -> tuple[TokenSet, bool]:
        """Return a token set whose header is not ``unwanted``, and whether it is new."""
        found = await self._repository.find(key)
        step = RefreshStep.MINT if found is None else self._step(found.grant, unwanted, force)
        if found is not None and step is RefreshStep.USE:
            return found.grant, False
        if step is RefreshStep.MINT:
            return await self._mint(server, key, found)
        assert found is not None
        return await self._refresh(server, found.name, entry, unwanted, force)

    def _step(self, grant: TokenSet, unwanted: str | None, force: bool) -> RefreshStep:
        return next_step(grant, self._policy, wall=self._wall(), unwanted=unwanted, force=force)

    async def _refresh(
        self, server: TokenEndpoint, name: str, entry: _Entry, unwanted: str | None, force: bool
    ) -> tuple[TokenSet, bool]:
        """Use the refresh token under the store's lock, unless it is used already."""
        async with self._repository.locked(name):
            for _ in range(_RACES):
                found = await self._repository.load(name)
                if found is None:
                    raise missing(name.rpartition("/")[2], "its tokens were removed from the store")
                grant = found.grant
                step = self._step(grant, unwanted, force)
                if step is RefreshStep.USE:
                    return grant, False
                if step is RefreshStep.LOST:
                    raise lost(grant, None)
                if step is not RefreshStep.REFRESH or grant.refresh_token is None:
                    raise missing(grant.key, "its token expired, and it came without a refresh token")
                done = await self._use_refresh_token(server, found, entry)
                if done is not None:
                    return done
        raise contended(name.rpartition("/")[2])

    async def _use_refresh_token(
        self, server: TokenEndpoint, found: Found, entry: _Entry
    ) -> tuple[TokenSet, bool] | None:
        """Refresh once. Return None if another process wrote the entry: read it again."""
        name, grant, version = found
        token = grant.refresh_token
        assert token is not None
        spent = fingerprint(token)
        doubtful = grant.refreshing == spent
        # The mark is written before the request, for two reasons. Any later reader learns that this token may be
        # used up. And a store that cannot be written stops the refresh while the token is still good.
        since = grant.refreshing_since if doubtful else self._wall()
        if not await self._repository.save(
            name, grant.replace(refreshing=spent, refreshing_since=since), version
        ):
            return None
        reply, unanswered = await self._ask(partial(server.refresh, token, user_type=grant.kind))
        if isinstance(reply, Issued):
            fresh = grant_from_answer(reply.grant, self._wall(), grant)
            return await self._keep(entry, name, fresh, version + 1, spent)
        if isinstance(reply, Denied):
            now = await self._repository.load(name)
            if now is None or fingerprint(now.grant.refresh_token) != spent:
                return None  # another process renewed it, or a person logged in or out
            final = is_final(reply)
            before = grant.replace(refreshing=spent) if unanswered else grant
            after = before.replace(lost=spent) if final else grant
            with suppress(TokenStoreError):  # the refusal matters more than a failure to record it
                await self._repository.save(name, after, now.version)
            raise lost(before, reply) if final else rejected(grant.key, f"refresh {subject(grant)}", reply)
        if not reply.sent and not unanswered:
            with suppress(TokenStoreError):
                await self._repository.save(name, grant, version + 1)
        raise unavailable(grant.key, reply)

    async def _mint(self, server: TokenEndpoint, key: str, found: Found | None) -> tuple[TokenSet, bool]:
        """Mint a location's token from its company's: repeatable, so without a lock."""
        company = (found.grant.company_id if found else None) or await self._company(key)
        if company is None or company == key:
            raise missing(key)
        reply: Reply = NoAnswer("no request was made", sent=False)
        for last in (False, True):  # once more if the company's token was refused and could be renewed
            bearer = await self.bearer(company)
            reply, _ = await self._ask(partial(server.mint, company, key, bearer))
            if isinstance(reply, Denied) and reply.token_bad and not last and self.reject(company, bearer):
                continue
            break
        if isinstance(reply, Issued):
            # Its own refresh token is dropped: the company's token mints a new one, without a rotation to guard.
            fresh = grant_from_answer(reply.grant, self._wall()).replace(
                kind=LOCATION, location_id=key, company_id=company, refresh_token=None, minted=True
            )
            with suppress(TokenStoreError):  # a lost token is minted again
                name = self._repository.name_of(LOCATION, key)
                await self._repository.save(name, fresh, found.version if found else 0)
            return fresh, True
        if isinstance(reply, Denied):
            raise rejected(key, f"mint a token for location {key} from company {company}", reply)
        raise unavailable(key, reply)

    async def _company(self, key: str) -> str | None:
        """Return the company that mints for a location without tokens of its own."""
        if self._company_of is not None:
            return self._company_of(key)
        names = await self._repository.names(COMPANY)
        if len(names) > 1:
            raise missing(
                key, f"no token is stored for it, and {len(names)} companies could mint one: give company_id"
            )
        return names[0].rpartition("/")[2] if names else None

    async def _ask(self, send: Callable[[], Awaitable[Reply]]) -> tuple[Reply, bool]:
        """Send until the server answers, within ``attempts`` and ``timeout``.

        A used refresh token works again for seconds only, if at all (docs/api-facts.md#api-refresh-grace).
        Returns the reply, and whether an earlier request may have been executed without an answer.
        """
        started = self._monotonic()
        unanswered = False
        reply: Reply = NoAnswer("no request was made", sent=False)
        for attempt in range(1, self._policy.attempts + 1):
            reply = await send()
            if not isinstance(reply, NoAnswer):
                break
            pause = max(reply.retry_after, self._policy.pause(attempt, self._random()))
            late = self._monotonic() - started + pause >= self._policy.timeout
            if attempt == self._policy.attempts or late or self._closing:
                break
            unanswered = unanswered or reply.sent
            await asyncio.sleep(pause)
        return reply, unanswered

    async def _keep(
        self, entry: _Entry, name: str, grant: TokenSet, version: int, spent: str
    ) -> tuple[TokenSet, bool]:
        """Store a new pair before its use, in three tries; later calls try again."""
        entry.unsaved = (name, grant, spent)  # first: a failing write must not lose the only valid pair
        failure: TokenStoreError | None = None
        for attempt in range(1, _SAVES + 1):
            try:
                kept = await self._repository.replace_spent(name, grant, version, spent)
            except TokenStoreError as error:
                failure = error
            else:
                entry.unsaved = None
                if kept is None:
                    raise missing(
                        grant.key, "its tokens were removed from the store while they were refreshed"
                    )
                return kept, kept is grant
            if attempt < _SAVES:
                await asyncio.sleep(self._policy.pause(attempt, self._random()))
        raise TokenStoreError(
            f"the new token pair of {subject(grant)} could not be stored, and the old one is used up. Repair the "
            f"store before this process ends: it keeps the pair in memory and writes it as soon as possible. {failure}",
            key=grant.key,
        )

    async def _flush(self, entry: _Entry) -> None:
        """Write a pair that could not be stored when it was issued."""
        assert entry.unsaved is not None
        name, grant, spent = entry.unsaved
        if not spent:  # tokens of a new consent are newer than any stored ones
            await self._repository.put(name, grant)
        else:
            found = await self._repository.load(name)
            if found is not None:  # a person who removed the entry meanwhile wins
                await self._repository.replace_spent(name, grant, found.version, spent)
        entry.unsaved = None
