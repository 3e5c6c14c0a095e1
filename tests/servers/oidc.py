"""A real OpenID provider: the certified oidc-provider of npm."""

import base64
import hashlib
import json
import re
import secrets
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, urljoin, urlsplit

import aiohttp

from arraylake_core.loops import run
from tests.servers.npm import npm_package

__all__ = ["OidcProvider", "running_oidc_provider"]

VERSION = "9.13.3"
_SCRIPT = Path(__file__).with_name("oidc_provider.mjs")
_READY_SECONDS = 60
_ACTION = re.compile(r'action="([^"]+)"')
_HIDDEN = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)"')


class OidcProvider(NamedTuple):
    """A running provider, its public client, and the client of a service with its secret."""

    issuer: str
    client_id: str = "cli"
    robot: tuple[str, str] = ("robot", "CANARY-robot-secret")

    def counts(self) -> dict[str, int]:
        """Return how often each path was asked for."""
        with urllib.request.urlopen(f"{self.issuer}/counts", timeout=10) as answer:
            return dict(json.load(answer))

    def id_token(self, email: str) -> str:
        """Return the id_token of a person who logs in with the browser."""
        return str(self.tokens(email)["id_token"])

    def tokens(self, email: str) -> dict[str, object]:
        """Return all that the token endpoint gives to a person who logs in with the browser."""
        return run(self._login(email))

    async def _login(self, email: str) -> dict[str, object]:
        verifier, redirect = secrets.token_urlsafe(40), "http://127.0.0.1:1/callback"
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": self.client_id,
            "redirect_uri": redirect,
            "response_type": "code",
            "scope": "openid email profile offline_access",
            "prompt": "consent",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            url = await browse(session, f"{self.issuer}/auth", email, redirect, asked)
            code = parse_qs(urlsplit(url).query)["code"][0]
            form = {
                "grant_type": "authorization_code",
                "client_id": self.client_id,
                "code": code,
                "redirect_uri": redirect,
                "code_verifier": verifier,
            }
            async with session.post(f"{self.issuer}/token", data=form) as answer:
                assert answer.status == 200, await answer.text()
                return dict(await answer.json())


async def browse(session: aiohttp.ClientSession, url: str, email: str, until: str, query: dict[str, str] | None = None) -> str:
    """Do in a session what a person does in the browser: log in, consent, follow; return the URL that it is led to at the end.

    Parameters
    ----------
    session
        Its cookies.
    url, query
        Where to begin.
    email
        Who logs in.
    until
        How the last URL begins, which is not called.
    """
    form: dict[str, str] | None = None
    for _ in range(12):
        method = "POST" if form is not None else "GET"
        async with session.request(method, url, params=query, data=form, allow_redirects=False) as answer:
            query, form = None, None
            if answer.status in (302, 303):
                url = urljoin(url, answer.headers["location"])
                if url.startswith(until):
                    return url
                continue
            page = await answer.text()
        assert answer.status == 200, page
        found = _ACTION.search(page)
        if found is None:
            return url
        form = dict(_HIDDEN.findall(page))
        if form.get("prompt") == "login":
            form |= {"login": email, "password": "any"}
        url = urljoin(url, found[1])
    raise AssertionError(f"the browser is led around in circles, last to {url}")


@contextmanager
def running_oidc_provider(*, id_token_seconds: int = 3600, device_code_seconds: int = 600) -> Iterator[OidcProvider]:
    """Start a provider, and end it."""
    place = npm_package("oidc-provider", VERSION)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    issuer = f"http://127.0.0.1:{port}"
    # Modules are looked for beside the script that asks for them.
    script = Path(shutil.copy(_SCRIPT, place / f"provider-{port}.mjs"))
    settings = {"issuer": issuer, "port": port, "idTokenSeconds": id_token_seconds, "deviceCodeSeconds": device_code_seconds}
    log = place / f"provider-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(["node", str(script), json.dumps(settings)], stdout=output, stderr=output, cwd=place)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while b"ready" not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the OpenID provider did not start: {log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield OidcProvider(issuer)
    finally:
        process.kill()
        process.wait()
        script.unlink(missing_ok=True)
        log.unlink(missing_ok=True)
