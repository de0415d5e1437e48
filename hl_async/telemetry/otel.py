"""Events as OpenTelemetry spans and metrics, by the HTTP semantic conventions.

Needs the extra ``otel``. Each call is one client span, named ``METHOD /path/{template}``. It is a child of the span
that is current when the call begins. Every attempt and every pause is an event of it. Two things differ from the
conventions:

- ``url.template`` replaces ``url.full``, because paths and queries name customers' documents.
- Attempts are events of one span instead of spans, because most waits are for the rate budget and belong to the call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

from opentelemetry import metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider

from hl_async._version import __version__
from hl_async.telemetry.events import (
    AttemptFinished,
    AttemptStarted,
    CallFinished,
    CallStarted,
    Event,
    RetryScheduled,
    Throttled,
    TokenRefreshed,
    TokenRefreshFailed,
)

SCHEMA_URL: Final = "https://opentelemetry.io/schemas/1.37.0"
SAMPLE_EVERY: Final = 1.0
"""Seconds between two looks at one location's budget."""

# The conventions' boundaries for http.client.request.duration in seconds, and longer ones for the waits of bulk work.
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_WAITS: Final = (0.001, *_SECONDS, 30.0, 60.0, 300.0, 1800.0)

Attributes = dict[str, str | int | float | bool]


class Snapshot(Protocol):
    """The part of a scope that is read; see ``hl_async.governor.ScopeSnapshot``."""

    @property
    def max(self) -> int: ...
    @property
    def interval(self) -> float: ...
    @property
    def free(self) -> int: ...
    @property
    def waiting_interactive(self) -> int: ...
    @property
    def waiting_bulk(self) -> int: ...
    @property
    def daily_remaining(self) -> int | None: ...


class _Scope(Protocol):
    def snapshot(self) -> Snapshot: ...


class _Credentials(Protocol):
    @property
    def principal(self) -> str: ...


class Watched(Protocol):
    """The part of a client that :meth:`OpenTelemetryObserver.watch` reads.

    :class:`~hl_async.HighLevel` has it.
    """

    @property
    def governor(self) -> Any: ...
    @property
    def credentials(self) -> _Credentials: ...


class _Call:
    """State of one call under way. Times are seconds of the observer's clock."""

    __slots__ = ("attempt_open", "attributes", "host", "ready_at", "scope", "sent_at", "span", "status")

    def __init__(self, span: Span, attributes: Attributes, scope: str, ready_at: float) -> None:
        self.span = span
        self.attributes = attributes
        self.scope = scope
        self.ready_at = ready_at
        self.sent_at = ready_at
        self.attempt_open = False
        self.status = 0
        self.host = ""


