"""Promises of the events and their observers."""

from __future__ import annotations

import logging

import pytest

from hl_async import telemetry as events
from hl_async.telemetry import Event, LoggingObserver, Observer, Telemetry


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
    assert "Throttled scope=loc pause=10.0" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.ERROR, "hl_async"):
        observer.on_event(events.Throttled("loc", 10.0))
    assert not caplog.records
