"""Logging in: what clients must know, and, for official ones, which ask the service itself, the way to the identity provider."""

from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode

import msgspec

from arraylake_core.backends.exchange.http import post_raw
from arraylake_core.errors import CredentialsError, InvalidOptionError, NotFoundError, ServiceError
from arraylake_core.service.call import Call
from arraylake_core.service.oidc.issuers import Issuer, issuer_for
from arraylake_core.service.table import Answer, Need, Route

__all__ = ["ROUTES"]

_GRANTS = ("urn:ietf:params:oauth:grant-type:device_code", "refresh_token")
_FIELDS = frozenset({"client_id", "scope", "grant_type", "device_code", "refresh_token", "audience"})


class LoginQuery(msgspec.Struct, kw_only=True):
    """Who asks, and for which organization."""

    target: str | None = None
    org: str | None = None


class LogoutQuery(msgspec.Struct, kw_only=True):
    """What official clients say on logout; nobody is sent anywhere by it."""

    client_id: str | None = None
    returnTo: str | None = None  # noqa: N815 - as they spell it


class LoginSettings(msgspec.Struct, kw_only=True):
    """How to log in; without an identity provider, all of it is null."""

    domain: str | None = None
    client_id: str | None = None
    issuer: str | None = None
    device_authorization_endpoint: str | None = None
    scopes: str | None = None


class RelayedAnswer(msgspec.Struct):
    """What the identity provider answered, as OAuth has it."""


async def login_settings(call: Call) -> LoginSettings:
    query = call.query
    assert isinstance(query, LoginQuery)
    issuer = issuer_for(call.services.logins.issuers, query.org)
    if issuer is None:
        return LoginSettings()
    provider = await call.services.logins.provider(issuer)
    return LoginSettings(
        domain=call.services.settings.domain,
        client_id=issuer.client_id,
        issuer=issuer.issuer,
        device_authorization_endpoint=provider.device_authorization_endpoint,
        scopes=issuer.scopes,
    )


async def relay_device_code(call: Call) -> Answer:
    issuer, form = _form(call)
    provider = await call.services.logins.provider(issuer)
    if provider.device_authorization_endpoint is None:
        raise NotFoundError("the identity provider gives no codes to log in with: log in with the browser")
    return await _relayed(provider.device_authorization_endpoint, form, _as_official_clients_need_it)


async def relay_token(call: Call) -> Answer:
    issuer, form = _form(call)
    if form.get("grant_type") not in _GRANTS:
        raise InvalidOptionError(
            "grant_type is that of a device code, or refresh_token: log in with the browser at the provider itself"
        )
    return await _relayed((await call.services.logins.provider(issuer)).token_endpoint, form)


async def relay_logout(call: Call) -> None:
    """Answer what official clients open after a logout; they have forgotten their tokens by then, and nothing is redirected."""


def _form(call: Call) -> tuple[Issuer, dict[str, str]]:
    """Return the form that an official client posts, and the provider that its client is of."""
    body = call.body
    try:
        pairs = parse_qsl((body if isinstance(body, bytes) else b"").decode("ascii"), strict_parsing=True, max_num_fields=20)
    except (ValueError, UnicodeDecodeError):
        raise InvalidOptionError("the body is a form, as in client_id=…&scope=…") from None
    form = dict(pairs)
    if len(form) != len(pairs) or form.keys() - _FIELDS:
        raise InvalidOptionError(f"the form has each of {', '.join(sorted(_FIELDS))} at most once, and nothing else")
    for issuer in call.services.logins.issuers:
        if issuer.client_id == form.get("client_id"):
            return issuer, form
    raise InvalidOptionError("client_id is none of this service's: ask /auth/config for it")


def _as_official_clients_need_it(found: dict[str, object]) -> dict[str, object]:
    """Return what a provider says of a device code, with what it may leave out (RFC 8628, 3.2), and official clients can't do without."""
    if "device_code" not in found:
        return found
    return {"interval": 5, "verification_uri_complete": found.get("verification_uri")} | found


async def _relayed(
    url: str, form: dict[str, str], completed: Callable[[dict[str, object]], dict[str, object]] = lambda found: found
) -> Answer:
    try:
        status, body = await post_raw(
            url,
            urlencode(form).encode(),
            what="the identity provider",
            headers={"content-type": "application/x-www-form-urlencoded"},
        )
        found = msgspec.json.decode(body, type=dict[str, object])
    except CredentialsError as error:
        raise ServiceError(str(error), 503) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ServiceError("the identity provider answered something other than JSON: try again", 503) from None
    return Answer(msgspec.Raw(msgspec.json.encode(completed(found))), status if status in (200, 400, 401, 403) else 503)


ROUTES = (
    Route("GET", "/auth/config", Need.Nothing, login_settings, "Show how to log in.", query=LoginQuery, answer=LoginSettings),
    Route(
        "POST",
        "/oauth/device/code",
        Need.Nothing,
        relay_device_code,
        "Pass a request for a device code on to the identity provider.",
        body=bytes,
        answer=RelayedAnswer,
        more=(400, 401, 403),
    ),
    Route(
        "POST",
        "/oauth/token",
        Need.Nothing,
        relay_token,
        "Pass a request for tokens on to the identity provider.",
        body=bytes,
        answer=RelayedAnswer,
        more=(400, 401, 403),
    ),
    Route("GET", "/v2/logout", Need.Nothing, relay_logout, "Answer after a logout.", query=LogoutQuery, status=204),
)
