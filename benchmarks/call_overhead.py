"""CPU per call of the whole client against bare aiohttp, on loopback, in one interleaved run.

The server answers canned bytes from a process of its own, so that only the client's CPU is measured (getrusage): nginx
where it is installed, else a raw-protocol responder in Python. Peers are measured when they are installed.
``python -m benchmarks.call_overhead [--calls N] [--rounds N] [--in-flight N] [--loop uvloop] [--server nginx|raw]``; every
client runs on the same loop, asyncio's own unless said otherwise. The bars are judged at 50 in flight, which is always
measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import resource
import statistics
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from benchmarks.bars import TABLE, Row, note, of_ratios
from benchmarks.documents import NUMBER, estimate_bytes, list_bytes, update_body
from benchmarks.responder import has_nginx, nginx, responder
from hl_async import GovernorPolicy, HighLevel, PrivateToken
from hl_async.models import Estimate
from hl_async.models.codec import decoder

ROUTES = {
    "/invoices/estimate/number/generate": NUMBER,
    "/invoices/estimate/list": list_bytes(),
    "/invoices/estimate/": estimate_bytes(),
}
LOCATION = "6578278e879ad2646715ba9c"
TOKEN = "pit-00000000-0000-4000-8000-000000000000"
WORK = ("generate_number", "update_estimate", "list of 100")
BARS = {"generate_number": 0.75, "update_estimate": 1.0}
SLOW = ("httpx .json()", "official SDK")

Calls = dict[str, Callable[[], Awaitable[Any]]]


async def ours(stack: AsyncExitStack, url: str) -> Calls:
    policy = GovernorPolicy(max=1_000_000, interval=1.0)
    hl = await stack.enter_async_context(HighLevel(PrivateToken(TOKEN), base_url=url, governor=policy))
    shop = hl.location(LOCATION)
    update = decoder(Estimate)(estimate_bytes()).to_update()

    async def page() -> None:
        assert len(await shop.estimates.list(limit=100)) == 100

    return {
        "generate_number": shop.estimates.generate_number,
        "update_estimate": lambda: shop.estimates.update("65d4e5f60718293a00000001", update),
        "list of 100": page,
    }


async def bare(stack: AsyncExitStack, url: str) -> Calls:
    """Tuned aiohttp that reads bytes: no cookies, no redirects, prepared URLs and headers; the floor."""
    session = await stack.enter_async_context(
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100), cookie_jar=aiohttp.DummyCookieJar())
    )
    headers = {"Authorization": f"Bearer {TOKEN}", "Version": "2021-07-28", "Accept": "application/json"}
    alt = f"altId={LOCATION}&altType=location"
    number = URL(f"{url}/invoices/estimate/number/generate?{alt}", encoded=True)
    one = URL(f"{url}/invoices/estimate/65d4e5f60718293a00000001", encoded=True)
    many = URL(f"{url}/invoices/estimate/list?{alt}&limit=100&offset=0", encoded=True)
    body = msgspec.json.encode(update_body())
    sending = {**headers, "Content-Type": "application/json"}

    async def get(target: URL) -> bytes:
        async with session.get(target, headers=headers, allow_redirects=False) as answer:
            return await answer.read()

    async def put() -> bytes:
        async with session.put(one, data=body, headers=sending, allow_redirects=False) as answer:
            return await answer.read()

    return {"generate_number": lambda: get(number), "update_estimate": put, "list of 100": lambda: get(many)}


async def default(stack: AsyncExitStack, url: str) -> Calls:
    """aiohttp as its tutorial shows it: JSON in, ``.json()`` out."""
    session = await stack.enter_async_context(aiohttp.ClientSession())
    headers = {"Authorization": f"Bearer {TOKEN}", "Version": "2021-07-28"}
    params = {"altId": LOCATION, "altType": "location"}
    body = update_body()

    async def get(path: str, **more: str) -> Any:
        async with session.get(url + path, params={**params, **more}, headers=headers) as answer:
            return await answer.json()

    async def put() -> Any:
        async with session.put(
            f"{url}/invoices/estimate/65d4e5f60718293a00000001", json=body, headers=headers
        ) as answer:
            return await answer.json()

    return {
        "generate_number": lambda: get("/invoices/estimate/number/generate"),
        "update_estimate": put,
        "list of 100": lambda: get("/invoices/estimate/list", limit="100", offset="0"),
    }


async def httpx_client(stack: AsyncExitStack, url: str) -> Calls:
    """httpx with ``.json()``; what the official SDK is built on."""
    import httpx

    limits = httpx.Limits(max_connections=100)
    client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, limits=limits))
    headers = {"Authorization": f"Bearer {TOKEN}", "Version": "2021-07-28"}
    params = {"altId": LOCATION, "altType": "location"}
    body = update_body()

    async def get(path: str, **more: str) -> Any:
        return (await client.get(path, params={**params, **more}, headers=headers)).json()

    async def put() -> Any:
        return (
            await client.put("/invoices/estimate/65d4e5f60718293a00000001", json=body, headers=headers)
        ).json()

    return {
        "generate_number": lambda: get("/invoices/estimate/number/generate"),
        "update_estimate": put,
        "list of 100": lambda: get("/invoices/estimate/list", limit="100", offset="0"),
    }


async def pyreqwest_client(stack: AsyncExitStack, url: str) -> Calls:
    """A client written in Rust; bytes of JSON in, dicts out. The CPU of its threads is counted."""
    from pyreqwest.client import ClientBuilder

    client = await stack.enter_async_context(
        ClientBuilder().follow_redirects(False).max_connections(100).http1_only().build()
    )
    headers = {"Authorization": f"Bearer {TOKEN}", "Version": "2021-07-28", "Accept": "application/json"}
    alt = f"altId={LOCATION}&altType=location"
    one = f"{url}/invoices/estimate/65d4e5f60718293a00000001"
    body = msgspec.json.encode(update_body())
    sending = {**headers, "Content-Type": "application/json"}

    async def get(target: str) -> Any:
        return await (await client.get(target).headers(headers).build().send()).json()

    async def put() -> Any:
        return await (await client.put(one).headers(sending).body_bytes(body).build().send()).json()

    return {
        "generate_number": lambda: get(f"{url}/invoices/estimate/number/generate?{alt}"),
        "update_estimate": put,
        "list of 100": lambda: get(f"{url}/invoices/estimate/list?{alt}&limit=100&offset=0"),
    }


async def official(stack: AsyncExitStack, url: str) -> Calls:
    """The vendor's Python SDK, with a private token and only its base URL changed; it answers with dicts."""
    from highlevel import HighLevel as Official

    there = type("There", (Official,), {"BASE_URL": url})
    client = there(private_integration_token=TOKEN)
    stack.push_async_callback(client.http_client.aclose)
    body = update_body()
    return {
        "generate_number": lambda: client.invoices.generate_estimate_number(LOCATION, "location"),
        "update_estimate": lambda: client.invoices.update_estimate("65d4e5f60718293a00000001", body),
        "list of 100": lambda: client.invoices.list_estimates(LOCATION, "location", "100", "0"),
    }


