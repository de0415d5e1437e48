"""Internal. The console's HTTP: access, forms, and the page of a path."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from aiohttp import web

from hl_async.config import is_loopback
from hl_async.sandbox.console import neighbour_pages, pages
from hl_async.sandbox.console.actions import perform
from hl_async.sandbox.console.rendering import NOT_INSTALLED, PREFIX, content_policy, is_installed

if TYPE_CHECKING:
    from hl_async.sandbox.state import SandboxState

_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer a browser sends our own forms with Origin: null
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def handle(box: SandboxState, request: web.Request) -> web.Response:
    """Return the answer to one request to the console."""
    if not _is_local(request):
        return _refused(403, "The console answers on loopback alone.")
    # After the check of the address, so that other machines learn nothing about this installation.
    if not is_installed():
        return _refused(501, NOT_INSTALLED)
    token = box.console_token
    parts = [unquote(part) for part in request.path.removeprefix(PREFIX).split("/") if part]
    said = ""
    if request.method == "POST":
        # A page of another site can send a form, although it cannot read the answer.
        if not _is_same_site(request):
            return _refused(403, "This form comes from another site.")
        form = {name: str(value) for name, value in (await request.post()).items()}
        # in constant time, so that measuring the comparison reveals nothing about the token
        if not hmac.compare_digest(form.get("token", "").encode(), token.encode()):
            return _refused(403, "This form is of another sandbox; load the page again.")
        said = perform(box, form, parts[-1] if parts else "")
    elif request.method not in ("GET", "HEAD"):
        return _refused(405, "Only GET and POST.")
    found = _page(box, parts, request.query, token, said)
    if found is None:
        return _html(pages.missing(), 404)
    # A browser shows the page with either status; a script sees by the status that the action failed.
    return _html(found, 400 if said.startswith("Not done") else 200)


def _page(box: SandboxState, parts: list[str], query: Mapping[str, str], token: str, said: str) -> str | None:
    match parts:
        case []:
            return pages.overview(box)
        case ["requests"]:
            return pages.requests(box, query)
        case ["requests", number]:
            return pages.request(box, number)
        case ["faults"]:
            return pages.faults(box, token, said)
        case ["webhooks"]:
            return pages.webhooks(box, token, said)
        case ["outbox"]:
            return pages.outbox(box)
        case ["location", place]:
            return pages.location(box, place, query)
        case ["location", place, kind]:
            return neighbour_pages.listing(box, place, kind, query)
        case ["location", place, "contacts", contact]:
            return neighbour_pages.contact(box, place, contact)
        case ["location", place, kind, document]:
            return pages.document(box, place, kind, document, token, said)
    return None


def _is_local(request: web.Request) -> bool:
    """Return whether a request comes from this machine and names a loopback host."""
    # Against DNS rebinding: a site can point its own name at 127.0.0.1. Then the peer is local, and the name is not.
    peer = request.remote or ""
    name = urlsplit(f"//{request.host}").hostname or ""
    return is_loopback(peer) and is_loopback(name)


def _is_same_site(request: web.Request) -> bool:
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{request.host}":
        return False
    # Browsers send this header, and pages cannot forge it. Programs do not send it.
    return request.headers.get("Sec-Fetch-Site", "same-origin") in ("same-origin", "none")


def _html(text: str, status: int = 200) -> web.Response:
    policy = {"Content-Security-Policy": content_policy()}
    return web.Response(text=text, status=status, content_type="text/html", headers=_HEADERS | policy)


def _refused(status: int, why: str) -> web.Response:
    policy = {"Content-Security-Policy": "default-src 'none'"}
    return web.Response(text=why, status=status, headers=_HEADERS | policy)
