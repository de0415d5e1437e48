"""Celery tasks: one client per worker process, tasks that are safe to run again.

    HL_TOKEN=… HL_LOCATION_ID=… CELERY_BROKER_URL=redis://… celery -A examples.celery_app worker

The prefork pool forks after this module is loaded. The client opens its connections at the first call, in the forked
process. A call in the parent, such as one at import, would open it there; tasks would then fail with `ForkedClient`.
"""

from __future__ import annotations

import logging
import os
from typing import Any, Final

from celery import Celery
from celery.signals import worker_process_shutdown

from hl_async import Lane, Once, SqliteStore
from hl_async.errors import (
    DeadlineExceeded,
    OutcomeUnknown,
    RateLimited,
    ServerError,
    WireError,
)
from hl_async.models import EstimateDraft
from hl_async.sync import HighLevel

log = logging.getLogger("celery_app")
app = Celery("billing", broker=os.environ.get("CELERY_BROKER_URL", "memory://"))
app.conf.update(
    # A task that was running when its process died is delivered again. `once=` makes that safe.
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
)
hl = HighLevel.from_env(once=Once(SqliteStore(os.environ.get("ONCE_DB", "once.db"))))

PASSING: Final = (DeadlineExceeded, OutcomeUnknown, RateLimited, ServerError, WireError)
"""Errors that another attempt may not meet. All others are final; Celery logs them."""


@worker_process_shutdown.connect
def close_client(**_: Any) -> None:
    """End the process's connections in good order."""
    hl.close()


@app.task(bind=True, max_retries=8)
def create_estimate(self: Any, draft: str, key: str) -> str:
    """Create the estimate in ``draft`` once, however often the queue delivers this task. Return its id.

    ``draft`` is ``EstimateDraft(…).to_json()``. Workers of one host share the file ``ONCE_DB``; workers on several
    hosts take ``PostgresTokenStore``.
    """
    shop = hl.location().with_options(lane=Lane.BULK)
    try:
        return shop.estimates.create(EstimateDraft.from_json(draft), once=key).id
    except PASSING as error:
        log.warning("create_estimate %s: %s", key, error)
        wait = (
            getattr(error, "needed", None) or getattr(error, "retry_after", None) or 2**self.request.retries
        )
        raise self.retry(exc=error, countdown=wait) from error
