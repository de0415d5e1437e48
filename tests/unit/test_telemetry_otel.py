"""Promises of the OpenTelemetry observer, read back from the SDK's in-memory exporters."""

from __future__ import annotations

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from hl_async import HighLevel, PrivateToken
from hl_async import telemetry as events
from hl_async.errors import NotFound, OutcomeUnknown
from hl_async.sandbox import Fault, Sandbox
from hl_async.telemetry.otel import OpenTelemetryObserver
from samples import estimate


class Recorder:
    """A tracer and a meter that keep what they are told; time is a number in a list."""

    def __init__(self, **settings: Any) -> None:
        self.now = [100.0]
        self.exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self.reader], shutdown_on_exit=False)
        self.observer = OpenTelemetryObserver(
            tracer_provider=self.tracers,
            meter_provider=self.meters,
            **({"clock": lambda: self.now[0]} | settings),
        )

    def tell(self, *told: events.Event) -> None:
        for event in told:
            self.observer.on_event(event)

    @property
    def spans(self) -> tuple[Any, ...]:
        return self.exporter.get_finished_spans()

    def metrics(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.meters.shutdown()
    made.tracers.shutdown()


def attempt(
    call: int, number: int, status: int, error: str = "", elapsed: float = 0.1
) -> events.AttemptFinished:
    return events.AttemptFinished(
        call, "create-new-estimate", number, status, elapsed, error, "POST", "api.example"
    )


def test_a_call_is_one_client_span_named_by_its_route(recorder: Recorder) -> None:
    tracer = recorder.tracers.get_tracer("app")
    with tracer.start_as_current_span("request") as parent:
        recorder.tell(events.CallStarted(1, "create-new-estimate", "loc", "POST", "/invoices/estimate"))
    recorder.tell(
        events.AttemptStarted(1, "create-new-estimate", 1, 0.0),
        attempt(1, 1, 201),
        events.CallFinished(1, "create-new-estimate", "loc", 1, 0.2, "ok"),
    )
    span = recorder.spans[-1]
    assert span.name == "POST /invoices/estimate"
    assert span.kind is SpanKind.CLIENT
    assert span.parent.span_id == parent.get_span_context().span_id
    assert dict(span.attributes) == {
        "hl.operation": "create-new-estimate",
        "hl.location": "loc",
        "http.request.method": "POST",
        "url.template": "/invoices/estimate",
        "server.address": "api.example",
        "http.response.status_code": 201,
    }
    assert span.status.status_code is StatusCode.UNSET
    assert [event.name for event in span.events] == ["hl.attempt.start", "hl.attempt.end"]


def test_attempts_and_pauses_are_events_and_the_failure_is_the_status(recorder: Recorder) -> None:
    recorder.tell(events.CallStarted(1, "create-new-estimate", "loc", "POST", "/invoices/estimate"))
    recorder.now[0] += 0.5
    recorder.tell(
        events.AttemptStarted(1, "create-new-estimate", 1, 0.5),
        attempt(1, 1, 503, "ServerError"),
        events.RetryScheduled(1, "create-new-estimate", 1, 2.0, "server error"),
    )
    recorder.now[0] += 3.0
    recorder.tell(events.AttemptStarted(1, "create-new-estimate", 2, 3.5))
    recorder.now[0] += 4.0
    recorder.tell(
        attempt(1, 2, 0, "AttemptTimeout", 0.0),
        events.CallFinished(1, "create-new-estimate", "loc", 2, 7.5, "OutcomeUnknown"),
    )
    span = recorder.spans[0]
    assert [event.name for event in span.events] == [
        "hl.attempt.start", "hl.attempt.end", "hl.retry", "hl.attempt.start", "hl.attempt.end",
    ]  # fmt: skip
    assert span.events[1].attributes["http.response.status_code"] == 503
    assert span.events[1].attributes["error.type"] == "503"
    assert span.events[2].attributes["hl.retry.delay"] == 2.0
    assert span.events[3].attributes["hl.wait.duration"] == 1.0  # three seconds, two of them the pause
    assert span.events[4].attributes["hl.attempt.duration"] == 4.0  # no answer: by the clock
    assert span.attributes["error.type"] == "OutcomeUnknown"
    assert span.attributes["http.request.resend_count"] == 1
    assert "http.response.status_code" not in span.attributes
    assert span.status.status_code is StatusCode.ERROR


def test_metrics_count_requests_calls_waits_and_retries(recorder: Recorder) -> None:
    recorder.tell(events.CallStarted(1, "create-new-estimate", "loc", "POST", "/invoices/estimate"))
    assert recorder.metrics()["hl.client.active_calls"][0].value == 1
    recorder.tell(events.AttemptStarted(1, "create-new-estimate", 1, 0.0))
    assert recorder.metrics()["http.client.active_requests"][0].value == 1
    recorder.tell(
        attempt(1, 1, 429, "RateLimited"),
        events.Throttled("loc", 10.0),
        events.RetryScheduled(1, "create-new-estimate", 1, 0.0, "throttled"),
        events.AttemptStarted(1, "create-new-estimate", 2, 1.0),
        attempt(1, 2, 201),
        events.CallFinished(1, "create-new-estimate", "loc", 2, 1.2, "ok"),
        events.TokenRefreshed("loc", 0.3, True),
        events.TokenRefreshFailed("loc", "RefreshUnavailable", False),
        events.ConcurrencyChanged(8, 3),
    )
    found = recorder.metrics()
    assert found["http.client.active_requests"][0].value == 0
    assert found["hl.client.active_calls"][0].value == 0
    durations = {
        point.attributes["http.response.status_code"]: point
        for point in found["http.client.request.duration"]
    }
    assert durations[429].attributes["error.type"] == "429"
    assert "error.type" not in durations[201].attributes
    assert durations[201].attributes["url.template"] == "/invoices/estimate"
    assert durations[201].count == 1
    assert found["hl.client.wait.duration"][0].count == 2
    assert found["hl.client.wait.duration"][0].attributes["hl.location"] == "loc"
    assert found["hl.client.retries"][0].attributes["hl.retry.reason"] == "throttled"
    assert found["hl.client.throttled"][0].value == 1
    refreshes = {
        point.attributes["hl.token.background"]: point for point in found["hl.client.token.refreshes"]
    }
    assert refreshes[False].attributes["error.type"] == "RefreshUnavailable"
    assert refreshes[True].value == 1
    assert found["hl.client.token.refresh.duration"][0].sum == pytest.approx(0.3)


def test_a_call_cancelled_on_the_wire_leaves_no_request_active(recorder: Recorder) -> None:
    recorder.tell(
        events.CallStarted(1, "create-new-estimate", "loc", "POST", "/invoices/estimate"),
        events.AttemptStarted(1, "create-new-estimate", 1, 0.0),
        events.CallFinished(1, "create-new-estimate", "loc", 1, 0.2, "CancelledError"),
    )
    found = recorder.metrics()
    assert found["http.client.active_requests"][0].value == 0
    assert recorder.spans[0].attributes["error.type"] == "CancelledError"


def test_an_operation_of_ones_own_and_events_of_unknown_calls_are_no_trouble(recorder: Recorder) -> None:
    recorder.tell(
        events.AttemptStarted(7, "x", 1, 0.0),
        attempt(7, 1, 200),
        events.RetryScheduled(7, "x", 1, 0.0, "r"),
        events.CallFinished(7, "x", "loc", 1, 0.1, "ok"),
        events.CallStarted(8, "my-own", "loc"),
        events.CallFinished(8, "my-own", "loc", 0, 0.1, "DeadlineExceeded"),
    )
    assert [span.name for span in recorder.spans] == ["my-own"]


class Client:
    """A client whose every location shows the same snapshot."""

    def __init__(self) -> None:
        self.looks = 0
        self.credentials = SimpleNamespace(principal="pit:1")
        self.governor = SimpleNamespace(scope=lambda key: SimpleNamespace(snapshot=self._look))
        self.daily: int | None = None

    def _look(self) -> Any:
        self.looks += 1
        return SimpleNamespace(
            max=100, interval=10.0, free=40, waiting_interactive=1, waiting_bulk=7, daily_remaining=self.daily
        )


def test_the_budget_is_looked_at_once_per_second_and_forgotten_when_it_is_quiet(recorder: Recorder) -> None:
    client = Client()
    recorder.observer.watch(client)
    for n in range(50):
        recorder.tell(events.CallStarted(n, "create-new-estimate", "loc"))
    assert client.looks == 1
    found = recorder.metrics()
    assert found["hl.client.budget.remaining"][0].value == 40
    assert found["hl.client.budget.limit"][0].attributes == {"hl.location": "loc"}
    assert {point.attributes["hl.lane"]: point.value for point in found["hl.client.waiting_calls"]} == {
        "interactive": 1,
        "bulk": 7,
    }
    assert not found.get("hl.client.budget.daily_remaining")
    recorder.now[0] += 1.5
    client.daily = 12
    recorder.tell(events.CallFinished(1, "create-new-estimate", "loc", 0, 0.1, "ok"))
    assert client.looks == 2
    assert recorder.metrics()["hl.client.budget.daily_remaining"][0].value == 12
    recorder.now[0] += 12
    assert not recorder.metrics().get("hl.client.budget.remaining")
    recorder.tell(events.CallStarted(99, "create-new-estimate", "other"))
    assert list(recorder.observer._samples) == ["other"]


def test_location_ids_stay_out_of_the_metrics_when_asked() -> None:
    recorder = Recorder(location_attribute=False)
    recorder.observer.watch(Client())
    recorder.tell(
        events.CallStarted(1, "create-new-estimate", "one"),
        events.CallStarted(2, "create-new-estimate", "two"),
        events.AttemptStarted(1, "create-new-estimate", 1, 0.0),
        events.Throttled("one", 1.0),
        events.CallFinished(1, "create-new-estimate", "one", 1, 0.1, "ok"),
        events.CallFinished(2, "create-new-estimate", "two", 0, 0.1, "ok"),
    )
    found = recorder.metrics()
    assert found["hl.client.budget.remaining"][0].value == 80
    assert all("hl.location" not in point.attributes for points in found.values() for point in points)
    assert {span.attributes["hl.location"] for span in recorder.spans} == {"one", "two"}


async def test_a_real_client_is_told_from_the_first_byte_to_the_last(box: Sandbox) -> None:
    recorder = Recorder(clock=time.monotonic)
    observer = recorder.observer
    async with HighLevel(
        PrivateToken(box.token), base_url=box.url, location_id=box.location_id, observers=[observer]
    ) as client:
        observer.watch(client)
        shop = client.location()
        await shop.estimates.create(estimate())
        box.faults.script("create-new-estimate", Fault.RESET_AFTER_COMMIT)
        with pytest.raises(OutcomeUnknown):
            await shop.estimates.create(estimate())
        with pytest.raises(NotFound):
            await shop.invoices.get("0" * 24)
        found = recorder.metrics()
    created, lost, missing = recorder.spans
    assert created.attributes["http.response.status_code"] == 201
    assert lost.attributes["error.type"] == "OutcomeUnknown"
    assert missing.attributes["url.template"] == "/invoices/{invoiceId}"
    assert missing.attributes["server.address"] == "127.0.0.1"
    assert found["hl.client.budget.remaining"][0].value > 0
    assert sum(point.value for point in found["hl.client.active_calls"]) == 0
    text = repr([(span.name, dict(span.attributes), span.events) for span in recorder.spans])
    assert box.token not in text
    assert "?" not in text
