"""Which identity provider a service trusts, and where its endpoints are."""

import ipaddress
from urllib.parse import urlsplit

import msgspec

from arraylake_core import config
from arraylake_core.backends.exchange.http import get_json
from arraylake_core.errors import AuthenticationError, CredentialsError

__all__ = ["LoginSettings", "Provider", "discovered", "login_settings"]

_PKCE = "S256"


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
    code_challenge_methods_supported: tuple[str, ...] = (_PKCE,)
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)

    def has_pkce(self) -> bool:
        """Tell whether it takes code challenges as SHA-256; those that do not say are taken to."""
        return _PKCE in self.code_challenge_methods_supported

    def endpoints(self) -> list[str]:
        """Return all the URLs that are called, or opened in a browser."""
        found = (
            self.token_endpoint,
            self.jwks_uri,
            self.authorization_endpoint,
            self.device_authorization_endpoint,
            self.revocation_endpoint,
        )
        return [url for url in found if url is not None]


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
    """Return the metadata of a provider, which must name itself exactly as it was asked for, and be called over TLS alone.

    Raises
    ------
    AuthenticationError
        It can't be reached, is no provider, or another one, or would send tokens readable by whoever is in between.
    """
    _require_tls(issuer, issuer)
    found = await _asked(f"{issuer.rstrip('/')}/.well-known/openid-configuration", f"the identity provider {issuer}")
    try:
        provider = msgspec.convert({name: value for name, value in found.items() if value is not None}, Provider)
    except msgspec.ValidationError as error:
        raise AuthenticationError(f"{issuer} is no OpenID provider that can be used: {error}") from None
    if provider.issuer != issuer:
        raise AuthenticationError(
            f"the identity provider at {issuer} calls itself something else: the service must name it exactly as it does itself"
        )
    for url in provider.endpoints():
        _require_tls(url, issuer)
    return provider


def _require_tls(url: str, issuer: str) -> None:
    """Refuse what would send tokens in clear: http is for this machine, or for a network that the settings say is trusted."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        parts, host = urlsplit(""), ""
    if not host or parts.scheme not in ("https", "http"):
        raise AuthenticationError(f"the identity provider {issuer} names an endpoint that is no https URL: nothing is sent to it")
    # Only a provider on this machine may name endpoints there: another could have tokens sent to whatever listens here.
    local = _is_loopback(host) and _is_loopback(urlsplit(issuer).hostname or "")
    if parts.scheme == "http" and not local and not config.get_bool("service.allow_http"):
        raise AuthenticationError(
            f"the identity provider {issuer} would be sent tokens by http, readable by whoever is in between: it must have https endpoints; in a "
            "network that you trust, set service.allow_http (ARRAYLAKE_SERVICE__ALLOW_HTTP) to true"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _asked(url: str, what: str) -> dict[str, object]:
    try:
        return await get_json(url, what=what)
    except CredentialsError as error:
        raise AuthenticationError(str(error)) from None
