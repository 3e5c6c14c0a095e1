"""Programs log in by client credentials, and their processes share what they have of it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from arraylake_core import config
from arraylake_core.errors import AuthenticationError, InvalidOptionError
from arraylake_core.login import identity_token
from tests.servers.bad_issuer import BadIssuer
from tests.servers.oidc import OidcProvider


@pytest.fixture
def robot(oidc_provider: OidcProvider, own_home: Path) -> Iterator[OidcProvider]:
    """A certified provider, and the settings of a program that it knows."""
    client_id, secret = oidc_provider.robot
    settings = {
        "login.issuer": oidc_provider.issuer,
        "login.client_id": client_id,
        "login.client_secret": secret,
        "login.dir": str(own_home / "logins"),
        "login.store": "file",
    }
    with config.set(settings):
        yield oidc_provider


async def test_p7_a_program_logs_in_once_for_all_that_need_it(robot: OidcProvider) -> None:
    before = robot.counts().get("/token", 0)
    tokens = await asyncio.gather(*(identity_token() for _ in range(10)))
    assert len(set(tokens)) == 1
    assert robot.counts()["/token"] == before + 1
    (file,) = Path(str(config.get_str("login.dir"))).glob("*.json")
    assert file.stat().st_mode & 0o777 == 0o600
    assert "CANARY" not in file.read_text()


async def test_a_program_s_secret_may_be_in_a_file(robot: OidcProvider, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{robot.robot[1]}\n")
    with config.set({"login.client_secret": None, "login.client_secret_file": str(tmp_path / "secret")}):
        assert await identity_token()


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
async def test_a_file_without_a_secret_is_said_to_be_none(robot: OidcProvider, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    settings = {"login.client_secret": None, "login.client_secret_file": str(tmp_path / "secret")}
    with config.set(settings), pytest.raises(InvalidOptionError, match=r"login\.client_secret_file"):
        await identity_token()


async def test_a_wrong_secret_is_refused_by_the_provider(robot: OidcProvider) -> None:
    says = r"does not let the client 'robot' in \(invalid_client\)"
    with config.set({"login.client_secret": "CANARY-wrong"}), pytest.raises(AuthenticationError, match=says) as caught:
        await identity_token()
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ((400, {"error": "invalid_target"}), r"refused the login \(invalid_target\): check login.scopes and login.audience"),
        ((200, {"token_type": "Bearer"}), "gave no access token"),
    ],
)
async def test_what_a_provider_does_not_give_a_program_is_said(issuer: BadIssuer, told: object, says: str) -> None:
    issuer.told["/token"] = told
    settings = {"login.client_secret": "CANARY", "login.audience": "https://lake.example.org", "login.scopes": "lake"}
    with config.set(settings), pytest.raises(AuthenticationError, match=says):
        await identity_token()
    (request,) = [one for one in issuer.server.requests if one.target == "/token"]
    assert b"resource=https%3A%2F%2Flake.example.org" in request.body
    assert b"scope=lake" in request.body
    assert request.headers["Authorization".lower()].startswith("Basic ")


async def test_a_provider_that_wants_the_secret_in_the_form_gets_it_there(issuer: BadIssuer) -> None:
    issuer.told |= {
        "metadata": {"token_endpoint_auth_methods_supported": ["client_secret_post"]},
        "/token": (200, {"access_token": "access", "expires_in": 300}),
    }
    with config.set({"login.client_secret": "CANARY"}):
        assert (await identity_token()).reveal() == "access"
    (request,) = [one for one in issuer.server.requests if one.target == "/token"]
    assert b"client_secret=CANARY" in request.body
    assert "authorization" not in request.headers