CLIENTS = {
    "bare aiohttp": bare,
    "hl_async": ours,
    "aiohttp .json()": default,
    "pyreqwest": pyreqwest_client,
    "httpx .json()": httpx_client,
    "official SDK": official,
}


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def burst(call: Callable[[], Awaitable[Any]], calls: int, in_flight: int) -> float:
    """CPU seconds per call, with ``in_flight`` workers."""
    left = calls

    async def work() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await call()

    began = cpu()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return (cpu() - began) / calls


Found = dict[tuple[str, str, int], list[float]]


async def measure(url: str, calls: int, rounds: int, loads: tuple[int, ...]) -> Found:
    """CPU seconds per call in interleaved rounds: every client in each, so that what disturbs one disturbs all."""
    found: Found = {}
    async with AsyncExitStack() as stack:
        clients: dict[str, Calls] = {}
        for name, make in CLIENTS.items():
            try:
                clients[name] = await make(stack, url)
            except ImportError:
                print(f"({name} is not installed)", file=sys.stderr)
        for work in WORK:
            for in_flight in loads:
                for turn in range(rounds + 1):
                    for name, client in clients.items():
                        number = calls // 25 if work == "list of 100" else calls
                        if name in SLOW:
                            number //= 8
                        gc.collect()
                        took = await burst(client[work], max(number, min(in_flight, 50)), in_flight)
                        if turn:  # the first one opens connections and warms up
                            found.setdefault((work, name, in_flight), []).append(took)
    return found


