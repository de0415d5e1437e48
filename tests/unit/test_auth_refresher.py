"""Promises of the refresher, against a scripted authorisation server and clocks that a test turns."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs

import pytest

from hl_async import telemetry as events
from hl_async.auth import MemoryStore, OAuthApp, RefreshPolicy, Stored
from hl_async.errors import (
    AttemptTimeout,
    ClientStateError,
    ConfigurationError,
    ConnectFailed,
    ConnectionLost,
    GrantLost,
    InvalidRequest,
    NotEntered,
    RefreshRejected,
    RefreshUnavailable,
    TokenMissing,
    TokenStoreError,
    WireKind,
)
from hl_async.governor import Governor
from hl_async.secret import Secret
from hl_async.telemetry import Event, Telemetry
from hl_async.wire import WireResponse

SHOP, AGENCY = "ve9EPM428h8vShlRW1KT", "5DP4iH6HLkQsiKESj6rh"
CLIENT_SECRET = "s3ntinel-client-secret"
DAY = 86_400.0
LOST = ConnectionLost("lost", kind=WireKind.DISCONNECTED, sent=True)
LATE = AttemptTimeout("late", kind=WireKind.TIMEOUT, sent=True)
DOWN = ConnectFailed("refused", kind=WireKind.CONNECT, sent=False)

Script = Callable[[dict[str, str]], WireResponse | BaseException | None]


def refusal(status: int, error: str = "", **headers: str) -> WireResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = json.dumps({"error": "UnAuthorized!", "error_description": error}).encode()
    return WireResponse(status, named, body)


class Server:
    """Hands out numbered tokens as the live API does: a refresh token is good once. Its script goes first."""

    def __init__(self) -> None:
        self.script: list[Script | WireResponse | BaseException] = []
        self.requests: list[dict[str, str]] = []
        self.serial = 0
        self.live: dict[str, tuple[str, str]] = {}
        self.expires_in: Any = 86_399
        self.gate: asyncio.Event | None = None
        self.extra: dict[str, Any] = {}

    async def attempt(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, **options: Any
    ) -> WireResponse:
        fields = {name: values[0] for name, values in parse_qs((body or b"").decode()).items()}
        self.requests.append({**fields, "url": url, "auth": headers.get("Authorization", "")})
        if self.gate is not None:
            await self.gate.wait()
        if self.script:
            step = self.script.pop(0)
            answer = step(fields) if callable(step) else step
            if isinstance(answer, BaseException):
                raise answer
            if answer is not None:
                return answer
        await asyncio.sleep(0)
        return self.answer(fields)

    def answer(self, fields: dict[str, str]) -> WireResponse:
        if "companyId" in fields:
            return self.issue("Location", fields["locationId"], 201)
        if fields["grant_type"] == "authorization_code":
            kind, _, key = fields["code"].partition(":")
            return self.issue(kind, key)
        owner = self.live.pop(fields["refresh_token"], None)
        if owner is None:
            return refusal(401, "This refresh token is invalid")
        return self.issue(*owner)

    def issue(self, kind: str, key: str, status: int = 200) -> WireResponse:
        self.serial += 1
        refresh = f"s3ntinel-refresh-{self.serial}"
        self.live[refresh] = (kind, key)
        answer = {
            "access_token": f"s3ntinel-access-{self.serial}",
            "refresh_token": refresh,
            "expires_in": self.expires_in,
            "scope": "invoices.readonly invoices.write",
            "userType": kind,
            "companyId": AGENCY,
            "userId": "u1",
            **({"locationId": key} if kind == "Location" else {}),
            **self.extra,
        }
        kept = {name: value for name, value in answer.items() if value is not None}
        return WireResponse(status, {}, json.dumps(kept).encode())

    def asked(self, kind: str) -> int:
        return sum(one.get("grant_type") == kind or kind in one for one in self.requests)


class World:
    """One app, its server, its store and its clocks; ``again`` makes another process's app on the same store."""

    def __init__(self, store: Any = None, **settings: Any) -> None:
        self.server = Server()
        self.store = MemoryStore() if store is None else store
        self.now = 1_000.0
        self.wall = 1_800_000_000.0
        self.events: list[Event] = []
        self.settings = settings

    def on_event(self, event: Event) -> None:
        self.events.append(event)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.wall += seconds

    def make(self, **changes: Any) -> OAuthApp:
        settings: dict[str, Any] = {
            "store": self.store,
            "redirect_uri": "https://app.example/callback",
            "refresh": RefreshPolicy(backoff=0.001, max_backoff=0.002, jitter=0.0),
            "monotonic": lambda: self.now,
            "wall": lambda: self.wall,
            "random": lambda: 0.5,
            **self.settings,
            **changes,
        }
        return OAuthApp("65f0a1-app", CLIENT_SECRET, **settings)

    @asynccontextmanager
    async def again(self, **changes: Any) -> AsyncIterator[OAuthApp]:
        app = self.make(**changes)
        telemetry = Telemetry([self])
        governor = Governor(telemetry=telemetry, max_in_flight=10)
        await app.open(
            self.server, base_url="https://api.example", api_version="2021-07-28", telemetry=telemetry,
            governor=governor,
        )  # fmt: skip
        try:
            yield app
        finally:
            await app.aclose()
            governor.close()

    async def entry(self, key: str = SHOP, kind: str = "location") -> dict[str, Any]:
        found = await self.store.load(f"65f0a1-app/{kind}/{key}")
        assert found is not None
        return json.loads(found.data)


