"""Servers of canned answers in a process of their own, cheaper than any client: nginx, or a raw-protocol responder.

nginx is used where it is installed, and nothing of its configuration: it gets a folder and a port of its own.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

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


_NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log crit;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  default_type "application/json; charset=utf-8";
  etag off;
  if_modified_since off;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  client_body_buffer_size 1m;
  open_file_cache max=100;
{temporary}
{headers}
  server {{
    listen 127.0.0.1:{port};
    root {folder};
{locations}
  }}
}}
"""
# a PUT of a static file is refused with 405, which is then answered by that file
_LOCATION = "    location ^~ {path} {{ error_page 405 =200 /{file}; try_files /{file} =404; }}"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextmanager
def nginx(routes: dict[str, bytes]) -> Iterator[str]:
    """The same with nginx; ``routes`` maps the beginning of a path to a body."""
    with tempfile.TemporaryDirectory(prefix="hl-nginx-") as name, socket.socket() as probe:
        folder = Path(name)
        folder.chmod(0o755)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        for number, body in enumerate(routes.values()):
            (folder / f"{number}.json").write_bytes(body)
        fields = (line.partition(": ") for line in RATE_HEADERS.decode().splitlines())
        config = folder / "nginx.conf"
        config.write_text(
            _NGINX.format(
                folder=folder,
                port=port,
                temporary="\n".join(f"  {kind}_temp_path {folder}/{kind};" for kind in _TEMPORARY),
                headers="\n".join(f"  add_header {field} {value};" for field, _, value in fields),
                locations="\n".join(
                    _LOCATION.format(path=path, file=f"{number}.json") for number, path in enumerate(routes)
                ),
            )
        )
        command = [
            shutil.which("nginx") or "nginx",
            "-p",
            name,
            "-c",
            str(config),
            "-e",
            f"{folder}/start.log",
        ]
        process = subprocess.Popen(command)
        try:
            _wait_for(port, process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(5)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"nginx ended with {process.returncode}")
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError("nginx does not listen")


def has_nginx() -> bool:
    """Whether nginx is installed."""
    return shutil.which("nginx") is not None
