"""Internal. The sandbox's web console, at ``/_console/``.

It shows documents, requests, faults, webhooks and messages. The server renders the pages, which have no scripts. Any
web site that the developer visits could send forms here. So a form carries a token of this sandbox, and the console
answers only requests from loopback to a loopback name.
"""

from __future__ import annotations

from hl_async.sandbox.console.rendering import PREFIX
from hl_async.sandbox.console.routes import handle

__all__ = ["PREFIX", "handle"]
