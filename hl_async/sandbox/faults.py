"""Faults by script or by rate: which one befalls the n-th request, decided from a seed alone."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import deque
from enum import Enum, unique
from typing import Final


@unique
class Fault(Enum):
    """What may happen to a request. *Commit* is the moment an operation takes effect."""

    LATENCY = "latency"
    STALL = "stall"
    RESET_BEFORE_COMMIT = "reset_before_commit"
    RESET_AFTER_COMMIT = "reset_after_commit"
    LATE_COMMIT = "late_commit"
    LATE_ANSWER = "late_answer"
    SLOW_DRIP = "slow_drip"
    TRUNCATED = "truncated"
    TRUNCATED_CHUNKED = "truncated_chunked"
    TRUNCATED_CLOSE = "truncated_close"
    LONGER_BODY = "longer_body"
    HTML_502 = "html_502"
    HTML_503 = "html_503"
    RETRY_503 = "retry_503"
    ERROR_500_BEFORE = "error_500_before"
    ERROR_500_AFTER = "error_500_after"
    CONTROL_CHARACTERS = "control_characters"
    THROTTLE = "throttle"
    THROTTLE_SECONDS = "throttle_seconds"
    THROTTLE_DATE = "throttle_date"
    UNAUTHORISED = "unauthorised"
    IDLE_CLOSE = "idle_close"
    BIG_BODY = "big_body"
    GZIP_BOMB = "gzip_bomb"
    HEADER_FLOOD = "header_flood"
    GARBAGE = "garbage"
    DUPLICATE_LENGTH = "duplicate_length"
    REDIRECT = "redirect"
    NO_INVOICE_KEY = "no_invoice_key"


PROFILES: Final[dict[str, dict[Fault, float]]] = {
    "none": {},
    "mild": {Fault.RESET_AFTER_COMMIT: 0.01, Fault.HTML_502: 0.01, Fault.THROTTLE: 0.01, Fault.LATENCY: 0.05},
    "migration": {
        Fault.RESET_AFTER_COMMIT: 0.05,
        Fault.LATE_COMMIT: 0.02,
        Fault.ERROR_500_BEFORE: 0.02,
        Fault.ERROR_500_AFTER: 0.015,
        Fault.HTML_502: 0.015,
        Fault.THROTTLE: 0.02,
    },
    "rough": {
        Fault.RESET_BEFORE_COMMIT: 0.02,
        Fault.RESET_AFTER_COMMIT: 0.02,
        Fault.LATE_ANSWER: 0.01,
        Fault.SLOW_DRIP: 0.01,
        Fault.TRUNCATED: 0.01,
        Fault.TRUNCATED_CHUNKED: 0.005,
        Fault.TRUNCATED_CLOSE: 0.005,
        Fault.LONGER_BODY: 0.005,
        Fault.HTML_502: 0.02,
        Fault.HTML_503: 0.01,
        Fault.RETRY_503: 0.01,
        Fault.ERROR_500_BEFORE: 0.01,
        Fault.ERROR_500_AFTER: 0.01,
        Fault.CONTROL_CHARACTERS: 0.01,
        Fault.THROTTLE: 0.01,
        Fault.THROTTLE_SECONDS: 0.005,
        Fault.UNAUTHORISED: 0.005,
        Fault.IDLE_CLOSE: 0.05,
        Fault.HEADER_FLOOD: 0.002,
        Fault.GARBAGE: 0.005,
        Fault.DUPLICATE_LENGTH: 0.002,
        Fault.NO_INVOICE_KEY: 0.02,
    },
}
PROFILES["storm"] = {fault: min(3 * rate, 0.15) for fault, rate in PROFILES["rough"].items()}


@dataclasses.dataclass(slots=True)
class FaultTimes:
    """Durations in seconds; small, so that tests are quick."""

    latency: float = 0.2
    stall: float = 30.0
    late: float = 0.8
    drip: float = 0.02
    retry_after: float = 1.0


class FaultPlan:
    """Which fault befalls which request.

    Scripted faults come first, in order; then one die per request, thrown from ``seed`` and the request's number, so
    that a run can be repeated.
    """

    def __init__(self, profile: str | dict[Fault, float] = "none", seed: int = 0) -> None:
        self.seed = seed
        self.times = FaultTimes()
        self.rates: dict[Fault, float] = {}
        self.injected: dict[Fault, int] = {}
        self._scripts: dict[str, deque[Fault]] = {}
        self.use(profile)

    def use(self, profile: str | dict[Fault, float], seed: int | None = None) -> None:
        """Take the rates of a named profile, or rates of one's own; ValueError names the profiles there are."""
        if isinstance(profile, str):
            if profile not in PROFILES:
                raise ValueError(f"{profile!r} is no fault profile; there are {', '.join(PROFILES)}")
            profile = PROFILES[profile]
        if sum(profile.values()) > 1:
            raise ValueError("the rates add up to more than 1")
        self.rates = dict(profile)
        if seed is not None:
            self.seed = seed

    def script(self, operation: str, *faults: Fault, times: int = 1) -> None:
        """The next requests of ``operation`` (an operationId, or ``*``) meet these faults, one each."""
        self._scripts.setdefault(operation, deque()).extend(list(faults) * times)

    def unscript(self, operation: str, fault: Fault) -> None:
        """Take back what :meth:`script` announced of this fault and has not happened."""
        queue = self._scripts.get(operation)
        if queue is not None:
            self._scripts[operation] = deque(entry for entry in queue if entry is not fault)

    def clear(self) -> None:
        """No more faults."""
        self.rates = {}
        self._scripts.clear()

    def take(self, operation: str, number: int) -> Fault | None:
        """The fault for request ``number`` (from 1), if any."""
        fault = self._scripted(operation) or self._thrown(number)
        if fault is not None:
            self.injected[fault] = self.injected.get(fault, 0) + 1
        return fault

    def _scripted(self, operation: str) -> Fault | None:
        for name in (operation, "*"):
            queue = self._scripts.get(name)
            if queue:
                return queue.popleft()
        return None

    def _thrown(self, number: int) -> Fault | None:
        if not self.rates:
            return None
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        die = int.from_bytes(digest[:8], "big") / 2**64
        for fault, rate in self.rates.items():
            if die < rate:
                return fault
            die -= rate
        return None