async def until(condition: Callable[[], object]) -> None:
    """Let the background work until ``condition`` holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def app(world: World) -> AsyncIterator[OAuthApp]:
    """An app that one location has installed."""
    async with world.again() as app:
        await app.exchange_code(f"Location:{SHOP}")
        yield app


async def test_an_installed_location_has_its_token_at_hand(world: World, app: OAuthApp) -> None:
    assert app.current(SHOP) == await app.bearer(SHOP) == "Bearer s3ntinel-access-1"
    assert app.principal == "65f0a1-app" and app.app_id == "65f0a1"
    assert CLIENT_SECRET not in repr(app)
    sent = world.server.requests[0]
    assert sent["url"] == "https://api.example/oauth/token" and sent["auth"] == ""
    assert (sent["client_id"], sent["redirect_uri"]) == ("65f0a1-app", "https://app.example/callback")


async def test_a_new_pair_is_stored_before_anybody_can_use_it() -> None:
    seen: list[str | None] = []

    class Watching(MemoryStore):
        async def save(self, name: str, data: bytes, version: int) -> bool:
            seen.append(app.current(SHOP))
            return await super().save(name, data, version)

    world = World(Watching())
    async with world.again() as app:
        await app.exchange_code(f"Location:{SHOP}")
        world.pass_time(DAY)
        assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"
    assert seen == [None] * 3, "the first pair, the note that a refresh begins, the second pair"


async def test_a_thousand_calls_that_find_the_token_expired_cause_one_refresh(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY)
    assert app.current(SHOP) is None
    headers = await asyncio.gather(*(app.bearer(SHOP) for _ in range(1_000)))
    assert set(headers) == {"Bearer s3ntinel-access-2"}
    assert world.server.asked("refresh_token") == 1
    assert world.server.requests[-1]["user_type"] == "Location"


async def test_a_thousand_refusals_of_one_token_cause_one_refresh(world: World, app: OAuthApp) -> None:
    sent = await app.bearer(SHOP)

    async def call() -> str:
        assert await app.reject(SHOP, sent)
        return await app.bearer(SHOP)

    assert set(await asyncio.gather(*(call() for _ in range(1_000)))) == {"Bearer s3ntinel-access-2"}
    assert await app.reject(SHOP, sent), "a late refusal of the old token means: use the new one"
    assert app.current(SHOP) == "Bearer s3ntinel-access-2"
    assert world.server.asked("refresh_token") == 1


async def test_from_half_of_its_life_on_a_token_is_renewed_behind_the_callers_backs(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY * 0.49)
    app.current(SHOP)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    world.pass_time(DAY * 0.02)
    for _ in range(50):
        assert app.current(SHOP) == "Bearer s3ntinel-access-1"
    await until(lambda: app.current(SHOP) == "Bearer s3ntinel-access-2")
    assert world.server.asked("refresh_token") == 1
    refreshed = [event for event in world.events if isinstance(event, events.TokenRefreshed)]
    assert [(event.key, event.background) for event in refreshed] == [(SHOP, True)]


async def test_the_moment_of_renewal_differs_from_location_to_location() -> None:
    dice = iter([0.0, 0.999])
    world = World(random=lambda: next(dice, 0.5), refresh=RefreshPolicy(jitter=0.1))
    async with world.again() as app:
        await app.exchange_code("Location:first")
        await app.exchange_code("Location:second")
        world.pass_time(DAY * 0.45)
        await until(lambda: (app.current("second"), app.current("first") == "Bearer s3ntinel-access-3")[1])
        assert world.server.asked("refresh_token") == 1
        world.pass_time(DAY * 0.16)
        await until(lambda: app.current("second") == "Bearer s3ntinel-access-4")


async def test_a_failed_background_renewal_disturbs_nobody_and_is_tried_again(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY * 0.6)
    world.server.script = [DOWN] * 3
    assert app.current(SHOP) == "Bearer s3ntinel-access-1"
    await until(lambda: any(isinstance(event, events.TokenRefreshFailed) for event in world.events))
    assert app.current(SHOP) == "Bearer s3ntinel-access-1"
    assert "refreshing" not in await world.entry(), "nothing was sent, so nothing is in doubt"
    world.pass_time(1)
    await until(lambda: app.current(SHOP) == "Bearer s3ntinel-access-2")


async def test_waiters_may_be_cancelled_one_by_one_and_the_refresh_goes_on(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY)
    world.server.gate = asyncio.Event()
    waiters = [asyncio.create_task(app.bearer(SHOP)) for _ in range(5)]
    await asyncio.sleep(0.001)
    for waiter in waiters[:4]:
        waiter.cancel()
    await asyncio.gather(*waiters[:4], return_exceptions=True)
    world.server.gate.set()
    assert await waiters[4] == "Bearer s3ntinel-access-2"
    assert world.server.asked("refresh_token") == 1


async def test_a_refresh_that_nobody_waits_for_any_more_is_stored_all_the_same(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY)
    world.server.gate = asyncio.Event()
    waiter = asyncio.create_task(app.bearer(SHOP))
    await asyncio.sleep(0.001)
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    closing = asyncio.create_task(app.aclose())
    await asyncio.sleep(0.001)
    assert not closing.done(), "closing waits for a refresh on the wire"
    world.server.gate.set()
    await closing
    assert (await world.entry())["refresh_token"] == "s3ntinel-refresh-2"


async def test_a_refresh_task_that_is_killed_is_an_error_not_a_cancellation(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY)
    world.server.gate = asyncio.Event()
    waiter = asyncio.create_task(app.bearer(SHOP))
    await asyncio.sleep(0.001)
    refresh = next(task for task in asyncio.all_tasks() if task.get_name().startswith("hl_async refresh"))
    refresh.cancel()
    with pytest.raises(RefreshUnavailable, match="cancelled"):
        await waiter


async def test_another_process_that_renewed_first_is_believed(world: World, app: OAuthApp) -> None:
    async with world.again() as other:
        sent = await other.bearer(SHOP)
        assert await app.reject(SHOP, sent)
        assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"
        assert await other.reject(SHOP, sent)
        assert await other.bearer(SHOP) == "Bearer s3ntinel-access-2"
    assert world.server.asked("refresh_token") == 1


async def test_two_processes_that_refresh_at_once_spend_one_token(world: World, app: OAuthApp) -> None:
    async with world.again() as other:
        sent = await other.bearer(SHOP)
        for one in (app, other):
            assert await one.reject(SHOP, sent)
        headers = await asyncio.gather(app.bearer(SHOP), other.bearer(SHOP))
    assert headers == ["Bearer s3ntinel-access-2"] * 2
    assert world.server.asked("refresh_token") == 1


async def test_a_lock_that_failed_costs_a_request_and_never_the_valid_pair(world: World) -> None:
    """Two processes spend the same token: the loser is refused, reads the store again and finds the winner's."""

    class Unlocked(MemoryStore):
        @asynccontextmanager
        async def locked(self, name: str) -> AsyncIterator[None]:
            yield

    world.store = Unlocked()
    async with world.again() as app, world.again() as other:
        await app.exchange_code(f"Location:{SHOP}")
        sent = await other.bearer(SHOP)
        for one in (app, other):
            await one.reject(SHOP, sent)
        headers = await asyncio.gather(app.bearer(SHOP), other.bearer(SHOP))
        assert headers == ["Bearer s3ntinel-access-2"] * 2
        assert (await world.entry())["refresh_token"] in world.server.live