def against(found: Found, work: str, peer: str, in_flight: int = 50) -> tuple[float, float]:
    """Our CPU divided by the peer's, round by round: (median, noise)."""
    ours, theirs = found[work, "hl_async", in_flight], found[work, peer, in_flight]
    return of_ratios([a / b for a, b in zip(ours, theirs, strict=True)])


def judge(found: Found) -> bool:
    """Note the bars of the calls; whether all are held."""
    held = []
    for work, bar in BARS.items():
        ratio, noise = against(found, work, "bare aiohttp")
        held.append(note(Row(f"CPU of {work}, 50 in flight, to bare aiohttp", ratio, bar, noise=noise)))
    if ("generate_number", "pyreqwest", 50) in found:
        for work in WORK:
            ratio, noise = against(found, work, "pyreqwest")
            held.append(
                note(Row(f"CPU of {work}, 50 in flight, to pyreqwest's dicts", ratio, 1.0, noise=noise))
            )
    if ("generate_number", "official SDK", 50) in found:
        for work in BARS:
            ratio, noise = against(found, work, "official SDK")
            less = Row(
                f"CPU of {work}, 50 in flight: the official SDK's to ours",
                1 / ratio,
                12.0,
                at_least=True,
                noise=noise / ratio**2,
            )
            held.append(note(less))
        ratio, noise = against(found, "list of 100", "official SDK")
        held.append(
            note(Row("CPU of a list of 100, typed, to the official SDK's dicts", ratio, 0.25, noise=noise))
        )
    return all(held)


def main() -> int:
    """Print the table; exit 1 when a bar is missed by more than noise."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--in-flight", type=int, action="append")
    parser.add_argument("--loop", choices=("asyncio", "uvloop"), default="asyncio")
    parser.add_argument("--server", choices=("nginx", "raw"), default="nginx" if has_nginx() else "raw")
    options, _ = parser.parse_known_args()
    loop_factory = None
    if options.loop == "uvloop":
        import uvloop

        loop_factory = uvloop.new_event_loop
    loads = (1, 50, 200) if not options.in_flight else tuple(sorted({50, *options.in_flight}))
    serve = nginx if options.server == "nginx" else responder
    with serve(ROUTES) as url, asyncio.Runner(loop_factory=loop_factory) as runner:
        found = runner.run(measure(url, options.calls, options.rounds, loads))
    print(
        f"CPU per call in µs (medians) on {options.loop}, server {options.server}, and the ratio to bare aiohttp"
    )
    for work in WORK:
        for in_flight in loads:
            floor = statistics.median(found[work, "bare aiohttp", in_flight])
            cells = []
            for name in CLIENTS:
                if (work, name, in_flight) in found:
                    took = statistics.median(found[work, name, in_flight])
                    cells.append(f"{name} {took * 1e6:7.0f} ({took / floor:5.2f})")
            print(f"{work:<16} {in_flight:>3} in flight   " + "   ".join(cells))
    before = len(TABLE)
    good = judge(found)
    for row in TABLE[before:]:
        print("   ".join(row.cells()))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
