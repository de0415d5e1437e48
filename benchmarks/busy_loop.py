"""What a pooled connection does while the event loop is busy: late answers, ends of connections, the cost of the look.

After each call the loop is blocked until the kernel holds what the server did meanwhile: a second copy of the previous
answer, or the end of the idle connection. The next call follows in the same turn of the loop, so no `select` has told
the loop about it. Counted: answers that belong to another call, and POSTs that ended although no server saw them.
`python -m benchmarks.busy_loop [--loop uvloop] [--tls]`.
"""

from __future__ import annotations

import argparse
import asyncio
import select
import socket
import ssl
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.bars import Row, note
from hl_async import ClientConfig
from hl_async.errors import WireError
from hl_async.transport.connector import _LOOK
from hl_async.transport.session import SessionManager

GETS = 600
POSTS = 200


class Server:
    """Answers `/7` with the document `7`, one connection at a time, in a thread; does what it is asked in between."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.requests = 0
        self.answered = 0
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._order, self._orders = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    def answer_again(self) -> None:
        """Send the previous document once more, unasked."""
        self._order.send(b"a")

    def hang_up(self) -> None:
        """Close the idle connection."""
        self._order.send(b"c")

    def stop(self) -> None:
        """End the thread."""
        self._order.send(b"q")
        self._thread.join(10)
        self._order.close()

    def _accept(self) -> None:
        with self._orders, self._listener:
            while True:
                ready, _, _ = select.select((self._listener, self._orders), (), ())
                if self._orders in ready and self._orders.recv(1) == b"q":
                    return
                if self._listener not in ready:
                    continue
                connection, _ = self._listener.accept()
                connection.settimeout(10)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                try:
                    if self._context is not None:
                        connection = self._context.wrap_socket(connection, server_side=True)
                    with connection:
                        if self._serve(connection):
                            return
                except OSError:
                    connection.close()

    def _serve(self, connection: socket.socket) -> bool:
        """Serve until the connection ends; whether the server is to end as well."""
        reply = b""
        received = b""
        while True:
            ready, _, _ = select.select((connection, self._orders), (), ())
            if self._orders in ready:
                order = self._orders.recv(1)
                if order == b"a":
                    connection.sendall(reply)
                else:
                    return order == b"q"
            if connection in ready:
                data = connection.recv(65536)
                if not data:
                    return False
                received += data
                if not received.endswith((b"\r\n\r\n", b"}")):
                    continue
                self.requests += 1
                document = b'{"_id":"%b"}' % received.split(b" ", 2)[1][1:]
                reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(document), document)
                self.may_answer.wait(30)
                connection.sendall(reply)
                self.answered += 1
                received = b""


def block_until_readable(session: SessionManager) -> None:
    """Block the loop, as work of the application would, until the kernel holds something for an idle connection."""
    assert session._session is not None
    pools = session._session.connector._conns.values()  # type: ignore[union-attr]
    sockets = [protocol.transport.get_extra_info("socket") for pool in pools for protocol, _ in pool]  # type: ignore[union-attr]
    if sockets:
        assert select.select([one.fileno() for one in sockets], (), (), 30)[0]


async def late_answers(session: SessionManager, server: Server, calls: int, *, every: int = 2) -> int:
    """How many of `calls` GETs got another call's document; one in `every` is followed by a late answer."""
    wrong = 0
    for number in range(calls):
        answer = await session.attempt("GET", f"{server.url}/{number}", {})
        wrong += answer.body != b'{"_id":"%d"}' % number
        if number % every == every - 1:
            server.answer_again()
            block_until_readable(session)
    return wrong


async def lost_posts(session: SessionManager, server: Server, calls: int) -> int:
    """How many of `calls` POSTs failed; before every second one the server closes the idle connection."""
    lost = 0
    for number in range(calls):
        try:
            await session.attempt("POST", f"{server.url}/{number}", {}, b"{}")
        except WireError:
            lost += 1
        if number % 2:
            server.hang_up()
            block_until_readable(session)
    return lost


async def look_cost(session: SessionManager, server: Server, looks: int = 20_000) -> float:
    """Seconds that one look into the kernel takes."""
    await session.attempt("GET", f"{server.url}/0", {})
    assert session._session is not None
    ((protocol, _),) = next(iter(session._session.connector._conns.values()))  # type: ignore[union-attr]
    look = getattr(protocol, _LOOK)
    took = []
    for _ in range(9):
        began = time.perf_counter()
        for _ in range(looks):
            look()
        took.append((time.perf_counter() - began) / looks)
    return statistics.median(took)


@contextmanager
def serving(tls: bool) -> Iterator[tuple[Server, ssl.SSLContext | None]]:
    """A server, and a context that trusts it."""
    from benchmarks.connections import certificate

    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = None, None
        if tls:
            public, private = certificate(Path(folder))
            theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            theirs.load_cert_chain(public, private)
            ours = ssl.create_default_context(cafile=str(public))
            ours.check_hostname = False
        server = Server(theirs)
        try:
            yield server, ours
        finally:
            server.stop()


async def measure(tls: bool) -> list[Row]:
    """Both paths of the transport: calls that write to the connection, and calls that aiohttp makes."""
    rows = []
    for path in ("fast path", "aiohttp"):
        with serving(tls) as (server, context):
            session = SessionManager(ClientConfig(base_url=server.url), ssl=context)
            await session.open()
            if path == "aiohttp":
                assert session._session is not None
                tracer = aiohttp.TraceConfig()
                tracer.freeze()
                session._session.trace_configs.append(tracer)
            wrong = await late_answers(session, server, GETS)
            lost = await lost_posts(session, server, POSTS)
            cost = await look_cost(session, server)
            await session.aclose()
        rows.append(Row(f"{path}, loop busy: another call's answer, of {GETS} GETs", wrong, 0, ""))
        rows.append(Row(f"{path}, loop busy: lost, of {POSTS} POSTs", lost, 0, ""))
        rows.append(Row(f"{path}: the look into the kernel before reuse", cost * 1e6, 3.0, "µs"))
    return rows


def main() -> int:
    """Print everything; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--tls", action="store_true")
    options, _ = parser.parse_known_args()
    factory: Any = None
    if options.loop == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        rows = runner.run(measure(options.tls))
    held = [note(row) for row in rows]
    for row in rows:
        print("   ".join(row.cells()))
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