async def test_a_winner_whose_lock_was_lost_still_writes_the_only_valid_pair(
    world: World, app: OAuthApp
) -> None:
    def meddle(fields: dict[str, str]) -> None:
        """While the request is on its way somebody writes the entry, still with the spent token."""
        name = f"65f0a1-app/location/{SHOP}"
        stored = world.store._entries[name]
        world.store._entries[name] = Stored(stored.version + 3, stored.data)

    world.pass_time(DAY)
    world.server.script = [meddle]
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"
    assert (await world.entry())["refresh_token"] == "s3ntinel-refresh-2"


async def test_a_new_consent_during_a_refresh_is_newer_than_its_result(world: World, app: OAuthApp) -> None:
    async with world.again() as other:
        world.pass_time(DAY)
        world.server.gate = asyncio.Event()
        waiter = asyncio.create_task(app.bearer(SHOP))
        await asyncio.sleep(0.001)
        world.server.gate.set()
        world.server.gate = None
        world.server.script = [lambda fields: None]
        await other.exchange_code(f"Location:{SHOP}")
        header = await waiter
    assert header == f"Bearer {(await world.entry())['access_token']}"


async def test_tokens_that_are_removed_during_a_refresh_stay_removed(world: World, app: OAuthApp) -> None:
    world.pass_time(DAY)
    world.server.gate = asyncio.Event()
    waiter = asyncio.create_task(app.bearer(SHOP))
    await asyncio.sleep(0.001)
    await app.forget(SHOP)
    world.server.gate.set()
    with pytest.raises(TokenMissing, match="removed"):
        await waiter
    assert await world.store.names("") == []


