"""Internal. A sandbox in a thread of its own.

It is for sync code, and for tests under any async plugin or none.
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

    Args:
        settings: Those of :class:`~hl_async.sandbox.Sandbox`. Without ``timezone``, ``HL_SANDBOX_TIMEZONE`` names the
            time zone of its locations, so that a whole suite can run in another one. The default here is UTC, which
            suits code that reads the sandbox's own documents.

    Its rate limit is out of the way unless ``rate_max`` is given. What it holds may be read from the test's thread; its
    settings and faults may be changed between requests.
    """
    # Tests are about code, not about waiting: the rate limit must never slow one down.
    settings = {"rate_max": 100_000, "rate_interval": 1.0, **settings}
    settings.setdefault("timezone", Environment.read().sandbox_timezone or "UTC")
    box = Sandbox(**settings)
    loop = asyncio.new_event_loop()
    # A daemon, so that a test that is killed in its block does not keep the process alive.
    thread = threading.Thread(target=loop.run_forever, name="hl_async-sandbox", daemon=True)
    thread.start()
    try:
        # Entered in its own loop: the server's sockets belong to the loop that opens them.
        asyncio.run_coroutine_threadsafe(box.__aenter__(), loop).result(60)
        try:
            yield box
        finally:
            asyncio.run_coroutine_threadsafe(box.__aexit__(None, None, None), loop).result(60)
    finally:
        # stop() from another thread is not seen until the loop wakes up for something else.
        loop.call_soon_threadsafe(loop.stop)
        thread.join(60)
        loop.close()
