"""Logins of programs: client credentials (RFC 6749, 4.4), had without a person and without a browser."""

import base64
import time
from functools import lru_cache
from pathlib import Path
from typing import override
from urllib.parse import quote

from arraylake_core import config
from arraylake_core.errors import AuthenticationError, InvalidOptionError
from arraylake_core.login.account import Account
from arraylake_core.login.endpoint import ask_endpoint
from arraylake_core.login.provider import LoginSettings, Provider, discovered
from arraylake_core.login.storage import Kept
from arraylake_core.login.tokens import TokenSet
from arraylake_core.secret import Secret

__all__ = ["client_secret", "robot_token"]

_SECONDS = 300
"""How long a token is taken to hold whose provider does not say."""


class RobotAccount(Account):
    """The login of a program: there is nothing to renew, as a new one can be had at any time."""

    def __init__(self, settings: LoginSettings, secret: Secret) -> None:
        super().__init__(f"{settings.issuer}#{settings.client_id}")
        self._settings = settings
        self._secret = secret

    @override
    def _needs(self, found: TokenSet | None, unlike: Secret | None) -> bool:
        return found is None or found.must_renew(unlike)

    @override
    async def _renewal(self, found: TokenSet | None, kept: Kept) -> TokenSet:
        return await by_client_credentials(self._settings, await discovered(self._settings.issuer), self._secret)


async def robot_token(settings: LoginSettings, secret: Secret) -> Secret:
    """Return the access token of a program, which all its processes share until its end.

    Raises
    ------
    AuthenticationError
        The provider does not know the client, or not this secret.
    """
    token = await _account(settings, secret).token()
    assert token is not None
    return token


@lru_cache(maxsize=16)
def _account(settings: LoginSettings, secret: Secret) -> RobotAccount:
    return RobotAccount(settings, secret)


async def by_client_credentials(settings: LoginSettings, provider: Provider, secret: Secret) -> TokenSet:
    """Log in as a program.

    Parameters
    ----------
    settings, provider
        With whom, as which client.
    secret
        The client's.

    Raises
    ------
    AuthenticationError
        The provider does not know the client, or not this secret.
    """
    form: dict[str, str | Secret] = {"grant_type": "client_credentials"}
    audience = config.get_str("login.audience")
    if audience is not None:
        # RFC 8707's name, and that of providers which are older.
        form |= {"resource": audience, "audience": audience}
    scopes = config.get_str("login.scopes")
    if scopes is not None:
        form["scope"] = scopes
    authorization = None
    if "client_secret_basic" in provider.token_endpoint_auth_methods_supported:
        authorization = _basic(settings.client_id, secret)
    else:
        form |= {"client_id": settings.client_id, "client_secret": secret}
    what = f"the identity provider {provider.issuer}"
    answer = await ask_endpoint(provider.token_endpoint, form, what, authorization=authorization)
    if answer.error in ("invalid_client", "unauthorized_client"):
        raise AuthenticationError(
            f"{what} does not let the client {settings.client_id!r} in ({answer.error}): check login.client_id and login.client_secret, and that "
            "the client is allowed client credentials"
        )
    if answer.error is not None:
        raise AuthenticationError(f"{what} refused the login ({answer.error}): check login.scopes and login.audience")
    token, now = answer.secret("access_token"), time.time()
    if token is None:
        raise AuthenticationError(f"{what} gave no access token: check that the client is allowed client credentials")
    return TokenSet(settings=settings, id_token=token, expires=now + (answer.number("expires_in") or _SECONDS), had=now)


def client_secret() -> Secret | None:
    """Return the secret of the settings, or of the file that they name; None where people log in.

    Raises
    ------
    InvalidOptionError
        The file can't be read, or is empty.
    """
    text, name = config.get_str("login.client_secret"), config.get_str("login.client_secret_file")
    if text is not None or name is None:
        return Secret(text) if text else None
    try:
        found = Secret(Path(name).expanduser().read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidOptionError(
            f"the file of the setting login.client_secret_file can't be read ({type(error).__name__}): check its name and its rights"
        ) from None
    if not found:
        raise InvalidOptionError("the file of the setting login.client_secret_file is empty: write the client's secret into it")
    return found


def _basic(client_id: str, secret: Secret) -> Secret:
    pair = f"{quote(client_id, safe='')}:{quote(secret.reveal(), safe='')}"
    return Secret("Basic " + base64.b64encode(pair.encode()).decode())
