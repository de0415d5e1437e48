"""Promises of the client: life cycle, options, raw calls, settings from the environment."""

from __future__ import annotations

import asyncio
import gc
import warnings
from typing import Any

import pytest

import samples
from hl_async import (
    CallOptions,
    ClientConfig,
    GovernorPolicy,
    HighLevel,
    Lane,
    PrivateToken,
    RetryPolicy,
    Secret,
    Timeouts,
)
from hl_async.errors import (
    ClientClosed,
    ClientStateError,
    ConfigurationError,
    ConnectionLost,
    Forbidden,
    InvalidRequest,
    MissingAlt,
    NotEntered,
    NotFound,
    OutcomeUnknown,
    ScopeMissing,
    ServerError,
    Unauthorized,
    WireError,
)
from hl_async.operations import CREATE_ESTIMATE, GET_INVOICE, LIST_ESTIMATES, Alt, Operation, Replay
from hl_async.sandbox import Fault, Sandbox


async def test_use_outside_the_block_is_told(box: Sandbox) -> None:
    hl = HighLevel(box.token, base_url=box.url)
    with pytest.raises(NotEntered, match="async with HighLevel"):
        await hl.location(box.location_id).estimates.generate_number()
    async with hl:
        with pytest.raises(ClientStateError, match="open already"):
            await hl.__aenter__()
        copy = hl.with_options(timeout=5.0)
        with pytest.raises(ClientStateError, match="copy"):
            await copy.__aenter__()
        await copy.aclose()
        assert not hl.closed
    assert hl.closed
    with pytest.raises(ClientClosed):
        await hl.location(box.location_id).estimates.generate_number()
    with pytest.raises(ClientClosed):
        await hl.__aenter__()
    await hl.aclose()


async def test_leaving_the_block_leaves_no_task_no_connection_and_no_warning(box: Sandbox) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with HighLevel(box.token, base_url=box.url) as hl:
            shop = hl.location(box.location_id)
            await asyncio.gather(*(shop.estimates.generate_number() for _ in range(20)))
        async with asyncio.timeout(5):  # a machine that does other work is slow to see the connections go
            while box.connections:
                await asyncio.sleep(0.01)
        gc.collect()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_leaving_with_calls_in_flight_ends_within_the_grace(box: Sandbox) -> None:
    box.latency = 60.0
    config = ClientConfig(close_grace=0.2)
    loop = asyncio.get_running_loop()
    async with HighLevel(box.token, base_url=box.url, config=config) as hl:
        shop = hl.location(box.location_id)
        creating = asyncio.create_task(shop.estimates.create(samples.estimate()))
        await asyncio.sleep(0.02)
        reading = [asyncio.create_task(shop.estimates.generate_number()) for _ in range(10)]
        await asyncio.sleep(0.2)  # some are on the wire, some wait for the budget
        began = loop.time()
    assert loop.time() - began < 30
    for outcome in await asyncio.gather(*reading, return_exceptions=True):
        assert isinstance(outcome, ClientClosed | ConnectionLost | WireError)
    with pytest.raises(OutcomeUnknown):
        await creating


async def test_a_short_call_in_flight_is_let_finish(box: Sandbox) -> None:
    box.latency = 0.2
    async with HighLevel(box.token, base_url=box.url) as hl:
        task = asyncio.create_task(hl.location(box.location_id).estimates.generate_number())
        await asyncio.sleep(0.05)
    assert (await task).estimate_number == 1


async def test_cancelled_calls_leave_nothing_behind(box: Sandbox) -> None:
    box.latency = 0.05
    policy = GovernorPolicy(
        interval=0.1, linger=0.1
    )  # a cancelled request may still arrive: its slot returns later
    async with HighLevel(box.token, base_url=box.url, governor=policy) as hl:
        shop = hl.location(box.location_id)
        tasks = [asyncio.create_task(shop.estimates.generate_number()) for _ in range(200)]
        for index, task in enumerate(tasks):
            if index % 3 == 0:
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        scope = shop._at._account.scope.snapshot()
        assert (scope.in_flight, scope.waiting_interactive, hl._core.transport.in_flight) == (0, 0, 0)
        assert (await shop.estimates.generate_number()).estimate_number == 1


async def test_options_are_inherited_and_replaced(box: Sandbox) -> None:
    async with HighLevel(box.token, base_url=box.url) as hl:
        shop = hl.with_options(api_version="v3").location(box.location_id)
        await shop.with_options(lane=Lane.BULK).estimates.generate_number()
        await shop.estimates.generate_number()
        assert [record.version for record in box.requests] == ["v3", "v3"]
        with pytest.raises(ConfigurationError, match="is not an option"):
            hl.with_options(tiemout=3)


async def test_the_environment_makes_a_client(box: Sandbox) -> None:
    environ = {
        "HL_TOKEN": box.token,
        "HL_LOCATION_ID": box.location_id,
        "HL_BASE_URL": box.url,
        "HL_API_VERSION": "2023-02-21",
    }
    async with HighLevel.from_env(environ=environ) as hl:
        await hl.location().estimates.generate_number()
    assert box.requests[0].version == "2023-02-21"
    with pytest.raises(ConfigurationError, match="HL_TOKEN"):
        HighLevel.from_env(environ={})