# ---------------------------------------------------------------------------------------- refusals


async def test_a_spent_refresh_token_is_a_lost_grant_that_names_the_location_and_the_way_out(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY)
    world.server.live.clear()
    with pytest.raises(GrantLost, match=f"location {SHOP}.*Install the app again") as caught:
        await app.bearer(SHOP)
    assert (caught.value.key, caught.value.status) == (SHOP, 401)
    assert (
        caught.value.messages == ("UnAuthorized!", "This refresh token is invalid") or caught.value.messages
    )
    requests = len(world.server.requests)
    for _ in range(3):
        with pytest.raises(GrantLost, match="refused earlier"):
            await app.bearer(SHOP)
    assert len(world.server.requests) == requests, "the server is not asked again"
    async with world.again() as later:
        with pytest.raises(GrantLost):
            await later.bearer(SHOP)
        (state,) = await later.installations()
        assert state.state == "lost"
    assert len(world.server.requests) == requests


async def test_a_lost_grant_works_again_after_a_new_consent(world: World, app: OAuthApp) -> None:
    world.pass_time(DAY)
    world.server.live.clear()
    with pytest.raises(GrantLost):
        await app.bearer(SHOP)
    async with world.again() as web:
        await web.exchange_code(f"Location:{SHOP}")
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"


async def test_a_grant_found_lost_at_half_time_is_told_and_its_token_used_to_the_end(
    world: World, app: OAuthApp, caplog: pytest.LogCaptureFixture
) -> None:
    world.pass_time(DAY * 0.6)
    world.server.live.clear()
    app.current(SHOP)
    await until(lambda: caplog.records)
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-1"
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.ERROR]
    assert "Install the app again" in caplog.text
    async with world.again() as other:
        assert await other.bearer(SHOP) == "Bearer s3ntinel-access-1"


async def test_a_person_may_have_a_lost_grant_tried_once_more(world: World, app: OAuthApp) -> None:
    world.pass_time(DAY)
    live, world.server.live = world.server.live, {}
    with pytest.raises(GrantLost):
        await app.bearer(SHOP)
    world.server.live = live
    assert (await app.refresh(SHOP)).state == "ok"
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (refusal(401, "Invalid client credentials!"), "check client_id"),
        (refusal(400, "Location is not active"), "sub-account is active"),
        (refusal(422, "user_type must be a valid enum value"), "422"),
        (refusal(403, "no"), "403"),
    ],
)
async def test_a_refusal_that_is_not_about_the_token_keeps_the_token(
    world: World, app: OAuthApp, answer: WireResponse, hint: str
) -> None:
    world.pass_time(DAY)
    world.server.script = [answer]
    with pytest.raises(RefreshRejected, match=hint) as caught:
        await app.bearer(SHOP)
    assert not isinstance(caught.value, GrantLost)
    with pytest.raises(RefreshRejected):
        await app.bearer(SHOP)
    assert world.server.asked("refresh_token") == 1, "an answer of a moment ago is not asked for again"
    world.pass_time(60)
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"


@pytest.mark.parametrize(
    "silence",
    [
        DOWN,
        LOST,
        LATE,
        WireResponse(502, {}, b"<html>Bad gateway</html>"),
        WireResponse(503, {}, b""),
        WireResponse(401, {}, b"<html>Access denied</html>"),
        WireResponse(200, {}, b"<html>maintenance</html>"),
        WireResponse(200, {}, b'{"access_token": "with spaces and \\n"}'),
        WireResponse(200, {}, b"{}"),
        refusal(429, "slow down"),
    ],
)
async def test_without_a_verdict_the_refresh_is_repeated_and_nothing_is_thrown_away(
    world: World, app: OAuthApp, silence: Any
) -> None:
    world.pass_time(DAY)
    world.server.script = [silence, silence]
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"
    world.pass_time(DAY)
    world.server.script = [silence] * 3
    with pytest.raises(RefreshUnavailable, match="kept"):
        await app.bearer(SHOP)
    assert (await world.entry())["refresh_token"] == "s3ntinel-refresh-2"
    world.pass_time(60)
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-3"


