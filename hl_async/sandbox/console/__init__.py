"""The sandbox's web console, at ``/_console/``: what is in it, what was asked of it, and switches for what goes wrong.

Server-rendered, without scripts, on loopback alone. A web site that the developer visits could send forms here, so
they carry a token of this sandbox, and only requests to a loopback name are answered.
"""

from __future__ import annotations

from hl_async.sandbox.console.routes import PREFIX, handle

__all__ = ["PREFIX", "handle"]