@pytest.mark.parametrize("location", ["", "a/b", "..", "a b", "x?y", "ü"])
def test_a_location_id_that_is_none_is_refused(location: str) -> None:
    with pytest.raises(InvalidRequest, match="location_id"):
        HighLevel("pit-5ent1nel-1").location(location)


def test_a_missing_location_is_told() -> None:
    with pytest.raises(InvalidRequest, match="HL_LOCATION_ID"):
        HighLevel("pit-5ent1nel-1").location()


@pytest.mark.parametrize("token", ["", " ", "pit 1", "pit-\n", "pit-é"])
def test_a_token_that_is_none_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(ConfigurationError, match="token"):
        PrivateToken(token)


def test_nothing_prints_the_token() -> None:
    hl = HighLevel(Secret("pit-5ent1nel-000000000000"))
    shown = (
        repr(hl)
        + repr(hl.credentials)
        + repr(hl.location("abc"))
        + hl.credentials.principal
        + repr(hl.governor)
    )
    assert "5ent1nel" not in shown


async def test_raw_calls_are_governed_and_authorised(hl: HighLevel, box: Sandbox) -> None:
    answer = await hl.raw("list-estimates", query={"limit": 1, "offset": 0})
    assert answer.status == 200
    assert answer.body.startswith(b'{"estimates":[]')
    assert (await hl.raw("estimates.list", query={"limit": 1, "offset": 0})).status == 200
    with pytest.raises(InvalidRequest, match="unknown operation 'list-everything'"):
        await hl.raw("list-everything")
    with pytest.raises(NotFound):
        await hl.raw(GET_INVOICE, "64f0")


async def test_an_operation_of_ones_own_goes_through(hl: HighLevel) -> None:
    own: Operation[None] = Operation(
        "mine",
        "GET",
        "/invoices/settings",
        None,
        at="mine.settings",
        scope=None,
        alt=Alt.QUERY,
        replay=Replay.SAFE,
    )
    assert await hl.location()._at.call(own) is None


async def test_bad_bodies_and_queries_are_refused_before_any_request(hl: HighLevel, box: Sandbox) -> None:
    shop = hl.location()
    for body in (b"[]", {"total": float("nan")}, {1: 2}, {"items": [{"amount": float("inf")}]}, 7):
        with pytest.raises(InvalidRequest):
            await shop._at.call(CREATE_ESTIMATE, body=body)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="takes a date"):
        shop.estimates.list(start=__import__("datetime").datetime(2026, 1, 1))
    with pytest.raises(InvalidRequest, match="cannot go into a query"):
        shop.estimates.list(search=1.5)  # type: ignore[arg-type]
    for query in ({"\ud83d": "x"}, {"n": 10**5000}, {7: "x"}, ["x"]):
        with pytest.raises(InvalidRequest):
            shop.raw(LIST_ESTIMATES, query=query)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="search: contains a lone surrogate"):
        shop.estimates.list(search="cut \ud83d")
    assert box.count == 0


async def test_tokens_for_other_places_are_told_apart(box: Sandbox) -> None:
    other = box.add_location()
    narrow = box.add_token(other, ["invoices.readonly"])
    async with HighLevel(narrow, base_url=box.url) as hl:
        with pytest.raises(Forbidden):
            await hl.location(box.location_id).estimates.generate_number()
        with pytest.raises(ScopeMissing):
            await hl.location(other).estimates.generate_number()
    async with HighLevel("pit-unknown", base_url=box.url) as hl:
        with pytest.raises(Unauthorized, match="Private Integration"):
            await hl.location(other).estimates.generate_number()


async def test_a_missing_location_is_the_apis_misleading_401(hl: HighLevel) -> None:
    bare: Operation[Any] = Operation(
        "bare",
        "GET",
        "/invoices/settings",
        None,
        at="bare.call",
        scope=None,
        alt=Alt.NONE,
        replay=Replay.SAFE,
    )
    with pytest.raises(Unauthorized):
        await hl.location()._at.call(bare)
    with pytest.raises(MissingAlt, match="version header is invalid"):
        await hl.location()._at.call(GET_INVOICE, "x", options=CallOptions(api_version="2020-01-01"))


async def test_a_thousand_locations_share_one_client(box: Sandbox) -> None:
    ids = [box.add_location() for _ in range(300)]
    async with HighLevel(box.token, base_url=box.url) as hl:
        numbers = await asyncio.gather(*(hl.location(one).estimates.generate_number() for one in ids))
    assert {number.estimate_number for number in numbers} == {1}


async def test_no_retries_means_no_retries(box: Sandbox) -> None:
    box.faults.script("generate-estimate-number", Fault.HTML_502)
    config = ClientConfig(timeouts=Timeouts(attempt=30.0))
    async with HighLevel(box.token, base_url=box.url, retry=RetryPolicy.none(), config=config) as hl:
        with pytest.raises(ServerError, match="502"):
            await hl.location(box.location_id).estimates.generate_number()
    assert box.count == 1