async def test_a_server_that_asks_to_be_left_alone_is_left_alone(world: World, app: OAuthApp) -> None:
    world.pass_time(DAY)
    world.server.script = [refusal(429, "slow down", Retry_After="40")]
    with pytest.raises(RefreshUnavailable) as caught:
        await app.bearer(SHOP)
    assert caught.value.retry_after == 40
    world.pass_time(39)
    with pytest.raises(RefreshUnavailable):
        await app.bearer(SHOP)
    assert world.server.asked("refresh_token") == 1
    world.pass_time(2)
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"


async def test_every_waiter_gets_an_error_of_its_own(world: World, app: OAuthApp) -> None:
    world.pass_time(DAY)
    world.server.live.clear()
    results = await asyncio.gather(*(app.bearer(SHOP) for _ in range(10)), return_exceptions=True)
    assert {type(error) for error in results} == {GrantLost}
    assert len({id(error) for error in results}) == 10
    assert all(error.__cause__ is None and error.__context__ is None for error in results)


async def test_a_token_that_is_refused_although_it_was_just_renewed_is_not_renewed_again(
    world: World, app: OAuthApp
) -> None:
    assert await app.reject(SHOP, await app.bearer(SHOP))
    second = await app.bearer(SHOP)
    assert await app.reject(SHOP, second) is False
    assert await app.bearer(SHOP) == second
    world.pass_time(61)
    assert await app.reject(SHOP, second) is True
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-3"


# ---------------------------------------------------------------------------------------- crash windows


async def crash_during_refresh(world: World, *, executed: bool) -> None:
    """A process that dies with its refresh on the wire; ``executed`` or not is what only the server knows."""
    app = world.make()
    governor = Governor(max_in_flight=10)
    await app.open(
        world.server,
        base_url="https://api.example",
        api_version="v3",
        telemetry=Telemetry(),
        governor=governor,
    )
    reached, never = asyncio.Event(), asyncio.Event()

    async def attempt(method: str, url: str, headers: Any, body: bytes = b"", **options: Any) -> WireResponse:
        if executed:
            fields = {name: values[0] for name, values in parse_qs(body.decode()).items()}
            world.server.answer({"grant_type": "refresh_token", "refresh_token": fields["refreshToken"]})
        reached.set()
        await never.wait()
        raise AssertionError

    world.server.attempt, attempt_before = attempt, world.server.attempt  # type: ignore[method-assign]
    waiter = asyncio.create_task(app.bearer(SHOP))
    await reached.wait()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    world.server.attempt = attempt_before  # type: ignore[method-assign]


async def test_after_a_crash_before_the_server_acted_the_old_token_is_tried_and_works(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY)
    await crash_during_refresh(world, executed=False)
    async with world.again() as later:
        assert (await later.installations())[0].state == "uncertain"
        assert await later.bearer(SHOP) == "Bearer s3ntinel-access-2"
        assert (await later.installations())[0].state == "ok"


async def test_after_a_crash_between_rotation_and_write_the_old_token_is_tried_once_and_the_loss_explained(
    world: World, app: OAuthApp
) -> None:
    world.pass_time(DAY)
    await crash_during_refresh(world, executed=True)
    async with world.again() as later:
        for _ in range(3):
            with pytest.raises(GrantLost, match="probably used it up|refused earlier"):
                await later.bearer(SHOP)
    assert world.server.asked("refresh_token") == 1


async def test_a_server_with_grace_heals_the_crash(world: World, app: OAuthApp) -> None:
    world.pass_time(DAY)
    await crash_during_refresh(world, executed=True)
    world.server.live["s3ntinel-refresh-1"] = ("Location", SHOP)
    async with world.again() as later:
        assert (await later.bearer(SHOP)).startswith("Bearer s3ntinel-access-")


class FailingStore(MemoryStore):
    """A memory store whose writes fail while ``broken`` says so; ``spare`` lets that many through first."""

    __slots__ = ("broken", "spare")

    def __init__(self) -> None:
        super().__init__()
        self.broken = False
        self.spare = 0

    async def save(self, name: str, data: bytes, version: int) -> bool:
        if self.broken:
            if self.spare == 0:
                raise OSError(28, "No space left on device: s3ntinel is never in here")
            self.spare -= 1
        return await super().save(name, data, version)