class OpenTelemetryObserver:
    """An observer that makes OpenTelemetry spans and metrics of events.

    Give it to the client: ``HighLevel(…, observers=[OpenTelemetryObserver()])``.

    Args:
        tracer_provider: The source of the tracer; by default the global one.
        meter_provider: The source of the meter; by default the global one.
        location_attribute: Add location ids to the metrics, where each one is a time series of its own. Spans always
            have it.
        clock: A monotonic clock in seconds.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        location_attribute: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tracer = trace.get_tracer(
            "hl_async", __version__, tracer_provider=tracer_provider, schema_url=SCHEMA_URL
        )
        self._clock = clock
        # Each location is a time series of its own: thousands of them are expensive in most stores.
        self._by_location = location_attribute
        self._calls: dict[int, _Call] = {}
        self._watched: Watched | None = None
        self._samples: dict[str, tuple[float, Snapshot]] = {}
        meter = metrics.get_meter(
            "hl_async", __version__, meter_provider=meter_provider, schema_url=SCHEMA_URL
        )
        self._make_instruments(meter)
        self._make_gauges(meter)
        self._handlers: Mapping[type[Event], Callable[[Any], None]] = {
            CallStarted: self._call_started,
            AttemptStarted: self._attempt_started,
            AttemptFinished: self._attempt_finished,
            RetryScheduled: self._retry_scheduled,
            CallFinished: self._call_finished,
            Throttled: self._throttled,
            TokenRefreshed: self._token_refreshed,
            TokenRefreshFailed: self._token_refresh_failed,
        }

    def _make_instruments(self, meter: metrics.Meter) -> None:
        self._request_duration = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self._active_requests = meter.create_up_down_counter(
            "http.client.active_requests", "{request}", "Number of active HTTP requests."
        )
        self._call_duration = meter.create_histogram(
            "hl.client.call.duration",
            "s",
            "Duration of calls, with waiting, retries and pauses.",
            explicit_bucket_boundaries_advisory=_WAITS,
        )
        self._active_calls = meter.create_up_down_counter(
            "hl.client.active_calls", "{call}", "Calls that began and did not end, waiting ones included."
        )
        self._wait_duration = meter.create_histogram(
            "hl.client.wait.duration",
            "s",
            "Wait of one attempt for the rate budget and a token, before its request was sent.",
            explicit_bucket_boundaries_advisory=_WAITS,
        )
        self._retries = meter.create_counter("hl.client.retries", "{retry}", "Attempts after the first one.")
        self._throttles = meter.create_counter(
            "hl.client.throttled", "{response}", "Answers with status 429."
        )
        self._refreshes = meter.create_counter(
            "hl.client.token.refreshes", "{refresh}", "Refreshes of tokens."
        )
        self._refresh_duration = meter.create_histogram(
            "hl.client.token.refresh.duration",
            "s",
            "Duration of token refreshes that worked.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def _make_gauges(self, meter: metrics.Meter) -> None:
        meter.create_observable_gauge(
            "hl.client.budget.remaining",
            [self._observing(lambda seen: [(seen.free, {})])],
            "{request}",
            "Requests the rate budget has room for now.",
        )
        meter.create_observable_gauge(
            "hl.client.budget.limit",
            [self._observing(lambda seen: [(seen.max, {})])],
            "{request}",
            "Requests the rate budget allows per interval.",
        )
        meter.create_observable_gauge(
            "hl.client.budget.daily_remaining",
            [
                self._observing(
                    lambda seen: [] if seen.daily_remaining is None else [(seen.daily_remaining, {})]
                )
            ],
            "{request}",
            "Requests left today, as the server said last.",
        )
        meter.create_observable_gauge(
            "hl.client.waiting_calls",
            [
                self._observing(
                    lambda seen: [
                        (seen.waiting_interactive, {"hl.lane": "interactive"}),
                        (seen.waiting_bulk, {"hl.lane": "bulk"}),
                    ]
                )
            ],
            "{call}",
            "Calls that wait for the rate budget.",
        )

    def watch(self, client: Watched) -> None:
        """Report the rate budgets of this client too.

        The gauges are free slots, the limit, waiting calls and the rest of the daily quota. A location is sampled in
        the event loop when one of its calls begins or ends, at most once per second. A location without calls for an
        interval is left out.
        """
        self._watched = client

    def on_event(self, event: Event) -> None:
        """Record ``event``; see :class:`~hl_async.telemetry.Observer`."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    # ------------------------------------------------------------------------------------------- calls

    def _call_started(self, event: CallStarted) -> None:
        # Only names of low cardinality: ids would make a time series per document.
        attributes: Attributes = {"hl.operation": event.operation}
        name = event.operation
        # An event that other code makes may lack it.
        if event.method:
            attributes["http.request.method"] = event.method
            attributes["url.template"] = event.path
            name = f"{event.method} {event.path}"
        # Not made the current span: the observer could not reset that in the caller's context.
        span = self._tracer.start_span(
            name, kind=SpanKind.CLIENT, attributes={**attributes, "hl.location": event.scope}
        )
        self._calls[event.call_id] = _Call(span, attributes, event.scope, self._clock())
        self._active_calls.add(1, attributes)
        self._sample(event.scope)

    def _attempt_started(self, event: AttemptStarted) -> None:
        call = self._calls.get(event.call_id)
        if call is None:
            return
        call.sent_at = self._clock()
        # A timer may fire a little early.
        waited = max(call.sent_at - call.ready_at, 0.0)
        self._wait_duration.record(waited, self._located(call.attributes, call.scope))
        self._active_requests.add(1, call.attributes)
        call.attempt_open = True
        call.span.add_event(
            "hl.attempt.start", {"hl.attempt": event.attempt, "hl.wait.duration": round(waited, 6)}
        )

    def _attempt_finished(self, event: AttemptFinished) -> None:
        call = self._calls.get(event.call_id)
        if call is None:
            return
        # The counter goes down before anything below can raise.
        self._close_attempt(call)
        call.host, call.status = event.host, event.status
        # An attempt without an answer has no round trip in its event.
        elapsed = event.elapsed if event.status else self._clock() - call.sent_at
        found: Attributes = {"hl.attempt": event.attempt, "hl.attempt.duration": round(elapsed, 6)}
        outcome: Attributes = {}
        if event.host:
            outcome["server.address"] = event.host
        if event.status:
            outcome["http.response.status_code"] = event.status
        if event.error:
            outcome["error.type"] = _error_type(event.status, event.error)
        self._request_duration.record(elapsed, {**call.attributes, **outcome})
        call.span.add_event("hl.attempt.end", {**found, **outcome})

    def _retry_scheduled(self, event: RetryScheduled) -> None:
        call = self._calls.get(event.call_id)
        if call is None:
            return
        # The pause is not part of the wait for the rate budget.
        call.ready_at = self._clock() + event.delay
        self._retries.add(1, {**call.attributes, "hl.retry.reason": event.reason})
        call.span.add_event(
            "hl.retry",
            {
                "hl.attempt": event.attempt,
                "hl.retry.delay": round(event.delay, 6),
                "hl.retry.reason": event.reason,
            },
        )

    def _call_finished(self, event: CallFinished) -> None:
        call = self._calls.pop(event.call_id, None)
        if call is None:
            return
        self._close_attempt(call)  # a call that is cancelled on the wire has no event of its attempt's end
        self._active_calls.add(-1, call.attributes)
        span = call.span
        outcome: Attributes = {}
        if call.host:
            outcome["server.address"] = call.host
        if call.status:
            outcome["http.response.status_code"] = call.status
        if event.outcome != "ok":
            outcome["error.type"] = _error_type(call.status, event.outcome)
            span.set_attribute("hl.outcome", event.outcome)
            # The conventions leave the status unset unless it is an error.
            span.set_status(Status(StatusCode.ERROR, event.outcome))
        span.set_attributes(outcome)
        if event.attempts > 1:
            # The conventions leave it out for a request that was sent once.
            span.set_attribute("http.request.resend_count", event.attempts - 1)
        self._call_duration.record(event.elapsed, {**call.attributes, **outcome})
        span.end()
        self._sample(call.scope)

    def _close_attempt(self, call: _Call) -> None:
        if call.attempt_open:
            call.attempt_open = False
            self._active_requests.add(-1, call.attributes)

    # ------------------------------------------------------------------------------ budgets and tokens

    def _throttled(self, event: Throttled) -> None:
        self._throttles.add(1, self._located({}, event.scope))

    def _token_refreshed(self, event: TokenRefreshed) -> None:
        # A background refresh delays no call, so an attribute separates the two.
        attributes: Attributes = {"hl.token.background": event.background}
        self._refreshes.add(1, attributes)
        self._refresh_duration.record(event.elapsed, attributes)

    def _token_refresh_failed(self, event: TokenRefreshFailed) -> None:
        self._refreshes.add(1, {"hl.token.background": event.background, "error.type": event.error})

    def _located(self, attributes: Attributes, scope: str) -> Attributes:
        return {**attributes, "hl.location": scope} if self._by_location else attributes

    def _sample(self, location: str) -> None:
        """Sample a location's budget in the event loop, for metrics of another thread."""
        if self._watched is None:
            return
        now = self._clock()
        known = self._samples.get(location)
        if known is not None and now - known[0] < SAMPLE_EVERY:
            return
        scope: _Scope = self._watched.governor.scope((self._watched.credentials.principal, location))
        # Inserted at the end again, so that the oldest sample is always first.
        self._samples.pop(location, None)
        self._samples[location] = (now, scope.snapshot())
        while self._samples:  # the oldest come first
            oldest = next(iter(self._samples))
            if not self._is_old(now, self._samples[oldest]):
                break
            del self._samples[oldest]

    @staticmethod
    def _is_old(now: float, sample: tuple[float, Snapshot]) -> bool:
        return now - sample[0] > sample[1].interval + SAMPLE_EVERY

    def _observing(
        self, read: Callable[[Snapshot], Iterable[tuple[int, Attributes]]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def observe(options: CallbackOptions) -> Iterable[Observation]:
            now = self._clock()
            values: dict[tuple[str, str], tuple[int, Attributes]] = {}
            # A copy, because the loop's thread changes the dictionary meanwhile.
            for location, sample in list(self._samples.items()):
                # The budget of a quiet location has refilled: its last sample would be wrong.
                if self._is_old(now, sample):
                    continue
                for value, extra in read(sample[1]):
                    place = location if self._by_location else ""
                    before = values.get((place, str(extra)), (0, extra))[0]
                    values[place, str(extra)] = (before + value, extra)
            return [
                Observation(value, self._located(extra, place))
                for (place, _), (value, extra) in values.items()
            ]

        return observe


def _error_type(status: int, error: str) -> str:
    """Return the status of an error answer, else the name of the exception.

    The conventions ask for it.
    """
    return str(status) if status >= 400 else error
