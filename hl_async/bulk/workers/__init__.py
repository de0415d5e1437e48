"""A process that works on the runs of a database, side by side with others; and how an orchestrator looks at it."""

from __future__ import annotations

from hl_async.bulk.workers.worker import Worker, WorkerSettings

__all__ = ["Worker", "WorkerSettings"]
