"""An OAuth app against the sandbox over real sockets: installing, calling, expiring, minting, leaving."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from hl_async import ConsentFlow, EncryptedStore, HighLevel, OAuthApp, RefreshPolicy, SqliteStore
from hl_async.errors import (
    ConfigurationError,
    GrantLost,
    InvalidRequest,
    MissingAlt,
    RefreshRejected,
    ScopeMissing,
    StateMismatch,
    Unauthorized,
)
from hl_async.operations import Alt, Operation, Replay
from hl_async.sandbox import Sandbox
from hl_async.sandbox.faults import Fault
from hl_async.sandbox.tokens import App
from lengths import long

BACK = "https://app.example/callback"


@pytest.fixture
def registered(box: Sandbox) -> App:
    return box.add_app()


@pytest.fixture
def app(registered: App, tmp_path: Path) -> OAuthApp:
    store = EncryptedStore(SqliteStore(tmp_path / "tokens.db"), [bytes(32)])
    policy = RefreshPolicy(backoff=0.01)
    return OAuthApp(
        registered.client_id, registered.client_secret, store=store, redirect_uri=BACK, refresh=policy
    )


@pytest.fixture
async def client(box: Sandbox, app: OAuthApp) -> AsyncIterator[HighLevel]:
    async with HighLevel(app, base_url=box.url) as hl:
        yield hl


async def walk(consent_url: str, box: Sandbox, **form: str) -> str:
    """What a browser does: open the page, choose, and be sent back; returns the address it is sent to."""
    url = consent_url.replace("https://marketplace.gohighlevel.com", box.url)
    async with aiohttp.ClientSession() as browser:
        page = await browser.get(url)
        assert page.status == 200 and "Install the app?" in await page.text()
        back = await browser.post(url, data=form, allow_redirects=False)
        return back.headers["Location"]


async def test_a_location_installs_the_app_and_its_calls_are_authorised(
    box: Sandbox, registered: App, app: OAuthApp, client: HighLevel
) -> None:
    flow = app.consent()
    consent = await flow.begin()
    returned = await walk(consent.url, box, location=box.location_id)
    installed = await flow.finish(returned, consent.state)
    assert (installed.kind, installed.key, installed.state) == ("Location", box.location_id, "ok")
    assert "invoices/estimate.write" in installed.scopes
    assert await client.location(box.location_id).estimates.generate_number()
    assert await app.installations() == [installed]


async def test_an_agency_installs_the_app_and_every_location_works(
    box: Sandbox, app: OAuthApp, client: HighLevel
) -> None:
    flow = app.consent()
    consent = await flow.begin()
    await flow.finish(await walk(consent.url, box, location=""), consent.state)
    places = [box.add_location() for _ in range(5)]
    await asyncio.gather(*(client.location(one).estimates.generate_number() for one in places * 10))
    assert box.tokens.minted == 5
    listed = [one.id async for one in client.oauth.installed_locations(box.company_id, app.app_id)]
    assert set(places) <= set(listed)


@pytest.mark.parametrize("calls", [200, long(1_000)])
@pytest.mark.untraced
async def test_many_calls_that_hit_one_expiry_cause_one_refresh(
    box: Sandbox, registered: App, app: OAuthApp, client: HighLevel, calls: int
) -> None:
    await app.exchange_code(box.authorise(registered.client_id, box.location_id))
    estimates = client.location(box.location_id).estimates
    await estimates.generate_number()
    box.tokens.expire()
    numbers = await asyncio.gather(*(estimates.generate_number() for _ in range(calls)))
    assert len(numbers) == calls
    assert box.tokens.refreshes == 1


@pytest.mark.parametrize("version", ["2021-07-28", "v3"])
async def test_refreshing_and_minting_work_under_both_versions(
    box: Sandbox, registered: App, app: OAuthApp, version: str
) -> None:
    async with HighLevel(app, base_url=box.url, api_version=version) as hl:
        await app.exchange_code(box.authorise(registered.client_id), user_type="Company")
        await hl.location(box.location_id).estimates.generate_number()
        box.tokens.expire()
        await hl.location(box.location_id).estimates.generate_number()
        assert (box.tokens.refreshes, box.tokens.minted) == (1, 2)


async def test_tokens_survive_the_process_and_rotate_on(box: Sandbox, registered: App, app: OAuthApp) -> None:
    async with HighLevel(app, base_url=box.url):
        await app.exchange_code(box.authorise(registered.client_id, box.location_id))
    for _ in range(3):
        box.tokens.expire()
        async with HighLevel(app, base_url=box.url) as hl:
            await hl.location(box.location_id).estimates.generate_number()
    assert (box.tokens.refreshes, box.tokens.spent_presented) == (3, 0)


async def test_a_missing_scope_does_not_cost_a_refresh_token(
    box: Sandbox, registered: App, app: OAuthApp, client: HighLevel
) -> None:
    await app.exchange_code(box.authorise(registered.client_id, box.location_id))
    token = (await app.bearer(box.location_id)).removeprefix("Bearer ")
    box.tokens.grants[token].scopes = frozenset()
    with pytest.raises(ScopeMissing):
        await client.location(box.location_id).estimates.generate_number()
    assert box.tokens.refreshes == 0


async def test_a_request_that_names_no_location_does_not_cost_a_refresh_token(
    box: Sandbox, registered: App, app: OAuthApp, client: HighLevel
) -> None:
    await app.exchange_code(box.authorise(registered.client_id, box.location_id))
    careless: Operation[object] = Operation(
        "careless", "GET", "/invoices/settings", None, at="invoices.careless", scope=None, alt=Alt.NONE,
        replay=Replay.SAFE,
    )  # fmt: skip
    with pytest.raises(MissingAlt, match="access token is invalid"):
        await client.raw(careless, location=box.location_id)
    assert box.tokens.refreshes == 0


async def test_a_storm_of_401s_costs_one_refresh_and_ends_in_the_servers_words(
    box: Sandbox, registered: App, app: OAuthApp, client: HighLevel
) -> None:
    await app.exchange_code(box.authorise(registered.client_id, box.location_id))
    box.storm(60.0)
    estimates = client.location(box.location_id).estimates
    results = await asyncio.gather(*(estimates.generate_number() for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in results} == {Unauthorized}
    with pytest.raises(Unauthorized):
        await estimates.generate_number()
    assert box.tokens.refreshes == 1


async def test_an_uninstalled_app_is_told_apart_from_an_outage(
    box: Sandbox, registered: App, app: OAuthApp, client: HighLevel
) -> None:
    await app.exchange_code(box.authorise(registered.client_id, box.location_id))
    estimates = client.location(box.location_id).estimates
    await estimates.generate_number()
    box.tokens.uninstall(registered.client_id)
    with pytest.raises(GrantLost, match=box.location_id):
        await estimates.generate_number()
    assert await app.forget(box.location_id)
    code = box.authorise(registered.client_id, box.location_id)
    await app.exchange_code(code)
    assert await estimates.generate_number()


async def test_an_answer_that_is_lost_after_the_rotation_is_told_as_a_lost_grant(
    box: Sandbox, registered: App, app: OAuthApp, client: HighLevel
) -> None:
    await app.exchange_code(box.authorise(registered.client_id, box.location_id))
    box.faults.script("get-access-token", Fault.RESET_AFTER_COMMIT)
    box.tokens.expire()
    with pytest.raises(GrantLost, match="probably used it up"):
        await client.location(box.location_id).estimates.generate_number()


# ---------------------------------------------------------------------------------------- consent


async def test_a_refused_consent_is_told_and_its_state_used_up(
    box: Sandbox, app: OAuthApp, client: HighLevel
) -> None:
    flow = app.consent()
    consent = await flow.begin()
    returned = await walk(consent.url, box, refuse="1")
    with pytest.raises(RefreshRejected, match="access_denied"):
        await flow.finish(returned, consent.state)
    with pytest.raises(StateMismatch, match="used already"):
        await flow.finish(returned, consent.state)


async def test_a_return_that_is_forged_repeated_late_or_of_another_browser_spends_nothing(
    box: Sandbox, registered: App, client: HighLevel, app: OAuthApp
) -> None:
    now = 1_800_000_000.0
    flow = ConsentFlow(app, app._repository, lambda: now)
    code = box.authorise(registered.client_id, box.location_id)
    mine, theirs = await flow.begin(), await flow.begin()
    assert mine.state != theirs.state and len(mine.state) > 40
    for query, bound in [
        ({"code": code}, mine.state),
        ({"code": code, "state": mine.state}, None),
        ({"code": code, "state": theirs.state}, mine.state),
        ({"code": code, "state": "made-up"}, "made-up"),
        ({"code": code, "state": "../x"}, "../x"),
        ({"code": code, "state": "ä"}, "ä"),
    ]:
        with pytest.raises(StateMismatch):
            await flow.finish(query, bound)
    late = await flow.begin()
    now += 601
    with pytest.raises(StateMismatch, match="longer than 600 s"):
        await flow.finish({"code": code, "state": late.state}, late.state)
    await flow.begin()
    assert len(await app._repository.states()) == 1, "states of people who never came back are removed"
    assert not [one for one in box.requests if one.operation == "get-access-token"]


async def test_of_two_returns_with_one_state_one_is_exchanged(
    box: Sandbox, registered: App, app: OAuthApp, client: HighLevel
) -> None:
    flow = app.consent()
    consent = await flow.begin()
    query = {"code": box.authorise(registered.client_id, box.location_id), "state": consent.state}
    results = await asyncio.gather(
        *(flow.finish(query, consent.state) for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(one, StateMismatch) for one in results) == 4


def test_the_consent_address_carries_everything_and_nothing_can_be_smuggled_in(app: OAuthApp) -> None:
    url = app.authorize_url(
        "s t", scopes=["a.b", "c/d"], version_id="65f0", same_window=True, extra={"x": "1 2"}
    )
    assert url.startswith("https://marketplace.gohighlevel.com/v2/oauth/chooselocation?response_type=code&")
    for part in ("state=s+t", "scope=a.b+c%2Fd", "version_id=65f0", "loginWindowOpenMode=self", "x=1+2"):
        assert part in url
    assert "redirect_uri=https%3A%2F%2Fapp.example%2Fcallback" in url
    white = app.authorize_url("s", host="marketplace.leadconnectorhq.com")
    assert white.startswith("https://marketplace.leadconnectorhq.com/v2/")
    for bad, field in [
        ({"extra": {"state": "evil"}}, "extra"),
        ({"scopes": "a b"}, "scopes"),
        ({"scopes": ["a b"]}, "scopes"),
        ({"redirect_uri": "javascript:alert(1)"}, "redirect_uri"),
        ({"redirect_uri": "http://app.example/"}, "redirect_uri"),
        ({"host": "http://evil.example"}, "host"),
    ]:
        with pytest.raises(ConfigurationError, match=field):
            app.authorize_url("s", **bad)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="state"):
        app.authorize_url("")
    with pytest.raises(ConfigurationError, match="redirect_uri"):
        OAuthApp("a-b", "secret").authorize_url("s")


async def test_the_sandboxs_consent_page_refuses_what_the_live_one_would(
    box: Sandbox, registered: App
) -> None:
    page = f"{box.url}/v2/oauth/chooselocation"
    good = {"client_id": registered.client_id, "redirect_uri": BACK, "response_type": "code", "scope": "<b>"}
    async with aiohttp.ClientSession() as browser:
        for changed in ({"client_id": "x"}, {"redirect_uri": "javascript:x"}, {"response_type": "token"}):
            assert (await browser.get(page, params={**good, **changed})).status == 400
        shown = await (await browser.get(page, params=good)).text()
        assert "&lt;b&gt;" in shown and "<b>" not in shown
        missing = await browser.post(page, params=good, data={"location": "nowhere"})
        assert missing.status == 400
        back = await browser.post(
            page, params={**good, "redirect_uri": f"{BACK}?x=1"}, data={"location": ""}, allow_redirects=False
        )
        assert re.fullmatch(re.escape(BACK) + r"\?x=1&code=code-\w+", back.headers["Location"])
