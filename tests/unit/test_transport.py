"""Promises of the loop around a call, against a scripted wire."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from hl_async import operations as op
from hl_async import telemetry as events
from hl_async.config import CallOptions, ClientConfig, Lane, Timeouts
from hl_async.errors import (
    AttemptTimeout,
    AuthError,
    BadRequest,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    DeadlineExceeded,
    DecodeError,
    NotFound,
    OutcomeUnknown,
    RateLimited,
    ScopeMissing,
    ServerError,
    Unauthorized,
    ValidationFailed,
    WireKind,
)
from hl_async.governor import Governor, GovernorPolicy
from hl_async.telemetry import Event, Observer, Telemetry
from hl_async.transport.account import Account
from hl_async.transport.calls import Transport
from hl_async.transport.retry import RetryPolicy
from hl_async.wire import WireResponse

LOST = ConnectionLost("lost", kind=WireKind.DISCONNECTED, sent=True)
LATE = AttemptTimeout("late", kind=WireKind.TIMEOUT, sent=True)
REFUSED = ConnectFailed("refused", kind=WireKind.CONNECT, sent=False)
NUMBER = b'{"estimateNumber":118,"traceId":"t"}'
ESTIMATE = b'{"_id":"e1","name":"Kitchen","total":9.99}'


def answer(status: int = 200, body: bytes = NUMBER, **headers: str) -> WireResponse:
    return WireResponse(
        status, {name.replace("_", "-"): value for name, value in headers.items()}, body, 0.01
    )


def refusal(status: int, message: str = "no", **headers: str) -> WireResponse:
    return answer(status, f'{{"message":"{message}"}}'.encode(), **headers)


class ScriptedWire:
    """Answers attempt n with script entry n, the last one for ever; exceptions are raised."""

    def __init__(self, *script: WireResponse | BaseException) -> None:
        self.script = script
        self.sent: list[tuple[str, str, dict[str, str], bytes | None, float | None]] = []
        self.gate: asyncio.Event | None = None

    async def attempt(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        timeout: float | None = None,
        max_body: int | None = None,
        fresh_connection: bool = False,
    ) -> WireResponse:
        self.sent.append((method, url, dict(headers), body, timeout))
        if self.gate is not None:
            await self.gate.wait()
        outcome = self.script[min(len(self.sent), len(self.script)) - 1]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class Tokens:
    """Credentials that are renewed when rejected, as often as ``renewals`` says."""

    def __init__(self, renewals: int = 1, known: bool = True) -> None:
        self.generation = 0
        self.renewals = renewals
        self.known = known
        self.rejected: list[str] = []
        self.hang = False

    def current(self, key: str) -> str | None:
        return f"Bearer t{self.generation}" if self.known else None

    async def bearer(self, key: str) -> str:
        if self.hang:
            await asyncio.sleep(60)
        self.known = True
        return f"Bearer t{self.generation}"

    async def reject(self, key: str, sent: str) -> bool:
        self.rejected.append(sent)
        if self.renewals == 0:
            return False
        self.renewals -= 1
        self.generation += 1
        self.known = False
        return True


class Recorder:
    def __init__(self) -> None:
        self.events: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.events.append(event)


class Rig:
    """A transport with everything around it passed in."""

    def __init__(
        self,
        *script: WireResponse | BaseException,
        tokens: Tokens | None = None,
        observers: Sequence[Observer] = (),
        **settings: Any,
    ) -> None:
        self.wire = ScriptedWire(*script)
        self.tokens = tokens or Tokens()
        self.recorder = Recorder()
        policy = settings.pop("policy", GovernorPolicy(max=100, interval=1.0, linger=1.0))
        retry = settings.pop("retry", RetryPolicy(base=0.0))
        telemetry = Telemetry([self.recorder, *observers])
        self.governor = Governor(policy, telemetry=telemetry)
        self.transport = Transport(
            ClientConfig(base_url="http://127.0.0.1:1", **settings),
            self.wire,
            self.tokens,
            self.governor,
            retry=retry,
            telemetry=telemetry,
        )
        self.account: Account = self.transport.account("loc1", "principal")

    async def number(self, **options: Any) -> Any:
        return await self.transport.send(
            op.GENERATE_ESTIMATE_NUMBER,
            self.account,
            op.GENERATE_ESTIMATE_NUMBER.expand(),
            self.account.alt_query,
            options=CallOptions(**options),
        )

    async def create(self, **options: Any) -> Any:
        body = self.account.alt_body + b"}"
        return await self.transport.send(
            op.CREATE_ESTIMATE,
            self.account,
            op.CREATE_ESTIMATE.expand(),
            body=body,
            options=CallOptions(**options),
        )

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.recorder.events if isinstance(event, kind)]


async def test_a_call_carries_token_version_and_location() -> None:
    rig = Rig(answer())
    assert (await rig.number()).estimate_number == 118
    method, url, headers, body, timeout = rig.wire.sent[0]
    assert (method, body, timeout) == ("GET", None, None)
    assert url == "http://127.0.0.1:1/invoices/estimate/number/generate?altId=loc1&altType=location"
    assert headers["Authorization"] == "Bearer t0"
    assert headers["Version"] == "2021-07-28"
    assert headers["Accept"] == "application/json"
    assert "Content-Type" not in headers
    assert rig.transport.in_flight == 0


async def test_a_call_may_use_another_api_version_and_timeout() -> None:
    rig = Rig(answer())
    await rig.number(api_version="v3", attempt_timeout=2.0)
    assert rig.wire.sent[0][2]["Version"] == "v3"
    assert rig.wire.sent[0][4] == 2.0


async def test_a_read_is_repeated_until_it_works() -> None:
    rig = Rig(LOST, refusal(502), LATE, answer())
    assert (await rig.number()).estimate_number == 118
    assert len(rig.wire.sent) == 4


@pytest.mark.parametrize("failure", [LOST, LATE, refusal(500), refusal(503), refusal(408)])
async def test_a_creation_without_an_answer_is_sent_once_and_told(failure: Any) -> None:
    rig = Rig(failure)
    with pytest.raises(OutcomeUnknown) as caught:
        await rig.create()
    assert len(rig.wire.sent) == 1
    assert caught.value.reason is not None
    assert caught.value.operation == "estimates.create"


async def test_a_creation_whose_answer_does_not_decode_is_of_unknown_outcome() -> None:
    rig = Rig(answer(201, b'{"_id":'))
    with pytest.raises(OutcomeUnknown):
        await rig.create()
    assert len(rig.wire.sent) == 1


async def test_a_creation_that_never_left_is_sent_again() -> None:
    rig = Rig(REFUSED, answer(201, ESTIMATE))
    assert (await rig.create()).id == "e1"
    assert len(rig.wire.sent) == 2


async def test_a_creation_refused_by_the_rate_limit_is_sent_again() -> None:
    rig = Rig(
        refusal(429, Retry_After="0"), answer(201, ESTIMATE), policy=GovernorPolicy(max=5, interval=0.05)
    )
    assert (await rig.create()).id == "e1"


async def test_a_document_cut_short_is_read_again() -> None:
    rig = Rig(answer(200, b'{"estimateNumber":1'), answer())
    assert (await rig.number()).estimate_number == 118


async def test_a_document_of_the_wrong_shape_is_told_and_not_read_again() -> None:
    rig = Rig(answer(200, b"[]"))
    with pytest.raises(DecodeError) as caught:
        await rig.number()
    assert caught.value.operation == "estimates.generate_number"
    assert len(rig.wire.sent) == 1


async def test_refusals_carry_operation_and_attempts() -> None:
    rig = Rig(LOST, refusal(400, "bad"))
    with pytest.raises(BadRequest) as caught:
        await rig.number()
    assert (caught.value.operation, caught.value.attempts) == ("estimates.generate_number", 2)
    assert caught.value.ambiguous


async def test_an_answer_after_a_request_that_never_left_is_not_ambiguous() -> None:
    rig = Rig(REFUSED, refusal(404))
    with pytest.raises(NotFound) as caught:
        await rig.number()
    assert not caught.value.ambiguous


async def test_attempts_run_out() -> None:
    rig = Rig(refusal(503))
    with pytest.raises(ServerError):
        await rig.number()
    assert len(rig.wire.sent) == 4
    with pytest.raises(ServerError):
        await rig.number(max_attempts=1)
    assert len(rig.wire.sent) == 5


async def test_a_bad_token_is_rejected_by_value_and_renewed_once() -> None:
    rig = Rig(refusal(401, "Invalid JWT"), answer())
    assert (await rig.number()).estimate_number == 118
    assert rig.tokens.rejected == ["Bearer t0"]
    assert [sent[2]["Authorization"] for sent in rig.wire.sent] == ["Bearer t0", "Bearer t1"]


async def test_a_renewed_token_that_is_refused_too_ends_the_call() -> None:
    rig = Rig(refusal(401, "Invalid JWT"), tokens=Tokens(renewals=5))
    with pytest.raises(Unauthorized):
        await rig.number()
    assert len(rig.wire.sent) == 2


async def test_credentials_that_cannot_be_renewed_end_the_call() -> None:
    rig = Rig(refusal(401, "Invalid JWT"), tokens=Tokens(renewals=0))
    with pytest.raises(Unauthorized):
        await rig.number()
    assert len(rig.wire.sent) == 1


async def test_a_missing_scope_renews_nothing() -> None:
    rig = Rig(refusal(401, "The token is not authorized for this scope."))
    with pytest.raises(ScopeMissing):
        await rig.number()
    assert rig.tokens.rejected == []


async def test_an_unsafe_call_is_not_sent_again_after_a_401_of_an_unknown_message() -> None:
    rig = Rig(refusal(401, "Something new"), answer(201, ESTIMATE))
    with pytest.raises(Unauthorized, match="Something new"):
        await rig.create()
    assert len(rig.wire.sent) == 1
    assert rig.tokens.rejected == ["Bearer t0"]  # the calls to come get another token
    await rig.create()
    assert rig.wire.sent[-1][2]["Authorization"] == "Bearer t1"


@pytest.mark.parametrize("message", ["Something new", "Invalid JWT"])
async def test_a_read_is_sent_again_with_another_token_after_any_401_that_may_mean_the_token(
    message: str,
) -> None:
    rig = Rig(refusal(401, message), answer())
    assert (await rig.number()).estimate_number == 118
    assert rig.tokens.rejected == ["Bearer t0"]


async def test_a_timeout_in_a_401_hides_the_outcome_and_renews_nothing() -> None:
    rig = Rig(refusal(401, "Command timed out"), answer())
    assert (await rig.number()).estimate_number == 118
    rig = Rig(refusal(401, "Command timed out"), answer(201, ESTIMATE))
    with pytest.raises(OutcomeUnknown) as caught:
        await rig.create()
    assert len(rig.wire.sent) == 1
    assert rig.tokens.rejected == []
    assert (caught.value.status, caught.value.body) == (401, '{"message":"Command timed out"}')


async def test_a_verdict_of_the_database_layer_is_final() -> None:
    rig = Rig(refusal(500, "estimates validation failed: title: Path `title` is required."))
    with pytest.raises(ValidationFailed, match="title"):
        await rig.create()
    assert len(rig.wire.sent) == 1


async def test_failing_credentials_cost_no_slot_and_no_request() -> None:
    class Broken(Tokens):
        async def bearer(self, key: str) -> str:
            raise AuthError("no token", key=key)

    rig = Rig(answer(), tokens=Broken(known=False))
    with pytest.raises(AuthError):
        await rig.number()
    assert rig.wire.sent == []
    assert rig.account.scope.snapshot().in_flight == 0


async def test_the_total_timeout_covers_the_token_too() -> None:
    tokens = Tokens(known=False)
    tokens.hang = True
    rig = Rig(answer(), tokens=tokens)
    with pytest.raises(DeadlineExceeded, match="token"):
        await rig.number(timeout=0.05)


async def test_the_last_attempt_gets_what_is_left_of_the_total_timeout() -> None:
    rig = Rig(answer(), timeouts=Timeouts(attempt=30.0, total=10.0))
    await rig.number()
    assert rig.wire.sent[0][4] == pytest.approx(10.0, abs=0.5)


async def test_no_pause_is_begun_that_the_deadline_would_cut() -> None:
    rig = Rig(refusal(503, Retry_After="30"))
    with pytest.raises(ServerError) as caught:
        await rig.number(timeout=1.0)
    assert caught.value.retry_after == 30
    assert len(rig.wire.sent) == 1
    rig = Rig(LOST, retry=RetryPolicy(base=1e9, cap=1e9))
    with pytest.raises(DeadlineExceeded) as late:
        await rig.number(timeout=1.0)
    assert late.value.reason is not None


async def test_a_rate_limit_that_outlasts_the_deadline_is_told_as_such() -> None:
    rig = Rig(refusal(429, Retry_After="30"))
    with pytest.raises(RateLimited) as caught:
        await rig.number(timeout=1.0)
    assert caught.value.retry_after == 30
    assert len(rig.wire.sent) == 1


async def test_a_cancelled_call_leaves_nothing_behind() -> None:
    rig = Rig(answer())
    rig.wire.gate = asyncio.Event()
    task = asyncio.create_task(rig.number())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.transport.in_flight == 0
    assert rig.account.scope.snapshot().in_flight == 0


async def test_bulk_calls_have_no_total_timeout_unless_they_are_given_one() -> None:
    rig = Rig(answer(), timeouts=Timeouts(attempt=1.0, total=1.5))
    await rig.number(lane=Lane.BULK)
    assert rig.wire.sent[0][4] is None
    await rig.number(lane=Lane.BULK, timeout=math.inf)
    assert rig.wire.sent[1][4] is None


async def test_closing_waits_for_the_wire_and_takes_no_new_calls() -> None:
    rig = Rig(answer())
    rig.transport.open()
    rig.wire.gate = asyncio.Event()
    task = asyncio.create_task(rig.number())
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(rig.transport.aclose(5.0))
    await asyncio.sleep(0.01)
    with pytest.raises(ClientClosed):
        await rig.number()
    rig.wire.gate.set()
    await closing
    assert (await task).estimate_number == 118


async def test_closing_gives_up_after_its_grace() -> None:
    rig = Rig(answer())
    rig.transport.open()
    rig.wire.gate = asyncio.Event()
    task = asyncio.create_task(rig.number())
    await asyncio.sleep(0.01)
    await asyncio.wait_for(rig.transport.aclose(0.05), 1.0)
    assert not task.done()
    task.cancel()


async def test_closing_ends_a_pause_at_once() -> None:
    rig = Rig(refusal(503, Retry_After="30"))
    rig.transport.open()
    task = asyncio.create_task(rig.number())
    await asyncio.sleep(0.02)
    await rig.transport.aclose(1.0)
    with pytest.raises(ClientClosed):
        await asyncio.wait_for(task, 1.0)


@pytest.mark.parametrize("first", [refusal(401), refusal(429, Retry_After="0")])
async def test_closing_ends_a_call_before_its_next_attempt(first: WireResponse) -> None:
    """The governor stays open, as one that several clients share."""
    rig = Rig(first, answer())
    rig.transport.open()
    rig.wire.gate = asyncio.Event()
    task = asyncio.create_task(rig.number())
    await asyncio.sleep(0.01)
    closing = asyncio.create_task(rig.transport.aclose(5.0))
    await asyncio.sleep(0.01)
    rig.wire.gate.set()
    with pytest.raises(ClientClosed, match="before the call's next attempt"):
        await task
    await closing
    assert len(rig.wire.sent) == 1


async def test_a_pause_holds_no_slot() -> None:
    rig = Rig(refusal(503, Retry_After="0.2"), answer())
    task = asyncio.create_task(rig.number())
    await asyncio.sleep(0.05)
    assert rig.account.scope.snapshot().in_flight == 0
    assert (await task).estimate_number == 118


async def test_observers_see_the_whole_call_and_no_secret() -> None:
    rig = Rig(refusal(503), refusal(401, "Invalid JWT"), answer())
    await rig.number()
    assert len(rig.of(events.CallStarted)) == 1
    assert [event.attempt for event in rig.of(events.AttemptStarted)] == [1, 2, 3]
    assert [(e.status, e.error) for e in rig.of(events.AttemptFinished)] == [
        (503, "ServerError"),
        (401, "Unauthorized"),
        (200, ""),
    ]
    assert len(rig.of(events.RetryScheduled)) == 2
    finished = rig.of(events.CallFinished)[0]
    assert (finished.outcome, finished.attempts) == ("ok", 3)
    assert "Bearer" not in repr(rig.recorder.events)


async def test_observers_learn_how_a_call_failed() -> None:
    rig = Rig(LOST)
    with pytest.raises(OutcomeUnknown):
        await rig.create()
    assert rig.of(events.CallFinished)[0].outcome == "OutcomeUnknown"
    attempt = rig.of(events.AttemptFinished)[0]
    assert (attempt.status, attempt.error) == (0, "ConnectionLost")
    assert attempt.reason == "lost"


async def test_cancelling_at_any_await_leaves_no_slot_and_no_call() -> None:
    """The coroutine is driven by hand and cancelled at its k-th suspension, for every k."""
    for k in range(1, 12):
        rig = Rig(refusal(503), refusal(401, "Invalid JWT"), answer(), retry=RetryPolicy(base=0.001))
        rig.tokens.known = False
        task = asyncio.create_task(rig.number())
        for _ in range(k):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert rig.transport.in_flight == 0
        assert rig.account.scope.snapshot().in_flight == 0


class Interrupting:
    """An observer that a Ctrl-C, or a cancellation, meets while it notes an event."""

    def __init__(self, kind: type[Event], interrupt: type[BaseException]) -> None:
        self.kind, self.interrupt = kind, interrupt
        self.met = 0

    def on_event(self, event: Event) -> None:
        if isinstance(event, self.kind):
            self.met += 1
            raise self.interrupt


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, asyncio.CancelledError, SystemExit])
@pytest.mark.parametrize(
    "kind",
    [
        events.CallStarted, events.AttemptStarted, events.AttemptFinished, events.RetryScheduled,
        events.CallFinished, events.RateLimitLearned, events.Throttled,
    ],
)  # fmt: skip
async def test_an_observer_that_is_interrupted_at_any_event_leaks_no_call_and_no_slot(
    kind: type[Event], interrupt: type[BaseException]
) -> None:
    learned = {
        "X_RateLimit_Max": "50",
        "X_RateLimit_Interval_Milliseconds": "1000",
        "X_RateLimit_Remaining": "9",
    }
    observer = Interrupting(kind, interrupt)
    script = (refusal(503), refusal(429, Retry_After="0"), answer(**learned), answer(**learned))
    rig = Rig(*script, observers=[observer], policy=GovernorPolicy(max=100, interval=0.05, linger=0.05))
    for lane in (Lane.INTERACTIVE, Lane.BULK):
        with contextlib.suppress(interrupt):
            await rig.number(lane=lane)
        assert rig.transport.in_flight == 0
        assert rig.account.scope.snapshot().in_flight == 0
    assert observer.met
    async with asyncio.timeout(1.0):
        await rig.transport.aclose(grace=30.0)
