"""Internal. The loop between a typed call and the wire.

Its steps: govern, authorise, attempt, observe, decide, decode. The order matters. The bearer is fetched after the
wait for the rate budget, so that it cannot expire in the queue. The slot and the connection are released before a
pause. With a free slot and a valid token, only the request itself suspends.
"""

from __future__ import annotations

import asyncio
import math
import random as random_module
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from itertools import count
from time import monotonic, time
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

from hl_async import telemetry as events
from hl_async.config import CallOptions, ClientConfig, Lane
from hl_async.errors import (
    CallError,
    ClientClosed,
    DeadlineExceeded,
    DecodeError,
    RateLimited,
    WireError,
)
from hl_async.governor import Governor, Permit, Scope, parse_retry_after
from hl_async.operations import Operation, names_no_location
from hl_async.secret import MaskedText
from hl_async.telemetry import Telemetry
from hl_async.transport.account import Account
from hl_async.transport.responses import error_from_response, outcome_unknown, undecodable
from hl_async.transport.retry import Decision, RetryBudget, RetryPolicy, Verdict, decide
from hl_async.wire import RETRY_AFTER, Wire, WireResponse

R = TypeVar("R")
T = TypeVar("T")

DEFAULT_OPTIONS: Final = CallOptions()
BeforeSend: TypeAlias = Callable[[], Awaitable[None]]
"""Awaited before every request, for writes that must be durable before the first byte. An exception ends the call."""

_INTERACTIVE: Final = Lane.INTERACTIVE  # a look-up through the enumeration costs as much as three calls
_call_ids = count(1)


class Authority(Protocol):
    """The part of :class:`~hl_async.auth.Credentials` that the loop uses."""

    def current(self, key: str) -> str | None: ...

    async def bearer(self, key: str) -> str: ...

    async def reject(self, key: str, sent: str) -> bool: ...


class _Call:
    """State of one call. Times are seconds of the monotonic clock."""

    __slots__ = (
        "ambiguous", "attempts", "bearer", "before_send", "call_id", "deadline", "last", "observed", "operation",
        "options", "reauthorised", "started", "throttles",
    )  # fmt: skip

    def __init__(
        self,
        operation: Operation[Any],
        options: CallOptions,
        total: float,
        before_send: BeforeSend | None,
        observed: bool,
    ) -> None:
        self.operation = operation
        self.observed = observed
        self.before_send = before_send
        self.options = options
        self.started = monotonic()
        self.deadline = self.started + total
        self.call_id = next(_call_ids)
        self.attempts = 0
        self.throttles = 0
        self.reauthorised = False
        self.ambiguous = False
        self.bearer = ""
        self.last: CallError | None = None

    def attempt_started(self) -> events.AttemptStarted:
        waited = monotonic() - self.started
        return events.AttemptStarted(self.call_id, self.operation.at, self.attempts, waited)

    def describe(self, error: CallError) -> CallError:
        """Add the facts of this call to ``error``, and return it."""
        error.operation = self.operation.at
        error.attempts = self.attempts
        error.elapsed = monotonic() - self.started
        error.ambiguous = self.ambiguous
        return error