async def test_a_store_that_cannot_be_written_stops_the_refresh_before_anything_is_spent() -> None:
    store = FailingStore()
    world = World(store)
    async with world.again() as app:
        await app.exchange_code(f"Location:{SHOP}")
        world.pass_time(DAY)
        store.broken = True
        with pytest.raises(TokenStoreError, match="No space left"):
            await app.bearer(SHOP)
        assert world.server.asked("refresh_token") == 0
        store.broken = False
        assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"


async def test_a_store_that_fails_between_the_two_writes_gets_the_new_pair_later() -> None:
    store = FailingStore()
    world = World(store)
    async with world.again() as app:
        await app.exchange_code(f"Location:{SHOP}")
        world.pass_time(DAY)
        store.broken, store.spare = True, 1
        with pytest.raises(TokenStoreError, match="keeps the pair in memory"):
            await app.bearer(SHOP)
        assert app.current(SHOP) is None, "a pair that isn't durable is not used"
        with pytest.raises(TokenStoreError):
            await app.bearer(SHOP)
        store.broken = False
        assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"
    assert world.server.asked("refresh_token") == 1
    assert (await world.entry())["refresh_token"] == "s3ntinel-refresh-2"


async def test_a_pair_that_was_never_stored_is_written_when_the_client_closes() -> None:
    store = FailingStore()
    world = World(store)
    async with world.again() as app:
        await app.exchange_code(f"Location:{SHOP}")
        world.pass_time(DAY)
        store.broken, store.spare = True, 1
        with pytest.raises(TokenStoreError):
            await app.bearer(SHOP)
        store.broken = False
    assert (await world.entry())["refresh_token"] == "s3ntinel-refresh-2"


async def test_a_pair_that_is_lost_with_the_process_is_told(caplog: pytest.LogCaptureFixture) -> None:
    store = FailingStore()
    world = World(store)
    async with world.again() as app:
        await app.exchange_code(f"Location:{SHOP}")
        world.pass_time(DAY)
        store.broken, store.spare = True, 1
        with pytest.raises(TokenStoreError):
            await app.bearer(SHOP)
    assert "was never stored" in caplog.text


async def test_a_consent_that_could_not_be_stored_is_kept_until_it_can() -> None:
    store = FailingStore()
    world = World(store)
    async with world.again() as app:
        store.broken = True
        with pytest.raises(TokenStoreError):
            await app.exchange_code(f"Location:{SHOP}")
        store.broken = False
        assert await app.bearer(SHOP) == "Bearer s3ntinel-access-1"


async def test_a_corrupt_entry_is_a_store_error_that_names_the_location(world: World, app: OAuthApp) -> None:
    world.store._entries[f"65f0a1-app/location/{SHOP}"] = Stored(1, b'{"format": 1, s3ntinel-access')
    async with world.again() as other:
        with pytest.raises(TokenStoreError, match=SHOP):
            await other.bearer(SHOP)
        assert await other.installations() == []
        assert await other.forget(SHOP), "an entry that can't be read can be removed"
    world.store._entries[f"65f0a1-app/location/{SHOP}"] = Stored(
        1, b'{"format":9,"kind":"Location","access_token":"x","obtained_at":0,"life":1}'
    )
    async with world.again() as other:
        with pytest.raises(TokenStoreError, match="later version"):
            await other.bearer(SHOP)


# ---------------------------------------------------------------------------------------- clocks and lives


async def test_a_wall_clock_that_jumps_changes_nothing_for_a_running_process(
    world: World, app: OAuthApp
) -> None:
    for jump in (+10 * DAY, -30 * DAY):
        world.wall += jump
        assert app.current(SHOP) == "Bearer s3ntinel-access-1"
    assert world.server.asked("refresh_token") == 0


async def test_after_a_jump_back_a_stored_token_counts_as_new_and_the_servers_401_corrects_it(
    world: World, app: OAuthApp
) -> None:
    world.wall -= 30 * DAY
    async with world.again() as later:
        assert await later.bearer(SHOP) == "Bearer s3ntinel-access-1"
        assert await later.reject(SHOP, "Bearer s3ntinel-access-1")
        assert await later.bearer(SHOP) == "Bearer s3ntinel-access-2"


@pytest.mark.parametrize(
    ("expires_in", "life"),
    [
        (None, 3600), ("nonsense", 3600), (-5, 3600), (0, 3600), (True, 3600), ([1], 3600), ("3599", 3599),
        (86_399, 86_399), (10**12, 86_400), (86_399_000, 86_400), (10**400, 3600), ("inf", 3600), (7200.5, 7200.5),
    ],
)  # fmt: skip
async def test_a_life_that_is_missing_or_absurd_is_not_believed(expires_in: Any, life: float) -> None:
    world = World()
    world.server.expires_in = expires_in
    async with world.again() as app:
        await app.exchange_code(f"Location:{SHOP}")
        world.pass_time(life * 0.89 - 1)
        world.server.gate = asyncio.Event()
        assert app.current(SHOP) is not None
        world.pass_time(life * 0.12)
        assert app.current(SHOP) is None
        world.server.gate.set()


