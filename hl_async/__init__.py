"""Asyncio SDK for estimates and invoices of the HighLevel API."""

from __future__ import annotations

from hl_async._version import __version__
from hl_async.auth import Credentials, PrivateToken
from hl_async.client import HighLevel, Location
from hl_async.config import CallOptions, ClientConfig, Lane, Timeouts
from hl_async.errors import HighLevelError
from hl_async.governor import Governor, GovernorPolicy
from hl_async.operations import OPERATIONS, Operation
from hl_async.pagination import Page, Pager
from hl_async.retry import RetryPolicy
from hl_async.secret import Secret
from hl_async.telemetry import LoggingObserver, Observer
from hl_async.wire import WireResponse

__all__ = [
    "OPERATIONS",
    "CallOptions",
    "ClientConfig",
    "Credentials",
    "Governor",
    "GovernorPolicy",
    "HighLevel",
    "HighLevelError",
    "Lane",
    "Location",
    "LoggingObserver",
    "Observer",
    "Operation",
    "Page",
    "Pager",
    "PrivateToken",
    "RetryPolicy",
    "Secret",
    "Timeouts",
    "WireResponse",
    "__version__",
]
