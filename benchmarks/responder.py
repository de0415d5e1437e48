"""A raw-protocol HTTP responder in a process of its own: cheaper than any client that is measured against it."""

from __future__ import annotations

import asyncio
import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

RATE_HEADERS = (
    b"X-RateLimit-Limit-Daily: 200000000\r\nX-RateLimit-Daily-Remaining: 199999999\r\n"
    b"X-RateLimit-Interval-Milliseconds: 1000\r\nX-RateLimit-Max: 1000000\r\nX-RateLimit-Remaining: 999999\r\n"
)


def answer(body: bytes, status: bytes = b"200 OK") -> bytes:
    """A complete HTTP response around a JSON body, with the headers the API sends."""
    return (
        b"HTTP/1.1 " + status + b"\r\nContent-Type: application/json; charset=utf-8\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n" + RATE_HEADERS + b"\r\n" + body
    )


class _Responder(asyncio.Protocol):
    """Finds the end of each request and answers by the first path in ``routes`` that its first line contains."""

    routes: tuple[tuple[bytes, bytes], ...] = ()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end]
            length = 0
            at = head.lower().find(b"content-length:")
            if at >= 0:
                length = int(head[at + 15 :].split(b"\r\n", 1)[0])
            if len(self._buffer) < end + 4 + length:
                return
            self._buffer = self._buffer[end + 4 + length :]
            line = head.split(b"\r\n", 1)[0]
            for path, reply in self.routes:
                if path in line:
                    self._transport.write(reply)  # type: ignore[attr-defined]
                    break


def _serve(pipe: Connection, routes: tuple[tuple[bytes, bytes], ...]) -> None:
    async def main() -> None:
        _Responder.routes = routes
        server = await asyncio.get_running_loop().create_server(_Responder, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()

    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)


@contextmanager
def responder(routes: dict[str, bytes]) -> Iterator[str]:
    """Serve canned answers on loopback; yields the base URL. ``routes`` maps a part of the request line to a body."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    table = tuple((path.encode(), answer(body)) for path, body in routes.items())
    process = context.Process(target=_serve, args=(theirs, table), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join(5)
