"""A stateful local HighLevel for demos and tests.

It needs no account and no network, and injects faults on request.
"""

from __future__ import annotations

from hl_async.sandbox.clock import Clock
from hl_async.sandbox.customer import Customer
from hl_async.sandbox.faults import PROFILES, Fault, FaultPlan
from hl_async.sandbox.ledger import Ledger
from hl_async.sandbox.neighbours import NeighbourQuirks
from hl_async.sandbox.quirks import Quirks
from hl_async.sandbox.rules import RULES, Rule
from hl_async.sandbox.server import Sandbox
from hl_async.sandbox.state import RequestRecord

__all__ = [
    "PROFILES",
    "RULES",
    "Clock",
    "Customer",
    "Fault",
    "FaultPlan",
    "Ledger",
    "NeighbourQuirks",
    "Quirks",
    "RequestRecord",
    "Rule",
    "Sandbox",
]
