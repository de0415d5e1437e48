"""Internal. A sandbox in a thread of its own.

It serves sync code, and tests under any async plugin or none.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hl_async.config import Environment
from hl_async.sandbox import Sandbox


@contextmanager
def served(**settings: Any) -> Iterator[Sandbox]:
    """Serve a sandbox at `box.url` until the block ends.

    The default rate limit is so high that no test meets it. Other threads may read the sandbox's documents, and change
    its settings and faults between requests.

    Args:
        settings: Those of :class:`~hl_async.sandbox.Sandbox`. Without ``timezone``, the environment variable
            ``HL_SANDBOX_TIMEZONE`` names the zone of its locations, so that a whole suite can run in another one. The
            default is UTC, so that a program that reads the sandbox's documents finds the days it sent.
    """
    # Tests check code, so the rate limit must not make one wait.
    settings = {"rate_max": 100_000, "rate_interval": 1.0, **settings}
    settings.setdefault("timezone", Environment.read().sandbox_timezone or "UTC")
    box = Sandbox(**settings)
    loop = asyncio.new_event_loop()
    # A daemon thread, so that it does not keep the process alive if the block never ends.
    thread = threading.Thread(target=loop.run_forever, name="hl_async-sandbox", daemon=True)
    thread.start()
    try:
        # Opened in its own loop, because the server's sockets belong to the loop that opens them.
        # With a limit, so that a suite fails instead of waiting for ever.
        asyncio.run_coroutine_threadsafe(box.__aenter__(), loop).result(60)
        try:
            yield box
        finally:
            asyncio.run_coroutine_threadsafe(box.__aexit__(None, None, None), loop).result(60)
    finally:
        # Threadsafe, because a loop that waits does not notice a stop() from another thread.
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
