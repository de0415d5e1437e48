"""Internal. ``hl-async auth``: log an OAuth app in, list, renew, log out."""

from __future__ import annotations

import asyncio
import hmac
import textwrap
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import parse_qs, urlsplit

import click

from hl_async.cli.app import exit_code_of, explain, put_json, run_async, say
from hl_async.cli.exits import ExitCode
from hl_async.cli.questions import confirmed
from hl_async.config import Environment, is_loopback
from hl_async.errors import ConfigurationError, HighLevelError, InvalidRequest, TokenMissing

if TYPE_CHECKING:
    from hl_async.auth import Installation, OAuthApp

_PATIENCE: Final = 600.0
_NOBODY: Final = "no location has installed the app yet; run: hl-async auth login"
_MAX_HEAD: Final = 16_384
_DONE: Final = (
    "<!doctype html><title>Done</title><p>Done. You can close this window and go back to the terminal."
)

_base_url = click.option(
    "--base-url", metavar="URL", help="The server; default HL_BASE_URL, else the real API."
)
_as_json = click.option("--json", "as_json", is_flag=True, help="One JSON line per installation on stdout.")


@click.group()
def auth() -> None:
    """Log in with an OAuth app of the marketplace and keep its tokens.

    \b
    HL_CLIENT_ID, HL_CLIENT_SECRET  the app, from its settings in the marketplace
    HL_REDIRECT_URI                 the redirect URL that is registered there
    HL_TOKEN_STORE                  the file of tokens; default ~/.local/state/hl_async/tokens.db
    HL_POSTGRES                     without a file: the database that many processes share
    HL_STORE_KEY                    encrypts it: openssl rand -base64 32

    All other commands use these tokens when HL_TOKEN, a private integration token, is not set.
    """


@auth.command(short_help="Install the app, and store its tokens.")
@click.option("--redirect-uri", metavar="URL", help="Default HL_REDIRECT_URI.")
@click.option(
    "--listen",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Receive the return on 127.0.0.1:PORT, where your https redirect URL leads to by a tunnel or proxy.",
)
@click.option(
    "--paste", is_flag=True, help="Ask for the address the browser ends at; the default for https URLs."
)
@click.option(
    "--browser/--no-browser", default=True, help="Open the consent page, or only print its address."
)
@click.option(
    "--scope", "scopes", multiple=True, metavar="NAME", help="Repeatable; default: all this package uses."
)
@click.option("--version-id", metavar="ID", help="The app's id; needed for private apps.")
@click.option("--host", metavar="HOST", help="The consent page's host, for white-labelled agencies.")
@_base_url
@_as_json
def login(
    redirect_uri: str | None,
    listen: int | None,
    paste: bool,
    browser: bool,
    scopes: tuple[str, ...],
    version_id: str | None,
    host: str | None,
    base_url: str | None,
    as_json: bool,
) -> int:
    """Install the app in a location or an agency, and store its tokens.

    \b
    hl-async auth login                       # then paste the address it ends at
    hl-async auth login --listen 8080         # redirect URL leads to 127.0.0.1
    hl-async auth login --no-browser --paste  # on a machine without a browser
    """
    found = Environment.read()
    server = base_url or found.base_url
    # The sandbox serves a consent page of its own.
    local = server is not None and is_loopback(urlsplit(server).hostname or "")

    async def main() -> ExitCode:
        from hl_async.client import HighLevel

        async with _Return(listen) as back:
            target = redirect_uri or found.redirect_uri
            if target is None and local:
                await back.open()
                target = back.address
            elif listen is not None:
                await back.open()
            app = _app(redirect_uri=target)
            options: dict[str, Any] = {"version_id": version_id}
            if scopes:
                options["scopes"] = scopes
            if host or local:
                options["host"] = host or server
            flow = app.consent()
            async with HighLevel(app, **_server(base_url)):
                consent = await flow.begin(**options)
                say(f"Install the app on this page:\n  {consent.url}")
                if browser:
                    click.launch(consent.url)
                if paste or not back.listening:
                    say("The browser ends at your redirect URL, with a code in its address.")
                    # A prompt blocks, and the client keeps connections and timers meanwhile.
                    returned = await asyncio.to_thread(click.prompt, "Paste that address", err=True)
                else:
                    say(f"Waiting for the return on {back.address} …")
                    returned = await back.wait(consent.state)
                installed = await flow.finish(returned, consent.state)
        _tell([installed], as_json)
        return ExitCode.OK

    return int(run_async(main))


