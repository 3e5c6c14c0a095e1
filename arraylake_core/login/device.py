"""The device authorization grant: a code in the terminal, which is typed into a browser anywhere (RFC 8628)."""

import asyncio
import time
from collections.abc import Callable

import msgspec

from arraylake_core.errors import AuthenticationError
from arraylake_core.login.endpoint import EndpointAnswer, ask_endpoint
from arraylake_core.login.provider import LoginSettings, Provider
from arraylake_core.login.tokens import TokenSet, accepted, signing_keys
from arraylake_core.secret import Secret

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
    """What the provider gives for the person; the code for the program is apart from it, and is never shown.

    Parameters
    ----------
    user_code, verification_uri
        What to type in, and where.
    verification_uri_complete
        The same as one link.
    expires_in, interval
        In seconds: how long it holds, and how long to wait between questions.
    """

    user_code: str
    verification_uri: str
    verification_uri_complete: str | None = None
    expires_in: float
    interval: float = 5


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
    keys = await signing_keys(provider)
    what = f"the identity provider {provider.issuer}"
    asked = {"client_id": settings.client_id, "scope": settings.scopes}
    answer = await ask_endpoint(provider.device_authorization_endpoint, asked, what)
    if answer.error is not None:
        raise AuthenticationError(f"{what} gives no code to log in with ({answer.error}): try the browser, login(browser=True)")
    secret = answer.secret("device_code")
    try:
        code = answer.read_as(DeviceCode)
    except msgspec.ValidationError as problem:
        raise AuthenticationError(f"{what} gave a code in a form that is unknown here: {problem}") from None
    if secret is None:
        raise AuthenticationError(f"{what} gave a code in a form that is unknown here: it has no device_code")
    show(code)
    return await accepted(await _confirmed(code, secret, settings, provider, what), settings, provider, keys)


async def _confirmed(code: DeviceCode, secret: Secret, settings: LoginSettings, provider: Provider, what: str) -> EndpointAnswer:
    """Ask until the person has confirmed the code; a lost answer makes it ask more slowly, and ends nothing (RFC 8628, 3.5)."""
    deadline = time.monotonic() + min(code.expires_in, _LONGEST)
    interval = max(code.interval, 0.1)
    form: dict[str, str | Secret] = {"grant_type": _GRANT, "client_id": settings.client_id, "device_code": secret}
    lost: str | None = None
    while time.monotonic() + interval < deadline:
        await asyncio.sleep(interval)
        try:
            answer = await ask_endpoint(provider.token_endpoint, form, what)
        except AuthenticationError as error:
            lost = str(error)
            interval *= 2
            continue
        lost = None
        if answer.error is None:
            return answer
        if answer.error in _FINAL:
            raise AuthenticationError(_FINAL[answer.error])
        if answer.error == "slow_down":
            interval += _SLOWER
        elif answer.status >= 500:
            lost = f"{what} is out of order ({answer.error}): log in again"
            interval *= 2
        elif answer.error != "authorization_pending":
            raise AuthenticationError(f"{what} refused the login ({answer.error}): log in again")
    raise AuthenticationError(lost or _FINAL["expired_token"])
