"""Microsoft Entra's token endpoint."""

import re
from datetime import datetime, timedelta
from typing import NamedTuple

from arraylake_core import config
from arraylake_core.backends.exchange.http import post_form
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.models import utc_now
from arraylake_core.secret import Secret

__all__ = ["AzureToken", "client_assertion_token", "client_secret_token", "token_endpoint"]

_STORAGE = "https://storage.azure.com/.default"
_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_TENANT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?\Z", re.ASCII)


class AzureToken(NamedTuple):
    """An access token for Azure Storage, and its end."""

    token: Secret
    expiration: datetime


def token_endpoint(tenant: str) -> str:
    """Return the token endpoint of a tenant.

    Examples
    --------
    >>> token_endpoint("contoso.onmicrosoft.com")
    'https://login.microsoftonline.com/contoso.onmicrosoft.com/oauth2/v2.0/token'
    """
    if not _TENANT.match(tenant) or ".." in tenant:
        raise InvalidOptionError("tenant_id is wrong: give the directory's id (a UUID) or one of its domain names")
    endpoint = config.get_str("delegation.azure.login_endpoint") or "https://login.microsoftonline.com"
    return f"{endpoint.rstrip('/')}/{tenant}/oauth2/v2.0/token"


async def client_assertion_token(tenant: str, client_id: str, assertion: Secret) -> AzureToken:
    """Exchange an OIDC token that an application trusts (workload identity federation) for one of Azure Storage.

    Parameters
    ----------
    tenant
        The directory.
    client_id
        The application.
    assertion
        The id_token, whose issuer, subject and audience are a federated credential of the application.

    Notes
    -----
    https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow, third case; RFC 7523.
    """
    return await _granted(tenant, client_id, {"client_assertion_type": _ASSERTION, "client_assertion": assertion.reveal()})


async def client_secret_token(tenant: str, client_id: str, secret: Secret) -> AzureToken:
    """Return a token of Azure Storage for an application that has a secret.

    Parameters
    ----------
    tenant, client_id, secret
        The directory, the application, and its secret.
    """
    return await _granted(tenant, client_id, {"client_secret": secret.reveal()})


async def _granted(tenant: str, client_id: str, proof: dict[str, str]) -> AzureToken:
    form = {"grant_type": "client_credentials", "client_id": client_id, "scope": _STORAGE, **proof}
    answer = await post_form(token_endpoint(tenant), form, what="Microsoft Entra")
    token, seconds = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(token, str) or not isinstance(seconds, int | float):
        raise CredentialsError("Microsoft Entra answered without a token: check its endpoint")
    return AzureToken(Secret(token), utc_now() + timedelta(seconds=seconds))