class Transport:
    """The path of all resources' operations through governor, credentials and wire.

    Args:
        config: The client's settings.
        wire: Sends single requests.
        authority: Supplies the bearer.
        governor: Supplies the slots.
        retry: Rules for retries.
        telemetry: The observers.
        guard: Called first in each call. It raises if the client is not usable from there.
        codings: Content encodings that the wire can decode.
        random: Returns random numbers from [0, 1).
    """

    def __init__(
        self,
        config: ClientConfig,
        wire: Wire,
        authority: Authority,
        governor: Governor,
        *,
        retry: RetryPolicy | None = None,
        telemetry: Telemetry | None = None,
        guard: Callable[[], None] = lambda: None,
        codings: str = "gzip, deflate",
        random: Callable[[], float] = random_module.random,
    ) -> None:
        self._wire = wire
        self._authority = authority
        self._governor = governor
        self._policy = retry or RetryPolicy()
        self.budget: RetryBudget = RetryBudget(self._policy)
        self._telemetry = telemetry or Telemetry()
        self._guard = guard
        self._codings = codings
        self._random = random
        self._config = config
        self._base_url = config.base_url
        self._host = urlsplit(config.base_url).hostname or ""
        self._in_flight = 0
        self._closed = False
        self._interrupted: asyncio.Future[None] | None = None
        self._idle: asyncio.Future[None] | None = None

    @property
    def in_flight(self) -> int:
        """Calls under way, including those that wait."""
        return self._in_flight

    def account(self, key: str, principal: str) -> Account:
        """Return the shared parts of calls for ``key``; ``principal`` owns the budget."""
        return Account(key, self._governor.scope((principal, key)), self._config, self._codings)

    def send(
        self,
        operation: Operation[R],
        account: Account,
        path: str,
        query: str = "",
        body: bytes | None = None,
        options: CallOptions = DEFAULT_OPTIONS,
        before_send: BeforeSend | None = None,
    ) -> Coroutine[Any, Any, R]:
        """Call ``operation`` and decode its answer.

        Args:
            operation: The operation.
            account: The shared parts of the location's calls.
            path: Path from :meth:`Operation.expand`.
            query: Encoded query string.
            body: Encoded body, reused by all attempts.
            options: Options of this call.
            before_send: Awaited before every request.

        Raises:
            CallError: The call failed; subclasses say how.
            AuthError: No token could be obtained.
            ClientStateError: The client cannot be used here; nothing was sent.
        """
        decode = operation.decode
        return self.send_with(
            operation, account, path, query, body, options, lambda answer: decode(answer.body), before_send
        )

    async def send_with(
        self,
        operation: Operation[Any],
        account: Account,
        path: str,
        query: str,
        body: bytes | None,
        options: CallOptions,
        finish: Callable[[WireResponse], R],
        before_send: BeforeSend | None = None,
    ) -> R:
        """Run the loop; ``finish`` decodes a 2xx answer or raises :class:`DecodeError`."""
        self._guard()
        if self._closed:
            raise ClientClosed("the client is closed; calls belong inside its 'async with' block")
        total = options.timeout
        if total is None:
            total = self._config.timeouts.total if options.lane is _INTERACTIVE else math.inf
        # asked once per call, so that events without an observer cost one check
        observed = self._telemetry.wants_calls()
        call = _Call(operation, options, total, before_send, observed)
        url = f"{self._base_url}{path}?{query}" if query else self._base_url + path
        self.budget.call_started()
        self._in_flight += 1
        outcome = "ok"
        try:
            # Inside the try: an observer that raises KeyboardInterrupt must not leave the call in flight.
            if observed:
                self._telemetry.emit(
                    events.CallStarted(
                        call.call_id, operation.at, account.key, operation.method, operation.path
                    )
                )
            while True:
                permit = account.scope.try_acquire(options.lane)
                if permit is None:
                    permit = await self._acquire(account.scope, call)
                try:
                    return await self._attempt(call, account, url, body, permit, finish)
                except CallError as error:
                    failure = error
                await self._after(failure, call, account)
                # A shared governor stays open, so it would admit this call after its client was closed.
                if self._closed:
                    raise ClientClosed("the client was closed before the call's next attempt")
        except BaseException as error:
            outcome = type(error).__name__
            if isinstance(error, CallError):
                call.describe(error)
            raise
        finally:
            self._leave()
            if observed:
                took = monotonic() - call.started
                self._telemetry.emit(
                    events.CallFinished(call.call_id, operation.at, account.key, call.attempts, took, outcome)
                )

    async def _acquire(self, scope: Scope, call: _Call) -> Permit:
        """Wait for a slot within the deadline. If a 429 causes the wait, raise its error."""
        remaining = call.deadline - monotonic()
        try:
            return await scope.acquire(call.options.lane, None if math.isinf(remaining) else remaining, self)
        except DeadlineExceeded as error:
            refused = call.last
            if not isinstance(refused, RateLimited):
                error.reason = refused
                raise
        raise refused  # outside `except`, so that the 429 has no context

    async def _attempt(
        self,
        call: _Call,
        account: Account,
        url: str,
        body: bytes | None,
        permit: Permit,
        finish: Callable[[WireResponse], R],
    ) -> R:
        """Send one request under ``permit``, which is settled in every case."""
        operation = call.operation
        try:
            bearer = self._authority.current(account.key) if operation.authorised else ""
            if bearer is None:
                bearer = await self._bearer(account, call)
            bearer = bearer if type(bearer) is MaskedText else account.masked(bearer)
            if call.before_send is not None:
                await self._in_time(call, call.before_send, "before the request was sent")
            timeout = self._timeout(call)
            call.bearer = bearer
            call.attempts += 1
            if call.observed:
                self._telemetry.emit(call.attempt_started())
        except BaseException:
            permit.unused()
            raise
        response: WireResponse | None = None
        failure: CallError
        try:
            response = await self._wire.attempt(
                operation.method,
                url,
                account.headers(operation, bearer, body, call.options.api_version),
                body,
                timeout=timeout,
                max_body=self._config.max_list_body if operation.items else self._config.max_body,
            )
            permit.answered(response.status, response.headers, response.elapsed)  # even if decoding fails
            if 200 <= response.status < 300:
                result = finish(response)
                if call.observed:
                    self._observe(call, response)
                return result
            asked = parse_retry_after(response.headers.get(RETRY_AFTER), time())
            located = not names_no_location(operation, url, body)
            failure = error_from_response(operation.at, response, retry_after=asked, located=located)
        except WireError as error:
            if error.sent:
                permit.failed()
            else:
                permit.connect_failed()
            failure = error
        except DecodeError as error:
            failure = undecodable(error, response)
        except BaseException:
            permit.failed()  # bytes may have left; ignored if an answer has settled the permit
            raise
        if call.observed:
            self._observe(call, response, failure)
        raise failure

    async def _after(self, failure: CallError, call: _Call, account: Account) -> None:
        """Pause and return if another attempt follows ``failure``; raise otherwise."""
        call.last = failure  # names the reason if the deadline ends the call in a wait
        if isinstance(failure, RateLimited):
            call.throttles += 1
        decision = self._decide(failure, call)
        if decision.verdict in (Verdict.REAUTHORISE, Verdict.RENEW):
            call.reauthorised = True
            if not call.bearer:
                raise failure  # the request carried no token that could be renewed
            renewed = await self._authority.reject(account.key, call.bearer)
            if renewed and decision.verdict is Verdict.REAUTHORISE:
                self._announce(call, decision)
                return
            raise failure
        if decision.verdict is Verdict.UNKNOWN:
            raise outcome_unknown(failure)
        if decision.verdict is Verdict.FAIL:
            if monotonic() >= call.deadline and isinstance(failure, WireError):
                raise DeadlineExceeded("the total timeout passed", reason=failure)
            raise failure
        # A 429 and a failed connection prove that the operation was not executed.
        if not (isinstance(failure, RateLimited) or (isinstance(failure, WireError) and not failure.sent)):
            call.ambiguous = True
        if monotonic() + decision.delay >= call.deadline:
            if isinstance(failure, WireError):
                raise DeadlineExceeded(
                    "the total timeout leaves no time for another attempt",
                    needed=decision.delay,
                    reason=failure,
                )
            raise failure
        self._announce(call, decision)
        if decision.delay:
            await self._pause(decision.delay)

    def _decide(self, failure: CallError, call: _Call) -> Decision:
        # Neither a 429 nor a renewed token uses up an attempt: the server did not fail.
        return decide(
            failure,
            call.operation.replay,
            attempt=call.attempts - call.throttles - call.reauthorised,
            throttles=call.throttles,
            reauthorised=call.reauthorised,
            max_attempts=call.options.max_attempts or self._policy.max_attempts,
            policy=self._policy,
            budget=self.budget,
            random=self._random,
        )

    async def _bearer(self, account: Account, call: _Call) -> str:
        """Load, refresh or mint a token within the deadline."""
        obtain = partial(self._authority.bearer, account.key)
        return await self._in_time(call, obtain, "while a token was being obtained")

    async def _in_time(self, call: _Call, act: Callable[[], Awaitable[T]], when: str) -> T:
        """Await ``act`` within the call's deadline."""
        remaining = call.deadline - monotonic()
        if math.isinf(remaining):
            return await act()
        try:
            async with asyncio.timeout(remaining):
                return await act()
        except TimeoutError:
            pass
        raise DeadlineExceeded(f"the total timeout passed {when}", reason=call.last)

    def _timeout(self, call: _Call) -> float | None:
        """Return this attempt's limit in seconds, or None for the cheap default."""
        remaining = call.deadline - monotonic()
        if remaining <= 0:
            raise DeadlineExceeded("the total timeout passed before the request was sent", reason=call.last)
        own = call.options.attempt_timeout
        if own is None and remaining >= self._config.timeouts.attempt:
            return None
        return min(own or self._config.timeouts.attempt, remaining)

    def _observe(self, call: _Call, response: WireResponse | None, failure: CallError | None = None) -> None:
        operation = call.operation
        self._telemetry.emit(
            events.AttemptFinished(
                call.call_id,
                operation.at,
                call.attempts,
                response.status if response else 0,
                response.elapsed if response else 0.0,
                type(failure).__name__ if failure else "",
                operation.method,
                self._host,
                failure.message if failure and not response else "",
            )
        )

    def _announce(self, call: _Call, decision: Decision) -> None:
        operation = call.operation.at
        self._telemetry.emit(
            events.RetryScheduled(call.call_id, operation, call.attempts, decision.delay, decision.reason)
        )

    # ------------------------------------------------------------------------------------- life cycle

    def open(self) -> None:
        """Accept calls from now on. Call it inside the running loop."""
        self._interrupted = asyncio.get_running_loop().create_future()

    async def aclose(self, grace: float) -> None:
        """Refuse new calls; wait for those on the wire, at most ``grace`` seconds.

        Calls that wait for the rate budget or pause before a retry raise :class:`ClientClosed` at once: they have no
        request on the wire.
        """
        self._closed = True
        if self._interrupted is not None and not self._interrupted.done():
            self._interrupted.set_result(None)
        self._governor.release(self)
        if self._in_flight and grace > 0:
            self._idle = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._idle,), timeout=grace)

    def _leave(self) -> None:
        self._in_flight -= 1
        if self._in_flight == 0 and self._idle is not None and not self._idle.done():
            self._idle.set_result(None)

    async def _pause(self, seconds: float) -> None:
        if self._interrupted is None:
            await asyncio.sleep(seconds)
            return
        await asyncio.wait((self._interrupted,), timeout=seconds)
        if self._closed:
            raise ClientClosed("the client was closed while a call paused before its next attempt")
