"""A provider that does as the test says, and logins that are kept with it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from arraylake_core import config
from arraylake_core.login.account import account_of
from arraylake_core.login.provider import LoginSettings
from arraylake_core.login.storage import kept_login
from arraylake_core.login.tokens import TokenSet
from arraylake_core.secret import Secret
from tests.servers.bad_issuer import BadIssuer, bad_issuer

type Keep = Callable[..., TokenSet]


@pytest.fixture
def issuer(own_home: Path) -> Iterator[BadIssuer]:
    """A provider that does as the test says, named by the settings."""
    account_of.cache_clear()
    with bad_issuer() as found:
        settings = {
            "login.issuer": found.issuer,
            "login.client_id": "cli",
            "login.dir": str(own_home / "logins"),
            "login.store": "file",
        }
        with config.set(settings):
            yield found
    account_of.cache_clear()


@pytest.fixture
def keep(issuer: BadIssuer) -> Keep:
    """Keep a login with the provider, which ends in so many seconds."""

    def kept(seconds: float, *, had: float = 0) -> TokenSet:
        tokens = TokenSet(
            settings=LoginSettings(issuer=issuer.issuer, client_id="cli"),
            id_token=Secret("CANARY-id"),
            refresh_token=Secret("CANARY-first"),
            expires=time.time() + seconds,
            had=had,
            subject="ada",
        )
        kept_login(issuer.issuer).prepare()
        kept_login(issuer.issuer).write(tokens)
        return tokens

    return kept
