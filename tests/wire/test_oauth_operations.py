"""The OAuth operations, under both API versions and both key cases."""

from __future__ import annotations

import pytest

from hl_async import ClientConfig, HighLevel, Secret
from hl_async.auth import PrivateToken
from hl_async.errors import InvalidRequest, Unauthorized
from hl_async.models import TokenGrant
from hl_async.sandbox import Sandbox


@pytest.mark.parametrize("version", ["2021-07-28", "v3"])
async def test_a_code_becomes_tokens_and_a_refresh_token_is_good_once(box: Sandbox, version: str) -> None:
    app = box.add_app()
    code = box.authorise(app.client_id, box.location_id)
    async with HighLevel("pit-none", config=ClientConfig(base_url=box.url, api_version=version)) as hl:
        secret = Secret(app.client_secret)
        grant = await hl.oauth.token(
            client_id=app.client_id,
            client_secret=secret,
            grant_type="authorization_code",
            code=code,
            user_type="Location",
        )
        assert (grant.user_type, grant.location_id, grant.expires_in) == ("Location", box.location_id, 86_399)
        again = await hl.oauth.token(
            client_id=app.client_id,
            client_secret=secret,
            grant_type="refresh_token",
            refresh_token=grant.refresh_token,
        )
        assert again.access_token != grant.access_token
        with pytest.raises(Unauthorized, match="invalid or has been used"):
            await hl.oauth.token(
                client_id=app.client_id,
                client_secret=secret,
                grant_type="refresh_token",
                refresh_token=grant.refresh_token,
            )
        with pytest.raises(Unauthorized, match="code not found"):
            await hl.oauth.token(
                client_id=app.client_id, client_secret=secret, grant_type="authorization_code", code="wrong"
            )
        with pytest.raises(InvalidRequest, match="code"):
            await hl.oauth.token(client_id="x", client_secret="y", grant_type="authorization_code", code=" ")
    assert box.tokens.spent_presented == 1
    assert "Authorization" not in repr(box.requests)


@pytest.mark.parametrize("version", ["2021-07-28", "v3"])
async def test_an_agency_mints_location_tokens_and_lists_its_locations(box: Sandbox, version: str) -> None:
    app = box.add_app()
    for _ in range(120):
        box.add_location()
    agency = box.tokens.exchange(
        {
            "client_id": app.client_id,
            "client_secret": app.client_secret,
            "grant_type": "authorization_code",
            "code": box.authorise(app.client_id),
        }
    )
    config = ClientConfig(base_url=box.url, api_version=version)
    async with HighLevel(PrivateToken(agency["access_token"]), config=config) as hl:
        minted = await hl.oauth.location_token(box.company_id, box.location_id)
        assert (minted.user_type, minted.location_id) == ("Location", box.location_id)
        found = [
            one async for one in hl.oauth.installed_locations(box.company_id, app.client_id.partition("-")[0])
        ]
        assert len(found) == 121
        page = await hl.oauth.installed_locations(box.company_id, "x", limit=50)
        assert (len(page), page.total, page.has_more) == (50, 121, True)
        installed = [
            one.id async for one in hl.oauth.installed_locations(box.company_id, "x", is_installed=True)
        ]
        assert installed == [box.location_id]
        with pytest.raises(Unauthorized, match="authClass"):
            await hl.location(box.location_id).estimates.generate_number()
    async with HighLevel(minted.access_token or "", config=config) as hl:
        assert (await hl.location(box.location_id).estimates.generate_number()).estimate_number == 1


def test_a_grant_never_shows_its_tokens() -> None:
    grant = TokenGrant(
        access_token="s3ntinel-access-1", refresh_token="s3ntinel-refresh-1", user_type="Location"
    )
    assert "s3ntinel" not in repr(grant)
    assert "s3ntinel" not in str(grant)
