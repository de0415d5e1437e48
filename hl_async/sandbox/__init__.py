"""A stateful local HighLevel, for demos and tests: no account, no network, faults on request."""

from __future__ import annotations

from hl_async.sandbox.clock import Clock
from hl_async.sandbox.faults import PROFILES, Fault, FaultPlan
from hl_async.sandbox.ledger import Ledger, Quirks
from hl_async.sandbox.neighbours import NeighbourQuirks
from hl_async.sandbox.server import RequestRecord, Sandbox

__all__ = [
    "PROFILES",
    "Clock",
    "Fault",
    "FaultPlan",
    "Ledger",
    "NeighbourQuirks",
    "Quirks",
    "RequestRecord",
    "Sandbox",
]
