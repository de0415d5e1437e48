"""Servers that do what a test says, plain or with TLS, and sessions that take either path to them."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from hl_async.config import ClientConfig
from hl_async.secret import MaskedText
from hl_async.transport.session import SessionManager

HEADERS = {"Authorization": MaskedText("Bearer pit-5ent1nel-000000000000")}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Opened = Callable[..., AbstractAsyncContextManager[SessionManager]]


class Security:
    """What servers and sessions of the running test speak: plain TCP, or TLS with contexts that fit each other."""

    def __init__(self, server: ssl.SSLContext | None = None, session: ssl.SSLContext | None = None) -> None:
        self.server = server
        self.session = session
        self.scheme = "http" if server is None else "https"


_security = Security()


@contextmanager
def secured(security: Security) -> Iterator[None]:
    """Let all servers and sessions speak `security` meanwhile."""
    global _security
    before, _security = _security, security
    try:
        yield
    finally:
        _security = before


class Scripted:
    """A server that does what a test says with each request; counts requests and connections."""

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self.delay = 0.0
        self.url = ""


@asynccontextmanager
async def scripted(*replies: bytes | None, delay: float = 0.0, hold: bool = False) -> AsyncIterator[Scripted]:
    """Answer request n with reply n (the last one again and again); None closes without an answer."""
    state = Scripted()
    state.delay = delay
    tasks: set[asyncio.Task[None]] = set()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        state.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    (
                        int(line.split(b":")[1])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length")
                    ),
                    0,
                )
                body = await reader.readexactly(length)
                state.requests.append(head + body)
                reply = replies[min(len(state.requests), len(replies)) - 1]
                await asyncio.sleep(state.delay)
                if reply is None:
                    break
                writer.write(reply)
                await writer.drain()
                if not reply.startswith(b"HTTP/1.1") or b"Connection: close" in reply:
                    break
                if hold:
                    await asyncio.sleep(30)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=_security.server)
    state.url = f"{_security.scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield state
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def opened_directly(url: str = "http://127.0.0.1", **settings: object) -> AsyncIterator[SessionManager]:
    """A session that takes the fast path."""
    session = SessionManager(ClientConfig(base_url=url, **settings), ssl=_security.session)  # type: ignore[arg-type]
    await session.open()
    try:
        yield session
    finally:
        await session.aclose()


@asynccontextmanager
async def opened_delegating(
    url: str = "http://127.0.0.1", **settings: object
) -> AsyncIterator[SessionManager]:
    """A session of our own whose requests aiohttp makes, because a tracer wants to see them."""
    tracer = aiohttp.TraceConfig()
    tracer.freeze()
    async with opened_directly(url, **settings) as session:
        assert session._session is not None
        session._session.trace_configs.append(tracer)
        yield session


@asynccontextmanager
async def opened_given(
    url: str = "http://127.0.0.1", *, max_connections: int = 50, **settings: object
) -> AsyncIterator[SessionManager]:
    """With an aiohttp session that was passed in."""
    config = ClientConfig(base_url=url, **settings)  # type: ignore[arg-type]
    connector = aiohttp.TCPConnector(limit=max_connections)
    async with aiohttp.ClientSession(connector=connector, headers={"User-Agent": config.user_agent}) as own:
        session = SessionManager(config, session=own, ssl=_security.session)
        await session.open()
        try:
            yield session
        finally:
            await session.aclose()


PATHS: dict[str, Opened] = {"fast": opened_directly, "aiohttp": opened_delegating, "given": opened_given}


@asynccontextmanager
async def serving(handle: Handler, **settings: Any) -> AsyncIterator[str]:
    """A server whose connections are handled by ``handle``, whatever becomes of them; gives its URL."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())  # type: ignore[arg-type]
        try:
            await handle(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_RCVBUF, 4096
    )  # so that a client's bytes have to wait for its reader
    settings.setdefault("ssl", _security.server)
    server = await asyncio.start_server(guarded, sock=listener, **settings)
    try:
        scheme = "http" if settings["ssl"] is None else "https"
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


def with_small_send_buffers(session: SessionManager) -> None:
    """Let the kernel take a few KB of a request, so that the rest has to wait in the process."""

    def small(address: Any) -> socket.socket:
        made = socket.socket(*address[:3])
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        return made

    assert session._session is not None
    session._session.connector._socket_factory = small  # type: ignore[union-attr]


def self_signed(folder: Path) -> ssl.SSLContext:
    from datetime import UTC, datetime, timedelta
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / "server.pem"
    with path.open("wb") as file:
        file.write(certificate.public_bytes(serialization.Encoding.PEM))
        file.write(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