@auth.command(short_help="Show who installed it, until when, with which scopes.")
@click.option("--all", "every", is_flag=True, help="Also tokens that were minted from an agency's.")
@_as_json
def status(every: bool, as_json: bool) -> int:
    """Show who installed the app, until when tokens live and what they may do.

    Makes no request.
    """
    found = Environment.read()
    if found.token is not None:
        say(
            f"HL_TOKEN is set: commands use the private integration token {found.token}, which never expires."
        )
        if found.client_id is None:
            return ExitCode.OK

    async def main() -> ExitCode:
        app = _app()
        installed = await app.installations(minted=every)
        await app.aclose()
        if not installed:
            raise TokenMissing(_NOBODY)
        _tell(installed, as_json)
        return ExitCode.OK

    return int(run_async(main))


@auth.command(short_help="Renew tokens now.")
@click.argument("keys", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Everything that has a refresh token.")
@_base_url
@_as_json
def refresh(keys: tuple[str, ...], every: bool, base_url: str | None, as_json: bool) -> int:
    """Renew the tokens of locations or agencies ID now, even if taken for lost."""

    async def main() -> ExitCode:
        from hl_async.client import HighLevel

        app = _app()
        async with HighLevel(app, **_server(base_url)):
            return await _each(app, keys, every, as_json, app.refresh)

    return int(run_async(main))


@auth.command(short_help="Remove tokens from this machine.")
@click.argument("keys", nargs=-1, metavar="[ID]...")
@click.option("--all", "every", is_flag=True, help="Everything.")
@click.option("--yes", is_flag=True, help="Don't ask.")
def logout(keys: tuple[str, ...], every: bool, yes: bool) -> int:
    """Remove the tokens of the locations or agencies ID from this machine.

    A refresh token can't be got back: to log in again, the app has to be installed again. The API has no way to
    revoke a token; uninstall the app in the account for that.
    """

    async def main() -> ExitCode:
        app = _app()
        try:
            chosen = await _chosen(app, keys, every)
            if not yes and not await asyncio.to_thread(
                confirmed, f"Remove the tokens of {', '.join(chosen)}?"
            ):
                return ExitCode.INTERRUPTED
            missing = [key for key in chosen if not await app.forget(key)]
        finally:
            await app.aclose()
        for key in chosen:
            say(f"{key}: {'nothing stored' if key in missing else 'removed'}")
        return ExitCode.AUTH if missing else ExitCode.OK

    return int(run_async(main))


def _app(**settings: Any) -> OAuthApp:
    from hl_async.auth.oauth import OAuthApp

    return OAuthApp.from_env(**{name: value for name, value in settings.items() if value is not None})


def _server(base_url: str | None) -> dict[str, Any]:
    found = Environment.read()
    values = {"base_url": base_url or found.base_url, "api_version": found.api_version}
    given = {name: value for name, value in values.items() if value is not None}
    return {**given, "config": found.completed(None)}


async def _chosen(app: OAuthApp, keys: tuple[str, ...], every: bool) -> list[str]:
    if bool(keys) == every:
        raise InvalidRequest("ID", "give one or more ids, or --all; see: hl-async auth status")
    chosen = list(keys) or [one.key for one in await app.installations()]
    if not chosen:
        raise TokenMissing(_NOBODY)
    return chosen


async def _each(
    app: OAuthApp,
    keys: tuple[str, ...],
    every: bool,
    as_json: bool,
    act: Callable[[str], Coroutine[Any, Any, Installation]],
) -> ExitCode:
    """Act on each key, also after a failure. Return the first failure's exit code."""
    code = ExitCode.OK
    for key in await _chosen(app, keys, every):
        try:
            _tell([await act(key)], as_json)
        except HighLevelError as error:
            say(f"error: {explain(error)}")
            # One lost installation must not keep the others from being renewed.
            code = code or exit_code_of(error)
    return code


def _tell(installed: list[Installation], as_json: bool) -> None:
    import msgspec

    for one in installed:
        if as_json:
            put_json(msgspec.to_builtins(one))
            continue
        kind = "agency" if one.kind == "Company" else "location"
        click.echo(f"{kind:<9} {one.key}  {_state(one)}")
        scopes = f"scopes {' '.join(one.scopes) or 'unknown'}"
        click.echo(
            textwrap.fill(
                scopes, 78, initial_indent=" " * 10, subsequent_indent=" " * 17, break_on_hyphens=False
            )
        )


def _state(one: Installation) -> str:
    ends = f"{one.expires_at:%Y-%m-%d %H:%M} UTC"
    if one.state == "lost":
        return f"lost; its token works until {ends}: install the app again"
    left = (one.expires_at - datetime.now(UTC)).total_seconds()
    text = f"until {ends}" if left > 0 else f"expired {ends}"
    if one.state == "uncertain":
        return f"{text}; a refresh began and its answer was never seen, the next one tells"
    if left <= 0 and one.refreshable:
        return f"{text}; the next call renews it"
    return text if one.refreshable else f"{text}, without a refresh token"


class _Return:
    """A loopback server that waits for the browser's return with the right state."""

    def __init__(self, port: int | None) -> None:
        self._port = port or 0
        self._server: asyncio.Server | None = None
        self._state = ""
        self._found: asyncio.Future[str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    @property
    def listening(self) -> bool:
        """Whether :meth:`open` was called."""
        return self._server is not None

    @property
    def address(self) -> str:
        """The address it listens at."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/callback"

    async def open(self) -> None:
        """Begin to listen."""
        self._found = asyncio.get_running_loop().create_future()
        try:
            self._server = await asyncio.start_server(self._answer, "127.0.0.1", self._port, limit=_MAX_HEAD)
        except OSError as error:
            problem = f"port {self._port} can't be listened on: {error.strerror}"
        else:
            return
        raise ConfigurationError("--listen", problem)

    async def wait(self, state: str) -> str:
        """Return the address that the browser came back to."""
        # Known only after the port: the redirect URI contains it.
        self._state = state
        assert self._found is not None
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._found
        except TimeoutError:
            pass
        raise TokenMissing(
            f"the consent page was not completed within {_PATIENCE / 60:.0f} minutes; begin again"
        )

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # A browser opens spare connections and never uses them.
            async with asyncio.timeout(10):
                head = await reader.readuntil(b"\r\n\r\n")
            status, text = self._judge(head.split(b"\r\n", 1)[0].decode("latin-1"))
            answer = (
                f"HTTP/1.1 {status}\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n"
                f"Referrer-Policy: no-referrer\r\nContent-Length: {len(text)}\r\n\r\n{text}"
            )
            writer.write(answer.encode("latin-1"))
            await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a port scan, or a browser that opened a connection it did not need
        finally:
            writer.close()

    def _judge(self, line: str) -> tuple[str, str]:
        """Return the answer to a request line. The right one ends the wait."""
        method, _, rest = line.partition(" ")
        target = rest.partition(" ")[0]
        query = parse_qs(urlsplit(target).query)
        state = query.get("state", [""])[0]
        if method != "GET" or not ("code" in query or "error" in query):
            return "404 Not Found", "Not found"
        # Any page in the browser can send a request here, so the state must match.
        if not self._state or not hmac.compare_digest(state.encode(), self._state.encode()):
            return "400 Bad Request", "This return does not belong to the login that is waiting."
        assert self._found is not None
        # Browsers repeat a request when a page is reloaded.
        if not self._found.done():
            self._found.set_result(f"http://127.0.0.1{target}")
        return "200 OK", _DONE
