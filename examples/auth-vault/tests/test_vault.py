"""The method passes the kit with keys that are kept, with keys that are minted, and with a command; and says what is wrong."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from arraylake_vault import VaultAuth, VaultConfig
from vault_server import TOKEN, VaultServer, running_vault

from arraylake_core.backends import Location, S3Credentials
from arraylake_core.errors import CredentialsError
from arraylake_core.models import Identity
from arraylake_core.testing import CANARY, AuthMethodTests

LOCATION = Location(platform="s3", bucket="lake")
PRINTS = "import json; print(json.dumps({keys!r}))"


@pytest.fixture(scope="module")
def server() -> Iterator[VaultServer]:
    """A running vault."""
    with running_vault(CANARY) as server:
        yield server


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, server: VaultServer, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give this machine a file of its own, and return what writes it anew."""
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".config").mkdir()
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    keys = {"AccessKeyId": "AKIA", "SecretAccessKey": CANARY, "SessionToken": CANARY, "Expiration": "2999-01-01T00:00:00Z"}

    def write(text: str) -> None:
        (tmp_path / ".config" / "arraylake-vault.toml").write_text(text)

    write(
        f"[team]\naddress = '{server.address}'\ntoken_file = '{tmp_path}/token'\n"
        f"[cloud]\ncommand = {json.dumps([sys.executable, '-c', PRINTS.format(keys=keys)])}\n"
        f"[stranger]\naddress = '{server.address}'\ntoken_file = '/dev/null'\n"
        f"[gone]\naddress = 'http://127.0.0.1:1'\ntoken_file = '/dev/null'\n"
        f"[fails]\ncommand = {json.dumps([sys.executable, '-c', 'raise SystemExit(3)'])}\n"
        f"[odd]\ncommand = {json.dumps([sys.executable, '-c', f'print({CANARY!r})'])}\n"
        f"[missing]\ncommand = ['/no/such/program']\n"
    )
    return write


class VaultTests(AuthMethodTests):
    """What every method is held to."""

    method = VaultAuth()
    location = LOCATION

    @pytest.fixture(autouse=True)
    def _count(self, server: VaultServer) -> None:
        self._server = server

    def asked(self) -> int:
        """How often the server was asked."""
        return self._server.asked


class TestKept(VaultTests):
    """Keys that stay."""

    config = {"vault": "team", "path": "secret/data/lake"}


class TestMinted(VaultTests):
    """Keys that expire."""

    config = {"vault": "team", "path": "aws/creds/lake"}

    async def test_each_set_is_a_new_one(self) -> None:
        """It expires, and the next differs."""
        one, other = [await self._credentials() for _ in range(2)]
        assert isinstance(one, S3Credentials)
        assert one.expiration is not None
        assert one != other


class TestCommand(VaultTests):
    """A program that prints them."""

    config = {"vault": "cloud", "path": "lake"}


@pytest.mark.parametrize(
    ("vault", "path", "says"),
    [
        ("team", "secret/data/nothing", "404: nothing is kept at that path"),
        ("team", "secret/data/odd", "no keys: it needs access_key"),
        ("team", "../sys/seal", "no path in a vault"),
        ("team", "secret/data/lake?version=1", "no path in a vault"),
        ("stranger", "secret/data/lake", "403: its token may not read that"),
        ("gone", "secret/data/lake", "can't be asked"),
        ("other", "secret/data/lake", "no vault 'other' .it has 'team'"),
        ("fails", "lake", "ended with 3"),
        ("odd", "lake", "printed no keys"),
        ("missing", "lake", "could not be run"),
    ],
)
async def test_what_is_wrong_is_said_without_a_secret(vault: str, path: str, says: str) -> None:
    """And with the next step."""
    with pytest.raises(CredentialsError, match=says) as caught:
        await VaultAuth().credentials(VaultConfig(vault=vault, path=path), LOCATION, "read", Identity())
    assert CANARY not in str(caught.value)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "[team",
        "[team]\n",
        "[team]\naddress = 'http://vault.example.org'\ntoken_file = '/t'\n",
        "[team]\naddress = 'https://h'\ntoken_file = '/t'\ncommand = ['x']\n",
        "[team]\ncolour = 'red'\n",
    ],
)
async def test_a_file_that_is_wrong_is_named(machine: Callable[[str], None], text: str) -> None:
    """Before anything is asked."""
    machine(text)
    with pytest.raises(CredentialsError, match=r"arraylake-vault\.toml can't be used"):
        await VaultAuth().credentials(VaultConfig(vault="team", path="lake"), LOCATION, "read", Identity())
