"""Which identity provider a service trusts, and where its endpoints are."""

from collections.abc import Mapping

import msgspec

from arraylake_core.backends.exchange.http import get_json, post_raw
from arraylake_core.errors import AuthenticationError, CredentialsError

__all__ = ["LoginSettings", "Provider", "ask_token_endpoint", "discovered", "login_settings"]

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz_")


class LoginSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a service says of how to log in to it.

    Parameters
    ----------
    issuer
        The OpenID provider.
    client_id
        The public client that stands for users of the service.
    scopes
        What is asked for.
    """

    issuer: str
    client_id: str
    scopes: str = "openid email profile offline_access"


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of an OpenID provider (OpenID Connect Discovery 1.0, RFC 8414)."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    authorization_endpoint: str | None = None
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    authorization_response_iss_parameter_supported: bool = False


async def login_settings(service: str, org: str | None = None) -> LoginSettings:
    """Ask a service how to log in to it, or to one of its organizations.

    Raises
    ------
    AuthenticationError
        It takes API tokens only, or the organization has no provider.
    """
    from urllib.parse import quote

    query = f"&org={quote(org, safe='')}" if org else ""
    found = await _asked(f"{service}/auth/config?target=client{query}", f"the service {service}")
    if not found.get("issuer") or not found.get("client_id"):
        whose = f"the organization {org!r}" if org else "the service"
        raise AuthenticationError(
            f"{whose} has no identity provider to log in with: ask its operator for an API token, and give it with Client(token=...) or "
            "ARRAYLAKE_TOKEN"
        )
    try:
        return msgspec.convert({name: value for name, value in found.items() if value is not None}, LoginSettings)
    except msgspec.ValidationError as error:
        raise AuthenticationError(f"the service {service} says how to log in in a form that is unknown here: {error}") from None


async def discovered(issuer: str) -> Provider:
    """Return the metadata of a provider, which must name itself exactly as it was asked for.

    Raises
    ------
    AuthenticationError
        It can't be reached, is no provider, or another one.
    """
    found = await _asked(f"{issuer.rstrip('/')}/.well-known/openid-configuration", f"the identity provider {issuer}")
    try:
        provider = msgspec.convert(found, Provider)
    except msgspec.ValidationError as error:
        raise AuthenticationError(f"{issuer} is no OpenID provider that can be used: {error}") from None
    if provider.issuer != issuer:
        raise AuthenticationError(
            f"the identity provider at {issuer} calls itself something else: the service must name it exactly as it does itself"
        )
    return provider


async def ask_token_endpoint(url: str, form: Mapping[str, str], what: str) -> tuple[str | None, dict[str, object]]:
    """Post to an endpoint of OAuth; return the error code, or None, and what it answered.

    Raises
    ------
    AuthenticationError
        It can't be reached, or answered no JSON object.
    """
    try:
        status, body = await post_raw(url, dict(form), what=what)
        found = msgspec.json.decode(body, type=dict[str, object]) if body else {}
    except CredentialsError as error:
        raise AuthenticationError(str(error)) from None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise AuthenticationError(f"{what} answered with something other than a JSON object: try again") from None
    if 200 <= status < 300:
        return None, found
    code = found.get("error")
    known = isinstance(code, str) and len(code) <= 64 and _ALLOWED.issuperset(code)
    return str(code) if known else f"status {status}", found


async def _asked(url: str, what: str) -> dict[str, object]:
    try:
        return await get_json(url, what=what)
    except CredentialsError as error:
        raise AuthenticationError(str(error)) from None
