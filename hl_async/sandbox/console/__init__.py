"""Internal. The sandbox's web console, at ``/_console/``.

It shows documents, requests, faults, webhooks and messages. Server-rendered, without scripts, on loopback alone. A
web site that the developer visits could send forms here, so they carry a token of this sandbox, and only requests
to a loopback name are answered.
"""

from __future__ import annotations

from hl_async.sandbox.console.rendering import PREFIX
from hl_async.sandbox.console.routes import handle

__all__ = ["PREFIX", "handle"]
