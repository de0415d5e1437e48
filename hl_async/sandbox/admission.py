"""Internal. The check of where a request comes from.

It keeps other web sites from using a sandbox through the developer's browser.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from hl_async.config import is_loopback
from hl_async.sandbox.refusals import Refusal

_READING: Final = frozenset(("GET", "HEAD", "OPTIONS"))


def admit(request: web.Request, *, host: str, allow_remote: bool) -> None:
    """Raise unless a program, or a page of the sandbox, may have sent a request.

    Two kinds of requests are refused: those to a foreign host name that resolves to this machine (DNS rebinding), and
    changes that a page of another site requests.

    Args:
        request: The request.
        host: The address that the sandbox listens on.
        allow_remote: Whether IP addresses, the machine's name and names without a dot count as the sandbox's own.

    Raises:
        Refusal: A 403 that names the header.
    """
    if not _is_own_name(request.host, host, allow_remote=allow_remote):
        raise Refusal(403, f"Host {request.host[:80]!r} is not a name of this sandbox", "Forbidden")
    # The browser lets a page of another site send a GET, but not read its answer.
    if request.method in _READING:
        return
    # Programs send neither header. Browsers send Origin with every change, and a page cannot forge it.
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{request.host}":
        raise Refusal(403, f"Origin {origin[:80]!r} is another site", "Forbidden")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise Refusal(403, "Sec-Fetch-Site says that another site sent this request", "Forbidden")


def _is_own_name(given: str, host: str, *, allow_remote: bool) -> bool:
    try:
        name = urlsplit(f"//{given}").hostname or ""
    except ValueError:
        return False
    if is_loopback(name) or name == host.lower():
        return True
    if not allow_remote:
        return False
    # A public name has a dot, so a page of another site cannot come from a name without one.
    return "." not in name or name == socket.gethostname().lower() or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_local(request: web.Request) -> bool:
    """Return whether a request comes from this machine and names a loopback host."""
    try:
        name = urlsplit(f"//{request.host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(request.remote or "") and is_loopback(name)
