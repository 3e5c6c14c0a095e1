"""Google's token services: federation, impersonation and downscoping."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import msgspec

from arraylake_core import config
from arraylake_core.backends.exchange.http import post_form, post_json
from arraylake_core.backends.scope import gcs_access_boundary
from arraylake_core.errors import CredentialsError
from arraylake_core.models import as_utc, utc_now
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from arraylake_core.backends.credentials import Access
    from arraylake_core.backends.storage import Location

__all__ = ["GoogleToken", "downscoped_token", "federated_token", "impersonated_token", "jwt_bearer_token"]

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
_ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105 - the name of a kind of token
_ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105


class GoogleToken(NamedTuple):
    """An access token of Google, and its end."""

    token: Secret
    expiration: datetime


async def federated_token(token: Secret, audience: str) -> GoogleToken:
    """Exchange an OIDC token for a federated access token (RFC 8693).

    Parameters
    ----------
    token
        The id_token.
    audience
        The provider of a workload or workforce identity pool: ``//iam.googleapis.com/projects/…/providers/…``.

    Raises
    ------
    CredentialsError
        Google refused it.

    Notes
    -----
    https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token
    """
    form = {
        "grant_type": _EXCHANGE,
        "audience": audience,
        "scope": _SCOPE,
        "requested_token_type": _ACCESS_TOKEN,
        "subject_token": token.reveal(),
        "subject_token_type": _ID_TOKEN,
    }
    return _token(await post_form(_sts(), form, what="Google's STS"), timedelta(hours=1))


async def jwt_bearer_token(endpoint: str, assertion: Secret) -> GoogleToken:
    """Return the access token of who signed an assertion (RFC 7523).

    Parameters
    ----------
    endpoint
        The token endpoint, which is the assertion's audience.
    assertion
        The signed JWT.
    """
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion.reveal()}
    return _token(await post_form(endpoint, form, what="Google's token endpoint"), timedelta(hours=1))


async def impersonated_token(token: GoogleToken, account: str, *, seconds: int = 3600) -> GoogleToken:
    """Return an access token of a service account, for whoever may create such.

    Parameters
    ----------
    token
        Whose right it is.
    account
        The e-mail address of the service account.
    seconds
        The lifetime.
    """
    endpoint = config.get_str("delegation.google.iam_endpoint") or "https://iamcredentials.googleapis.com"
    url = f"{endpoint.rstrip('/')}/v1/projects/-/serviceAccounts/{quote(account, safe='@')}:generateAccessToken"
    answer = await post_json(
        url, {"scope": [_SCOPE], "lifetime": f"{seconds}s"}, what="Google's IAM Credentials API", bearer=token.token
    )
    try:
        return GoogleToken(Secret(str(answer["accessToken"])), as_utc(datetime.fromisoformat(str(answer["expireTime"]))))
    except (KeyError, ValueError):
        raise CredentialsError("Google's IAM Credentials API answered without a token: check its endpoint") from None


async def downscoped_token(token: GoogleToken, location: "Location", access: "Access") -> GoogleToken:
    """Return the same token limited to a location, and to reading or writing, by a Credential Access Boundary.

    Parameters
    ----------
    token
        The token to limit.
    location
        What may be reached.
    access
        To read, or to write too.
    """
    form = {
        "grant_type": _EXCHANGE,
        "requested_token_type": _ACCESS_TOKEN,
        "subject_token": token.token.reveal(),
        "subject_token_type": _ACCESS_TOKEN,
        "options": msgspec.json.encode(gcs_access_boundary(location, access)).decode(),
    }
    # Where the answer names no end, it is that of the token that was limited.
    found = _token(await post_form(_sts(), form, what="Google's STS"), token.expiration - utc_now())
    return found._replace(expiration=min(found.expiration, token.expiration))


def _sts() -> str:
    endpoint = config.get_str("delegation.google.sts_endpoint") or "https://sts.googleapis.com"
    return f"{endpoint.rstrip('/')}/v1/token"


def _token(answer: Mapping[str, object], otherwise: timedelta) -> GoogleToken:
    token, seconds = answer.get("access_token"), answer.get("expires_in")
    if not isinstance(token, str):
        raise CredentialsError("Google's STS answered without a token: check its endpoint")
    lifetime = timedelta(seconds=seconds) if isinstance(seconds, int | float) else otherwise
    return GoogleToken(Secret(token), utc_now() + lifetime)
