"""Promises of the events and their observers."""

from __future__ import annotations

import logging

import pytest

from hl_async import telemetry as events
from hl_async.telemetry import Event, LoggingObserver, Observer, Telemetry, logs


class Recorder:
    def __init__(self) -> None:
        self.seen: list[Event] = []

    def on_event(self, event: Event) -> None:
        self.seen.append(event)


class Broken:
    def on_event(self, event: Event) -> None:
        raise RuntimeError("observer")


def test_nobody_listening_is_known_without_building_an_event() -> None:
    assert not Telemetry().active
    assert Telemetry([Recorder()]).active
    assert isinstance(Recorder(), Observer)


def test_an_observer_that_raises_is_logged_once_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    recorder = Recorder()
    hub = Telemetry([Broken(), recorder])
    for n in range(3):
        hub.emit(events.CallStarted(n, "op", "loc"))
    assert len(recorder.seen) == 3
    assert len(caplog.records) == 1
    only = Telemetry([Broken()])
    only.emit(events.CallStarted(1, "op", "loc"))
    assert not only.active


def test_the_logging_observer_is_loud_only_about_trouble(caplog: pytest.LogCaptureFixture) -> None:
    observer = LoggingObserver()
    with caplog.at_level(logging.DEBUG, "hl_async"):
        observer.on_event(events.CallStarted(1, "op", "loc"))
        observer.on_event(events.Throttled("loc", 10.0))
    assert [record.levelname for record in caplog.records] == ["DEBUG", "WARNING"]
    assert "loc answered 429; its requests pause for 10.0 s" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.ERROR, "hl_async"):
        observer.on_event(events.Throttled("loc", 10.0))
    assert not caplog.records


def test_the_client_writes_to_the_log_without_any_observer(caplog: pytest.LogCaptureFixture) -> None:
    hub = Telemetry()
    assert not hub.wants_calls()
    hub.emit(events.RetryScheduled(1, "estimates.list", 1, 0.5, "ServerError"))
    assert "estimates.list: request 1 failed (ServerError); sending it again in 0.5 s" in caplog.text
    with caplog.at_level(logging.DEBUG, "hl_async"):
        assert hub.wants_calls()


def test_a_logging_observer_of_the_same_logger_doubles_no_line(caplog: pytest.LogCaptureFixture) -> None:
    Telemetry([LoggingObserver()]).emit(events.Throttled("loc", 10.0))
    assert len(caplog.records) == 1
    Telemetry([LoggingObserver(logging.getLogger("mine"))]).emit(events.Throttled("loc", 10.0))
    assert [record.name for record in caplog.records[1:]] == ["hl_async", "mine"]


def test_no_line_of_the_log_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    token = "pit-00000000-0000-4000-8000-000000000000"
    Telemetry().emit(events.BudgetStoreLost(f"the server said {token}"))
    assert "the shared rate budget cannot be used" in caplog.text
    assert token not in caplog.text


def test_every_event_has_a_line() -> None:
    assert set(logs._LINES) == set(Event.__subclasses__())
