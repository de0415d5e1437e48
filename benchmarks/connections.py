"""Connections under load, with TLS on loopback: handshakes, what compression costs and saves, idle memory.

A server in a process of its own counts handshakes and bytes. The list of 100 estimates is fetched plain, with gzip and
with deflate; CPU per call by getrusage.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import multiprocessing
import ssl
import statistics
import sys
import tempfile
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.bars import Row, note, of_ratios
from benchmarks.call_overhead import LOCATION, TOKEN, burst
from benchmarks.documents import NUMBER
from benchmarks.responder import RATE_HEADERS, answer
from hl_async import ClientConfig, GovernorPolicy, HighLevel
from hl_async.models.codec import encode
from hl_async.testing.builders import Builder

IN_FLIGHT = 50


def list_bytes() -> bytes:
    """A page of 100 estimates that differ as real ones do: near-identical ones would flatter every compressor."""
    build = Builder(seed=1, today=date(2026, 1, 15))
    estimates = [build.estimate_answer(build.estimate(lines=4, tax=Decimal(20))) for _ in range(100)]
    return encode({"estimates": estimates, "total": 100})


def certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that nobody but its maker vouches for, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def encoded(body: bytes) -> dict[str, bytes]:
    """The body in every coding that this client can read, at the levels of a front end that packs on the fly."""
    found = {"identity": body, "gzip": gzip.compress(body, 6)}
    with suppress(ImportError):
        from backports import zstd

        found["zstd"] = zstd.compress(body, 3)
    with suppress(ImportError):
        import brotli

        found["br"] = brotli.compress(body, quality=4)
    return found


def _serve(pipe: Connection, certificate_file: str, key_file: str) -> None:
    body = list_bytes()
    replies = {name.encode(): _compressed(packed, name.encode()) for name, packed in encoded(body).items()}
    handshakes = 0
    sent = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal handshakes, sent
        handshakes += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first = head.split(b"\r\n", 1)[0]
                if b"/counts" in first:
                    reply = answer(b'{"estimateNumber":%d,"traceId":"%d"}' % (handshakes, sent))
                elif b"/list" in first:
                    reply = replies[first.partition(b"search=")[2].partition(b"&")[0]]
                    sent += len(reply)
                else:
                    reply = answer(NUMBER)
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate_file, key_file)
        server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
        pipe.send(server.sockets[0].getsockname()[1])
        async with server:
            await server.serve_forever()

    asyncio.run(main())


def _compressed(body: bytes, encoding: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: " + encoding + b"\r\n"
        b"Content-Length: " + str(len(body)).encode() + b"\r\n" + RATE_HEADERS + b"\r\n" + body
    )


@contextmanager
def tls_server() -> Iterator[tuple[str, ssl.SSLContext]]:
    """The server's base URL, and a context that trusts it."""
    with tempfile.TemporaryDirectory() as place:
        public, private = certificate(Path(place))
        spawn = multiprocessing.get_context("spawn")
        ours, theirs = spawn.Pipe()
        process = spawn.Process(target=_serve, args=(theirs, str(public), str(private)), daemon=True)
        process.start()
        try:
            yield f"https://localhost:{ours.recv()}", ssl.create_default_context(cafile=str(public))
        finally:
            process.terminate()
            process.join(5)


def client(url: str, context: ssl.SSLContext | None) -> HighLevel:
    """A client whose rate budget is out of the way."""
    config = ClientConfig(base_url=url, max_connections=IN_FLIGHT)
    return HighLevel(TOKEN, config=config, ssl=context, governor=GovernorPolicy(max=1_000_000, interval=1.0))


async def handshakes(url: str, context: ssl.SSLContext, calls: int) -> int:
    """How many handshakes ``calls`` calls take, all started at once."""
    async with client(url, context) as hl:
        number = hl.location(LOCATION).estimates.generate_number
        await burst(number, calls, IN_FLIGHT * 4)
    return await counted(url, context) - 1


async def counted(url: str, context: ssl.SSLContext) -> int:
    """The server's count of handshakes, this question's own included."""
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(f"{url}/counts", ssl=context) as reply:
        return int((await reply.json())["estimateNumber"])


async def compression(url: str, context: ssl.SSLContext, rounds: int) -> dict[str, list[float]]:
    """CPU seconds per fetched and decoded list of 100 in every coding, in interleaved rounds."""
    found: dict[str, list[float]] = {}
    async with client(url, context) as hl:
        estimates = hl.location(LOCATION).estimates

        def page(coding: str) -> Callable[[], Awaitable[Any]]:
            async def fetch() -> None:
                await estimates.list(limit=100, search=coding)  # what the server takes as the wish

            return fetch

        for _ in range(rounds):
            for coding in encoded(b""):
                gc.collect()
                found.setdefault(coding, []).append(await burst(page(coding), 40, 10))
    return found


def idle_location() -> float:
    """Bytes that a location keeps once it was called: its account, its rate budget."""
    hl = client("http://127.0.0.1:9", None)
    count = 2_000
    hl.location("warm-up")
    gc.collect()
    tracemalloc.start()
    kept = [hl.location(f"location{n:012d}") for n in range(count)]
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] / count
    tracemalloc.stop()
    del kept
    return size


def main() -> int:
    """Print everything; 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tls-calls", type=int, default=10_000)
    options, _ = parser.parse_known_args()
    with tls_server() as (url, context):
        made = asyncio.run(handshakes(url, context, options.tls_calls))
        took = asyncio.run(compression(url, context, 25))
    print(
        f"{made} handshakes for {options.tls_calls:,} calls, {IN_FLIGHT * 4} started at once, pool of {IN_FLIGHT}"
    )
    for coding, packed in encoded(list_bytes()).items():
        ratio, noise = of_ratios([a / b for a, b in zip(took[coding], took["identity"], strict=True)])
        print(
            f"list of 100 over TLS, {coding:<8} {len(packed):>7,} bytes, "
            f"{statistics.median(took[coding]) * 1e6:,.0f} µs of CPU ({ratio:.2f} ± {noise:.2f})"
        )
    idle = idle_location()
    print(f"an idle location keeps {idle:,.0f} bytes")
    held = [
        note(
            Row(f"TLS handshakes for {options.tls_calls:,} calls, pool of {IN_FLIGHT}", made, IN_FLIGHT, "")
        ),
        note(Row("memory per idle location", idle, 4096, "bytes")),
    ]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
