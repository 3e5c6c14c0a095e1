"""People log in with a certified provider, at the terminal and at a browser; the login lives in a file and is renewed once for all."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import aiohttp
import pytest

from arraylake_core import AsyncClient, Client, config
from arraylake_core.errors import AuthenticationError
from arraylake_core.login.account import Account, account_of
from arraylake_core.login.storage import kept_login
from arraylake_core.login.tokens import refreshed
from arraylake_core.secret import Secret
from tests.servers.oidc import OidcProvider, browse

SERVICE = "https://lake.example.org"


@pytest.fixture
def logins(own_home: Path) -> Iterator[Path]:
    """The directory of logins, in this test's home."""
    account_of.cache_clear()
    with config.set({"login.dir": str(own_home / "logins"), "login.store": "file"}):
        yield own_home / "logins"
    account_of.cache_clear()


@pytest.fixture
def provider(oidc_provider: OidcProvider, logins: Path) -> Iterator[OidcProvider]:
    """The provider, which the settings name for use without a service."""
    with config.set({"login.issuer": oidc_provider.issuer, "login.client_id": oidc_provider.client_id}):
        yield oidc_provider


async def _confirm(url: str, email: str) -> None:
    """Do what a person does in a browser anywhere with a link to confirm a code."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await browse(session, url, email, "none")


@pytest.fixture
def browser(monkeypatch: pytest.MonkeyPatch, provider: OidcProvider) -> None:
    """A browser in which Ada logs in to whatever page is opened."""

    def opened(url: str) -> bool:
        def visit() -> None:
            asyncio.run(_through(url, "ada@example.org", provider))

        threading.Thread(target=visit).start()
        return True

    monkeypatch.setattr("webbrowser.open", opened)


async def _through(url: str, email: str, provider: OidcProvider) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        redirect = re.search(r"redirect_uri=(http%3A%2F%2F127\.0\.0\.1%3A\d+%2Fcallback)", url)
        assert redirect is not None
        back = await browse(session, url, email, redirect[1].replace("%3A", ":").replace("%2F", "/"))
        async with session.get(back) as answer:
            assert "has your answer" in await answer.text()


def test_p5_the_terminal_shows_a_code_that_a_browser_confirms(provider: OidcProvider, logins: Path, own_home: Path) -> None:
    """The whole way through the command line; then it is said who is logged in, and nobody is after the logout."""
    environment = os.environ | {
        "ARRAYLAKE_LOGIN__ISSUER": provider.issuer,
        "ARRAYLAKE_LOGIN__CLIENT_ID": provider.client_id,
        "ARRAYLAKE_LOGIN__DIR": str(logins),
        "ARRAYLAKE_LOGIN__STORE": "file",
    }

    def command(*words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "arraylake_core.cli", *words],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    with command("auth", "login") as login:
        assert login.stderr is not None
        link = next(line.strip() for line in login.stderr if line.strip().startswith("http"))
        asyncio.run(_confirm(link, "ada@example.org"))
        said = login.stderr.read()
    assert login.returncode == 0, said
    assert "as 'ada@example.org'" in said
    with command("auth", "status", "--output", "json") as status:
        assert status.stdout is not None
        found = json.load(status.stdout)
    assert (found["logged_in"], found["email"], found["issuer"]) == (True, "ada@example.org", provider.issuer)
    (file,) = logins.glob("*.json")
    kept = json.loads(file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    with command("auth", "logout") as logout:
        assert logout.wait() == 0
    assert list(logins.glob("*.json")) == []
    # The provider has forgotten it too.
    with pytest.raises(AuthenticationError, match="the login has ended"):
        asyncio.run(_renew(kept))


async def _renew(kept: dict[str, object]) -> None:
    from arraylake_core.login.provider import LoginSettings
    from arraylake_core.login.tokens import TokenSet

    settings = LoginSettings(issuer=str(kept["issuer"]), client_id=str(kept["client_id"]))
    token = Secret(str(kept["refresh_token"]))
    await refreshed(TokenSet(settings=settings, id_token=Secret("x"), refresh_token=token, expires=0))


@pytest.mark.usefixtures("browser")
async def test_p6_a_browser_logs_in_on_a_loopback_redirect(provider: OidcProvider, capsys: pytest.CaptureFixture[str]) -> None:
    async with AsyncClient("memory://") as client:
        await client.login(browser=True)
        found = await client.login_status()
        assert found is not None
        assert (found.email, found.settings.issuer) == ("ada@example.org", provider.issuer)
        token = await client.login_token()
        assert token is not None
        said = capsys.readouterr()
        assert token.reveal() not in said.err + said.out
        assert "code_challenge_method=S256" in said.err
        await client.logout()
        assert await client.login_status() is None


def _logged_in(provider: OidcProvider, *, due: bool) -> Account:
    """Log in without a person, and keep it; due, as if it had been some time ago."""
    from arraylake_core.login.provider import LoginSettings
    from arraylake_core.login.tokens import TokenSet

    answer = provider.tokens("ada@example.org")
    tokens = TokenSet(
        settings=LoginSettings(issuer=provider.issuer, client_id=provider.client_id),
        id_token=Secret(str(answer["id_token"])),
        refresh_token=Secret(str(answer["refresh_token"])),
        expires=time.time() + (30 if due else 3600),
        email="ada@example.org",
    )
    kept_login(SERVICE).write(tokens)
    return Account(SERVICE)


def _take_token(_: int) -> str:
    token = asyncio.run(Account(SERVICE).token())
    assert token is not None
    return token.reveal()


_WAITING = """
import asyncio, sys
from arraylake_core import config
from arraylake_core.login.account import Account
config.set({"login.dir": sys.argv[1], "login.store": "file"})
print("ready", flush=True)
sys.stdin.readline()
print(asyncio.run(Account(sys.argv[2]).token()).reveal())
"""


def test_p7_twenty_processes_at_expiry_make_one_call(oidc_provider: OidcProvider, logins: Path) -> None:
    _logged_in(oidc_provider, due=True)
    before = oidc_provider.counts()["/token"]
    command = [sys.executable, "-c", _WAITING, str(logins), SERVICE]
    with ExitStack() as running:
        workers = [
            running.enter_context(subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(20)
        ]
        # They wait for one another, so that all of them find the token at its end.
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            assert worker.stdin is not None
            worker.stdin.write("go\n")
            worker.stdin.flush()
        found = [worker.communicate(timeout=120)[0].strip() for worker in workers]
    assert oidc_provider.counts()["/token"] == before + 1
    kept = kept_login(SERVICE).read()
    assert kept is not None
    assert set(found) == {kept.id_token.reveal()}


async def test_p7_many_tasks_and_threads_make_one_call(oidc_provider: OidcProvider, logins: Path) -> None:
    account = _logged_in(oidc_provider, due=True)
    before = oidc_provider.counts()["/token"]
    tokens = await asyncio.gather(*(account.token() for _ in range(20)), *(asyncio.to_thread(_take_token, n) for n in range(4)))
    assert oidc_provider.counts()["/token"] == before + 1
    assert len({token if isinstance(token, str) else token.reveal() for token in tokens if token}) == 1


async def test_p7_a_token_that_the_service_refuses_is_renewed_before_its_end(oidc_provider: OidcProvider, logins: Path) -> None:
    account = _logged_in(oidc_provider, due=False)
    before = oidc_provider.counts()["/token"]
    first = await account.token()
    assert await account.token() == first
    assert oidc_provider.counts()["/token"] == before
    assert await account.token(unlike=first) is not None
    assert oidc_provider.counts()["/token"] == before + 1


async def test_p6_a_refresh_token_that_was_used_elsewhere_ends_the_login(oidc_provider: OidcProvider, logins: Path) -> None:
    """Rotation: the provider takes the second use of a refresh token for a theft."""
    account = _logged_in(oidc_provider, due=True)
    stolen = kept_login(SERVICE).read()
    assert stolen is not None
    await refreshed(stolen)
    # What still holds is used to its end; a token that the service refuses can't be renewed.
    held = await account.token()
    assert held is not None
    with pytest.raises(AuthenticationError, match="used elsewhere.*stolen.*log in again"):
        await account.token(unlike=held)
    assert kept_login(SERVICE).read() == stolen


_KILLED = """
import sys
from arraylake_core import config
from arraylake_core.login.provider import LoginSettings
from arraylake_core.login.storage import kept_login
from arraylake_core.login.tokens import TokenSet
from arraylake_core.secret import Secret
config.set({"login.dir": sys.argv[1], "login.store": "file"})
kept = kept_login(sys.argv[2])
print("ready", flush=True)
number = 0
while True:
    number += 1
    settings = LoginSettings(issuer="https://login.example.org", client_id="cli")
    kept.write(TokenSet(settings=settings, id_token=Secret(str(number) * 2000), expires=float(number)))