async def test_an_answer_that_leaves_things_out_keeps_what_is_known(world: World, app: OAuthApp) -> None:
    world.server.extra = {
        "refresh_token": None,
        "locationId": None,
        "userType": None,
        "scope": None,
        "companyId": None,
    }
    world.pass_time(DAY)
    assert await app.bearer(SHOP) == "Bearer s3ntinel-access-2"
    entry = await world.entry()
    assert entry["refresh_token"] == "s3ntinel-refresh-1"
    assert (entry["kind"], entry["scope"]) == ("Location", "invoices.readonly invoices.write")


async def test_a_token_without_a_refresh_token_ends_with_advice(world: World) -> None:
    world.server.extra = {"refresh_token": None}
    async with world.again() as app:
        await app.exchange_code(f"Location:{SHOP}")
        assert not (await app.installations())[0].refreshable
        world.pass_time(DAY)
        with pytest.raises(TokenMissing, match="without a refresh token"):
            await app.bearer(SHOP)


# ---------------------------------------------------------------------------------------- agencies


@pytest.fixture
async def agency(world: World) -> AsyncIterator[OAuthApp]:
    """An app that an agency has installed."""
    async with world.again() as app:
        await app.exchange_code(f"Company:{AGENCY}", user_type="Company")
        yield app


async def test_location_tokens_are_minted_when_they_are_first_needed_and_kept(
    world: World, agency: OAuthApp
) -> None:
    headers = await asyncio.gather(*(agency.bearer(SHOP) for _ in range(20)))
    assert set(headers) == {"Bearer s3ntinel-access-2"}
    assert world.server.asked("locationId") == 1
    assert world.server.requests[-1]["auth"] == "Bearer s3ntinel-access-1"
    async with world.again() as other:
        assert await other.bearer(SHOP) == "Bearer s3ntinel-access-2"
        (company,) = await other.installations()
        assert (company.kind, company.key) == ("Company", AGENCY)
        assert [one.key for one in await other.installations(minted=True)] == [AGENCY, SHOP]
    entry = await world.entry()
    assert entry["minted"] and "refresh_token" not in entry


async def test_a_minted_token_is_minted_again_when_it_ends_and_the_agencys_is_renewed_once(
    world: World, agency: OAuthApp
) -> None:
    await agency.bearer(SHOP)
    await agency.bearer("another-location")
    world.pass_time(DAY)
    await asyncio.gather(agency.bearer(SHOP), agency.bearer("another-location"))
    assert (world.server.asked("refresh_token"), world.server.asked("locationId")) == (1, 4)


async def test_an_agency_token_that_is_refused_while_minting_is_renewed_once(
    world: World, agency: OAuthApp
) -> None:
    bad = WireResponse(401, {}, b'{"statusCode":401,"message":"Invalid JWT"}')
    world.server.script = [bad]
    assert (await agency.bearer(SHOP)).startswith("Bearer s3ntinel-access")
    assert world.server.asked("refresh_token") == 1
    world.server.script = [bad, lambda fields: None, bad]
    with pytest.raises(RefreshRejected, match=f"mint a token for location other from company {AGENCY}"):
        await agency.bearer("other")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(400, "Location not found"), RefreshRejected),
        (
            WireResponse(401, {}, b'{"message":"The token is not authorized for this scope."}'),
            RefreshRejected,
        ),
        (WireResponse(201, {}, b"{}"), RefreshUnavailable),
        (WireResponse(500, {}, b"oops"), RefreshUnavailable),
    ],
)
async def test_what_stands_in_the_way_of_minting_is_told(
    world: World, agency: OAuthApp, answer: WireResponse, error: type[Exception]
) -> None:
    world.server.script = [answer] * 3
    with pytest.raises(error):
        await agency.bearer(SHOP)
    assert world.server.asked("refresh_token") == 0


async def test_which_agency_mints_can_be_told(world: World, agency: OAuthApp) -> None:
    await agency.exchange_code("Company:second-agency")
    world.server.extra = {"companyId": "second-agency"}
    with pytest.raises(TokenMissing, match="2 companies|company_id"):
        async with world.again() as puzzled:
            await puzzled.exchange_code("Company:second-agency")
            await puzzled.bearer(SHOP)
    async with world.again(company_id=AGENCY) as told:
        await told.bearer(SHOP)
        assert world.server.requests[-1]["companyId"] == AGENCY
    async with world.again(company_id=lambda location: "second-agency") as asking:
        await asking.bearer("elsewhere")
        assert world.server.requests[-1]["companyId"] == "second-agency"


