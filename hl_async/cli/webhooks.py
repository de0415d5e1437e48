"""Internal. ``hl-async webhooks``: send signed test deliveries, receive any."""

from __future__ import annotations

import difflib
import http.client
import os
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from click.shell_completion import CompletionItem

from hl_async.cli.app import explain, fail, put_json, say
from hl_async.cli.exits import ExitCode
from hl_async.config import Environment, web_address
from hl_async.errors import InvalidRequest, WebhookError
from hl_async.sandbox.deliveries import WebhookSender
from hl_async.storage.private_files import make_private_folder, open_private

if TYPE_CHECKING:
    from collections.abc import Mapping

    _Text = click.ParamType[str]
else:
    _Text = click.ParamType  # a generic only in later releases of click

EVENTS: Final = (
    "InvoiceCreate",
    "InvoiceUpdate",
    "InvoiceSent",
    "InvoicePaid",
    "InvoicePartiallyPaid",
    "InvoiceVoid",
    "InvoiceDelete",
)
_MOST: Final = 1 << 20
_TIMEOUT: Final = 15.0


class _Event(_Text):
    """The name of an event, in any case."""

    name = "event"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the event's own spelling."""
        known = {name.lower(): name for name in EVENTS}
        if value.lower() in known:
            return known[value.lower()]
        near = difflib.get_close_matches(value.lower(), known, 1)
        hint = f"did you mean {known[near[0]]}?" if near else f"there are {', '.join(EVENTS)}"
        raise click.BadParameter(f"unknown event {value!r}; {hint}", ctx, param)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the event's name."""
        return [CompletionItem(name) for name in EVENTS if name.lower().startswith(incomplete.lower())]


_key_option = click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The test key; default beside the tokens, made on first use.",
)


@click.group()
def webhooks() -> None:
    """Try a receiver of webhooks without an account.

    \b
    hl-async webhooks key   # what the receiver under test has to accept
    """


@webhooks.command()
@_key_option
def key(key_file: Path | None) -> int:
    """Print the public key that test deliveries are signed with.

    \b
    Router(keys=("…",))   # in the receiver's test settings, never in production
    """
    click.echo(sender(key_file).public_key)
    return ExitCode.OK


@webhooks.command()
@click.argument("event", type=_Event())
@click.argument("url")
@click.option("--data", metavar="JSON|@FILE", help="Keys of the body to replace; null takes one out.")
@_key_option
def send(event: str, url: str, data: str | None, key_file: Path | None) -> int:
    """Post one signed delivery of EVENT to URL, and print the receiver's answer.

    EVENT is InvoiceCreate, InvoiceUpdate, InvoiceSent, InvoicePaid, InvoicePartiallyPaid, InvoiceVoid or
    InvoiceDelete.

    Exit 0 for an answer below 300, 5 for any other answer or none.

    \b
    hl-async webhooks send InvoicePaid http://127.0.0.1:8000/webhooks
    hl-async webhooks send InvoiceSent http://127.0.0.1:8000/webhooks --data '{"total": 12.5}'
    """
    delivery = sender(key_file).deliver(event, **_changes(data))
    try:
        status, body = post(url, delivery.body, delivery.headers)
    except (OSError, http.client.HTTPException) as error:
        fail(f"{url} gives no answer: {getattr(error, 'strerror', None) or error}", ExitCode.API)
    say(f"{event} → {url}: {status}")
    if body:
        click.echo(body.decode(errors="replace"))
    return ExitCode.OK if status < 300 else ExitCode.API


@webhooks.command()
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 picks a free one."
)
@click.option("--key", "keys", multiple=True, metavar="KEY",
              help="A public key to accept; repeatable. Default: HighLevel's and the test key.")  # fmt: skip