"""


def test_p7_a_killed_writer_leaves_a_valid_file(logins: Path) -> None:
    for _ in range(5):
        with subprocess.Popen([sys.executable, "-c", _KILLED, str(logins), SERVICE], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            while not list(logins.glob("*.json")):
                pass
            writer.send_signal(signal.SIGKILL)
        found = kept_login(SERVICE).read()
        assert found is not None
        assert found.id_token.reveal() == str(int(found.expires)) * 2000
    # Nor do tokens stay behind in what was being written.
    kept_login(SERVICE).write(found)
    assert [path.suffix for path in logins.iterdir()] == [".json"]
    kept_login(SERVICE).delete()
    assert list(logins.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"CANARY", b'{"version": 1}', b"\xff\xfe", b'{"version": 2, "service": "CANARY"}'])
async def test_a_damaged_login_is_said_to_be_and_left(content: bytes, oidc_provider: OidcProvider, logins: Path) -> None:
    account = _logged_in(oidc_provider, due=False)
    kept = kept_login(SERVICE)
    kept.path.write_bytes(content)
    with pytest.raises(AuthenticationError, match="damaged.*log in again") as caught:
        await account.token(unlike=Secret("x"))
    assert "CANARY" not in str(caught.value)
    assert kept.path.read_bytes() == content
    assert await account.logout() == (True, False)
    assert kept.read() is None


async def test_p7_a_login_that_others_can_read_is_not_used(oidc_provider: OidcProvider, logins: Path) -> None:
    _logged_in(oidc_provider, due=False)
    kept = kept_login(SERVICE)
    kept.path.chmod(0o644)
    with pytest.raises(AuthenticationError, match="read by others"):
        await Account(SERVICE).token()
    kept.path.chmod(0o600)
    real = kept.path.rename(logins / "elsewhere")
    kept.path.symlink_to(real)
    with pytest.raises(AuthenticationError, match="can't be read"):
        await Account(SERVICE).token()


async def test_a_login_of_another_service_is_not_used(oidc_provider: OidcProvider, logins: Path) -> None:
    _logged_in(oidc_provider, due=False)
    other = kept_login("https://other.example.org")
    other.path.write_bytes(kept_login(SERVICE).path.read_bytes())
    other.path.chmod(0o600)
    with pytest.raises(AuthenticationError, match="of another service"):
        await Account("https://other.example.org").token()


def test_an_embedded_catalog_without_a_provider_says_that_there_is_nothing_to_do(
    logins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Client("memory://") as client:
        client.login()
        client.logout()
    assert capsys.readouterr().err.count("there is nothing to") == 2
