"""Workers: processes that share the runs of one database, and their health page."""

from __future__ import annotations

from hl_async.bulk.workers.worker import Worker, WorkerSettings

__all__ = ["Worker", "WorkerSettings"]
