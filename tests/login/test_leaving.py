"""Logging out, and places in which no login can be kept."""

import os
from pathlib import Path

import pytest

from arraylake_core import AsyncClient, config
from arraylake_core.errors import AuthenticationError
from arraylake_core.login.account import Account, Ended
from arraylake_core.login.storage import kept_login
from tests.login.conftest import Keep
from tests.servers.bad_issuer import BadIssuer


async def test_a_logout_ends_also_what_others_could_read(issuer: BadIssuer, keep: Keep) -> None:
    keep(3600)
    issuer.told["/revoke"] = (200, b"")
    kept_login(issuer.issuer).path.chmod(0o644)
    assert await Account(issuer.issuer).logout() == Ended(was_logged_in=True, is_revoked=True)
    (request,) = [one for one in issuer.server.requests if one.target == "/revoke"]
    assert b"token=CANARY-first" in request.body
    assert kept_login(issuer.issuer).read() is None


@pytest.mark.parametrize("told", [(503, {}), b"", (200, None)])
async def test_a_logout_that_the_provider_does_not_hear_is_said_to_be_half_done(
    issuer: BadIssuer, keep: Keep, told: object
) -> None:
    keep(3600)
    if told == (200, None):
        issuer.told["/.well-known/openid-configuration"] = (500, {})
    issuer.told["/revoke"] = told
    with pytest.raises(AuthenticationError, match="is forgotten here, but its identity provider was not told") as caught:
        await Account(issuer.issuer).logout()
    assert "CANARY" not in str(caught.value)
    assert kept_login(issuer.issuer).read() is None


async def test_a_provider_without_revocation_is_said_to_have_none(
    issuer: BadIssuer, keep: Keep, capsys: pytest.CaptureFixture[str]
) -> None:
    keep(3600)
    issuer.told["metadata"] = {"revocation_endpoint": None}
    async with AsyncClient("memory://") as client:
        await client.logout()
        assert "holds until its end" in capsys.readouterr().err
        await client.logout()
        assert "Nobody was logged in" in capsys.readouterr().err


async def test_where_nothing_can_be_kept_nobody_is_asked_to_log_in(issuer: BadIssuer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with config.set({"login.dir": str(directory)}):
            async with AsyncClient("memory://") as client:
                with pytest.raises(AuthenticationError, match=r"can't be kept in .*login\.dir"):
                    await client.login()
    assert issuer.server.requests == []


async def test_a_login_that_is_no_file_is_not_waited_for(issuer: BadIssuer, keep: Keep) -> None:
    keep(3600)
    path = kept_login(issuer.issuer).path
    path.unlink()
    os.mkfifo(path, 0o600)
    with pytest.raises(AuthenticationError, match="is no file"):
        await Account(issuer.issuer).token()
    path.unlink()
    path.mkdir()
    with pytest.raises(AuthenticationError, match="is no file"):
        await Account(issuer.issuer).token()


@pytest.mark.parametrize(
    ("metadata", "says"),
    [
        ({"token_endpoint": "http://login.example.org/token"}, "readable by whoever is in between"),
        ({"jwks_uri": "http://login.example.org/keys"}, "readable by whoever is in between"),
        ({"device_authorization_endpoint": "http://login.example.org/device"}, "readable by whoever is in between"),
        ({"revocation_endpoint": "ftp://login.example.org"}, "no https URL"),
        ({"token_endpoint": "https://[CANARY"}, "no https URL"),
    ],
)
async def test_p6_tokens_are_sent_over_tls_alone(issuer: BadIssuer, keep: Keep, metadata: dict[str, str], says: str) -> None:
    keep(-1)
    issuer.told["metadata"] = metadata
    with pytest.raises(AuthenticationError, match=says) as caught:
        await Account(issuer.issuer).token()
    assert "CANARY" not in str(caught.value)
    assert issuer.asked("/token") == 0


async def test_p6_a_provider_elsewhere_is_not_asked_by_http(issuer: BadIssuer) -> None:
    with config.set({"login.issuer": "http://login.example.org"}):
        async with AsyncClient("memory://") as client:
            with pytest.raises(AuthenticationError, match=r"must have https endpoints.*service\.allow_http"):
                await client.login()
