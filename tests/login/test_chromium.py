"""A person logs in by a real browser, with a certified provider, from the command line: nothing on the way is ours but the client."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.chromium import Browser
from tests.servers.oidc import OidcProvider


def test_p6_a_person_logs_in_by_chromium(oidc_provider: OidcProvider, chromium: Browser, own_home: Path) -> None:
    environment = os.environ | {
        "ARRAYLAKE_LOGIN__ISSUER": oidc_provider.issuer,
        "ARRAYLAKE_LOGIN__CLIENT_ID": oidc_provider.client_id,
        "ARRAYLAKE_LOGIN__DIR": str(own_home / "logins"),
        "ARRAYLAKE_LOGIN__STORE": "file",
        "BROWSER": str(chromium.command("grace@example.org")),
    }

    def command(*words: str) -> "subprocess.CompletedProcess[str]":
        line = [sys.executable, "-m", "arraylake_core.cli", "auth", *words]
        try:
            return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=90, check=False)
        except subprocess.TimeoutExpired as error:
            pytest.fail(f"{words}: {error.stderr!r}; the browser: {chromium.errors.read_text()}")

    done = command("login", "--browser")
    assert done.returncode == 0, done.stderr + chromium.errors.read_text()
    assert "as 'grace@example.org'" in done.stderr
    assert "has your answer" in json.loads(chromium.seen.read_text())["text"]
    status = json.loads(command("status", "--output", "json").stdout)
    assert (status["email"], status["can_be_renewed"]) == ("grace@example.org", True)
    token = command("token")
    assert token.stdout.count(".") == 2
    assert token.stdout.strip() not in done.stderr + done.stdout + chromium.seen.read_text()