@click.option("--count", type=click.IntRange(1), metavar="N", help="End after so many deliveries.")
@click.option("--json", "as_json", is_flag=True, help="Print each body as one JSON line.")
@_key_option
def listen(port: int, keys: tuple[str, ...], count: int | None, as_json: bool, key_file: Path | None) -> int:
    """Print deliveries to 127.0.0.1 that have a proven signature, until Ctrl-C.

    HighLevel reaches it through a tunnel of yours. A delivery without an accepted signature gets 401.

    \b
    hl-async webhooks listen --port 8000
    hl-async sandbox --webhook-url http://127.0.0.1:8000/   # in another terminal
    """
    from hl_async.webhooks.signatures import HIGHLEVEL_ED25519, prepare

    accepted = keys or (HIGHLEVEL_ED25519, sender(key_file).public_key)
    # A key with a typo would refuse every delivery, one by one.
    prepare(accepted, ())
    try:
        server = _Receiver(port, accepted, as_json, count)
    except OSError as error:
        fail(f"can't listen on 127.0.0.1:{port}: {error.strerror}; choose another --port")
    say(f"listening on http://127.0.0.1:{server.server_port}/; Ctrl-C ends it")
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        say("stopped")
    finally:
        server.server_close()
    return ExitCode.OK


class _Receiver(ThreadingHTTPServer):
    """Proves and prints deliveries; ends itself after ``count`` of them."""

    daemon_threads = True

    def __init__(self, port: int, keys: tuple[str, ...], as_json: bool, count: int | None) -> None:
        self.keys = keys
        self.as_json = as_json
        self._left = count
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def receive(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Print a delivery if its signature is proved. Return the status to answer."""
        from hl_async.webhooks import status_for, verify

        try:
            delivery = verify(body, headers, keys=self.keys)
        except WebhookError as error:
            say(f"refused: {explain(error)}")
            return status_for(error)
        if self.as_json:
            put_json(msgspec.json.decode(body))
        else:
            click.echo(_line(msgspec.json.decode(body), delivery.key))
        return 200

    def count(self) -> None:
        """Count an answered delivery, and end after the last one."""
        with self._lock:
            if self._left is not None:
                self._left -= 1
                if self._left <= 0:
                    # shutdown() waits for the loop that this request runs in.
                    threading.Thread(target=self.shutdown, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "0")
        size = int(length) if length.isdecimal() else 0
        if size > _MOST:
            self._answer(413)
            return
        assert isinstance(self.server, _Receiver)
        status = self.server.receive(self.rfile.read(size), dict(self.headers.items()))
        self._answer(status)
        # Counted after the answer: a process that ends before it leaves the sender with a failed delivery.
        if status == HTTPStatus.OK:
            self.server.count()

    def _answer(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
        """Print nothing: deliveries are printed, requests are not."""


def _line(body: Mapping[str, Any], key: str) -> str:
    parts = [
        str(body.get("type") or "without type"),
        str(body.get("_id") or ""),
        str(body.get("status") or ""),
    ]
    if body.get("total") is not None:
        parts.append(f"{body['total']} {body.get('currency') or ''}".strip())
    return "  ".join(part for part in (*parts, key) if part)


def sender(key_file: Path | None) -> WebhookSender:
    """Return a sender with the user's test key, which is made on first use."""
    if key_file is None:
        tokens = Environment.read().token_store
        # Kept, because a receiver is configured with its public key once.
        key_file = (
            Path(tokens).expanduser().parent / "webhooks-test.key" if tokens else Path("webhooks-test.key")
        )
    try:
        seed = key_file.read_bytes()
    except FileNotFoundError:
        seed = os.urandom(32)
        make_private_folder(key_file.parent)
        with open_private(key_file, "xb") as file:
            file.write(seed)
    if len(seed) != 32:
        raise InvalidRequest("--key-file", f"{key_file} is not a test key of 32 bytes; name another file")
    return WebhookSender(seed=seed)


def _changes(data: str | None) -> dict[str, Any]:
    if data is None:
        return {}
    text = Path(data[1:]).read_text("utf-8") if data.startswith("@") else data
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise InvalidRequest("--data", f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidRequest("--data", "must be a JSON object, such as '{\"total\": 12.5}'")
    return found


def post(url: str, body: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
    parts = web_address("URL", url, "http://127.0.0.1:8000/webhooks")
    # http.client follows no redirects and needs no event loop.
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    try:
        target = parts.path or "/"
        connection.request("POST", f"{target}?{parts.query}" if parts.query else target, body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(_MOST)
    finally:
        connection.close()
