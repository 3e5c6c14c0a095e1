"""The official client logs in with an identity provider through the service, renews its login, and logs out: its command line, unmodified."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from arraylake_core.loops import run
from tests.servers.oidc import OidcProvider, browse
from tests.service.official.conftest import PROGRAM
from tests.service.official.venvs import Official, official
from tests.service.test_serve import certificates

_LINK = re.compile(r"https?://\S*user_code=\S+")


@dataclass(frozen=True)
class OverTls:
    """A service over TLS on this machine, and an official client that trusts it."""

    client: Official
    environment: dict[str, str]
    home: Path

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [str(self.client.program), *words]
        return subprocess.Popen(
            command, env=self.environment, cwd=self.home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def command(self, *words: str) -> str:
        with self.start(*words) as process:
            said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said
        return said


@pytest.fixture
def over_tls(tmp_path: Path, oidc_provider: OidcProvider) -> Iterator[OverTls]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    certificate, key, authority = certificates(tmp_path)
    issuer = {"issuer": oidc_provider.issuer, "client_id": oidc_provider.client_id, "roles": {"lake-admins": {"acme": "admin"}}}
    settings = {
        "ARRAYLAKE_SERVICE__ISSUERS": json.dumps([issuer]),
        "ARRAYLAKE_SERVICE__DOMAIN": f"127.0.0.1:{port}",
        "ARRAYLAKE_SERVICE__ALLOW_NETWORKS": '["127.0.0.0/8"]',
    }
    database = f"sqlite:///{tmp_path}/catalog.db"
    create = [PROGRAM, "admin", "create-org", "acme", "--admin-email", "ada@example.org", "--database", database]
    subprocess.run(create, check=True, capture_output=True, timeout=60)
    serve = [PROGRAM, "serve", "--database", database, "--port", str(port), "--tls-certificate", certificate, "--tls-key", key]
    log = tmp_path / "log"
    with log.open("w") as output:
        process = subprocess.Popen(serve, env=os.environ | settings, stdout=subprocess.PIPE, stderr=output, text=True)
    try:
        line = process.stdout.readline().strip()
        assert line == f"Listening on https://127.0.0.1:{port}", log.read_text()
        kept = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
        own = {
            "ARRAYLAKE_SERVICE__URI": f"https://127.0.0.1:{port}",
            "SSL_CERT_FILE": authority,
            "HOME": str(tmp_path),
            "COLUMNS": "300",
            "PYTHONUNBUFFERED": "1",
        }
        yield OverTls(official("1.7.0"), kept | own, tmp_path)
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


async def _confirm(link: str) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        await browse(session, link, "admin-grace@example.org", "nowhere:")


def test_an_official_client_logs_in_through_the_service(over_tls: OverTls) -> None:
    with over_tls.start("auth", "login", "--no-browser") as process:
        said = ""
        while (link := _LINK.search(said)) is None:
            line = process.stdout.readline()
            assert line, said
            said += line
        run(_confirm(link[0]))
        rest, _ = process.communicate(timeout=120)
    assert process.returncode == 0, said + rest
    assert "Successfully logged in" in rest, said + rest
    assert "admin-grace@example.org" in rest
    assert "Could not update" not in rest
    assert "acme" in over_tls.command("org", "list")
    assert "Successfully refreshed" in over_tls.command("auth", "refresh")
    assert "Successfully logged out" in over_tls.command("auth", "logout")
    assert not list((over_tls.home / ".arraylake").rglob("*.json"))
