"""The device authorization grant: a code in the terminal, which is typed into a browser anywhere (RFC 8628)."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from arraylake_core.errors import AuthenticationError
from arraylake_core.login.provider import LoginSettings, Provider, ask_token_endpoint
from arraylake_core.login.tokens import TokenSet, accepted

__all__ = ["DeviceCode", "by_device"]

_GRANT = "urn:ietf:params:oauth:grant-type:device_code"
_SLOWER = 5
_LONGEST = 1800
_FINAL = {
    "access_denied": "the login was denied in the browser: nothing was changed; log in again, and permit it",
    "expired_token": "nobody confirmed the code in time: log in again",
    "invalid_grant": "the code is not valid any more: log in again",
}


class DeviceCode(msgspec.Struct, frozen=True, kw_only=True):
    """What the provider gives: a code for the person, and one for the program, which is never shown.

    Parameters
    ----------
    user_code, verification_uri
        What to type in, and where.
    verification_uri_complete
        The same as one link.
    expires_in, interval
        In seconds: how long it holds, and how long to wait between questions.
    """

    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float
    interval: float = 5

    def __repr__(self) -> str:
        return f"<device code {self.user_code}>"


async def by_device(settings: LoginSettings, provider: Provider, show: Callable[[DeviceCode], None]) -> TokenSet:
    """Log in by a code that a person confirms in a browser.

    Parameters
    ----------
    settings, provider
        With whom, as which client.
    show
        Shows the code and the link.

    Raises
    ------
    AuthenticationError
        It was denied, or nobody confirmed it in time.
    """
    assert provider.device_authorization_endpoint is not None
    what = f"the identity provider {provider.issuer}"
    asked = {"client_id": settings.client_id, "scope": settings.scopes}
    error, answer = await ask_token_endpoint(provider.device_authorization_endpoint, asked, what)
    if error is not None:
        raise AuthenticationError(f"{what} gives no code to log in with ({error}): try the browser, login(browser=True)")
    try:
        code = msgspec.convert(answer, DeviceCode)
    except msgspec.ValidationError as problem:
        raise AuthenticationError(f"{what} gave a code in a form that is unknown here: {problem}") from None
    show(code)
    deadline = time.monotonic() + min(code.expires_in, _LONGEST)
    interval = max(code.interval, 0.1)
    form = {"grant_type": _GRANT, "client_id": settings.client_id, "device_code": code.device_code}
    while time.monotonic() + interval < deadline:
        await asyncio.sleep(interval)
        error, answer = await ask_token_endpoint(provider.token_endpoint, form, what)
        if error is None:
            return await accepted(answer, settings, provider)
        if error == "slow_down":
            interval += _SLOWER
        elif error in _FINAL:
            raise AuthenticationError(_FINAL[error])
        elif error != "authorization_pending":
            raise AuthenticationError(f"{what} refused the login ({error}): log in again")
    raise AuthenticationError(_FINAL["expired_token"])