async def test_without_any_grant_the_error_says_how_to_get_one(world: World) -> None:
    async with world.again() as app:
        with pytest.raises(TokenMissing, match=f"{SHOP}.*hl-async auth login"):
            await app.bearer(SHOP)
        with pytest.raises(TokenMissing):
            await app.refresh(SHOP)
        assert app.current(SHOP) is None
        assert await app.reject(SHOP, "Bearer x")
    async with world.again(company_id=AGENCY) as app:
        with pytest.raises(TokenMissing, match=AGENCY):
            await app.bearer(SHOP)


async def test_forgetting_an_agency_forgets_what_was_minted_from_it(world: World, agency: OAuthApp) -> None:
    await agency.bearer(SHOP)
    assert await agency.forget(AGENCY)
    assert agency.current(SHOP) is None
    assert await world.store.names("") == []
    assert not await agency.forget(AGENCY)


# ---------------------------------------------------------------------------------------- around it


async def test_an_app_works_inside_one_clients_block_at_a_time(world: World) -> None:
    app = world.make()
    with pytest.raises(NotEntered, match="HighLevel"):
        await app.bearer(SHOP)
    with pytest.raises(NotEntered):
        await app.exchange_code("Location:x")
    async with world.again() as app:
        with pytest.raises(ClientStateError, match="another open client"):
            await app.open(
                world.server, base_url="https://a.example", api_version="v3", telemetry=Telemetry(),
                governor=Governor(max_in_flight=1),
            )  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"client_id": ""}, "client_id"),
        ({"client_id": "a/b"}, "client_id"),
        ({"client_secret": " "}, "client_secret"),
        ({"redirect_uri": "ftp://x"}, "redirect_uri"),
        ({"company_id": " "}, "company_id"),
    ],
)
def test_bad_settings_are_refused_by_name(settings: dict[str, Any], field: str) -> None:
    given: dict[str, Any] = {"client_id": "a-b", "client_secret": Secret("s"), **settings}
    with pytest.raises(ConfigurationError, match=field):
        OAuthApp(**given)


@pytest.mark.parametrize(
    "settings",
    [
        {"refresh_at": 0}, {"refresh_at": 1.0}, {"jitter": 0.5}, {"jitter": -0.1}, {"attempts": 0}, {"backoff": 0},
        {"timeout": float("inf")}, {"skew": -1}, {"rejection_pause": float("nan")}, {"max_backoff": -1},
    ],
)  # fmt: skip
def test_a_policy_that_makes_no_sense_is_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(settings))):
        RefreshPolicy(**settings)


async def test_bad_codes_and_user_types_are_refused_before_anything_is_sent(
    app: OAuthApp, world: World
) -> None:
    sent = len(world.server.requests)
    with pytest.raises(InvalidRequest, match="code"):
        await app.exchange_code(" ")
    with pytest.raises(InvalidRequest, match="user_type"):
        await app.exchange_code("Location:x", user_type="agency")
    assert len(world.server.requests) == sent


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(401, "Authorization code not found"), RefreshRejected),
        (LOST, RefreshUnavailable),
        (WireResponse(200, {}, b'{"access_token":"s3ntinel-access-9"}'), RefreshUnavailable),
    ],
)
async def test_a_code_is_never_sent_twice(
    world: World, app: OAuthApp, answer: Any, error: type[Exception]
) -> None:
    world.server.script = [answer]
    with pytest.raises(error):
        await app.exchange_code("Location:x")
    assert world.server.asked("authorization_code") == 2


async def test_nothing_that_is_printed_shows_a_secret(world: World, app: OAuthApp) -> None:
    found = await app._repository.find(SHOP)
    assert found is not None
    shown = [repr(found.grant), str(found), repr(app), repr(await app.installations()), repr(world.store)]
    shown += [repr(event) for event in world.events] + [repr(app._refresher.__dict__)]
    stored = await world.store.load(found.name)
    shown.append(repr(stored))
    world.pass_time(DAY)
    world.server.script = [
        lambda fields: refusal(
            400, f"bad token {fields['refresh_token']}, refresh_token={fields['refresh_token']}"
        )
    ]
    with pytest.raises(GrantLost) as caught:
        await app.bearer(SHOP)
    shown.append(repr(caught.value.args))
    gc.collect()
    assert not [text for text in shown if "s3ntinel-access" in text or CLIENT_SECRET in text]
