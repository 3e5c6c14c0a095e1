"""The tokens of one login, and how they are had and renewed."""

import time
from collections.abc import Mapping

import msgspec

from arraylake_core.backends.exchange.http import get_json
from arraylake_core.errors import AuthenticationError, CredentialsError
from arraylake_core.login.provider import LoginSettings, Provider, ask_token_endpoint, discovered
from arraylake_core.login.verify import checked_claims, key_set
from arraylake_core.secret import Secret

__all__ = ["TokenSet", "accepted", "refreshed", "revoke"]

_EARLY = 60
"""Seconds before its end at which a token is renewed."""


class TokenSet(msgspec.Struct, frozen=True, kw_only=True):
    """What a login gave.

    Parameters
    ----------
    settings
        With which provider, as which client.
    id_token
        Who is logged in: the bearer token of requests to the service.
    refresh_token
        What gives new tokens, where the provider gave one.
    expires
        When the ID token ends, in seconds since 1970.
    email
        Who is logged in, for people to read.
    """

    settings: LoginSettings
    id_token: Secret
    refresh_token: Secret | None = None
    expires: float
    email: str = ""

    def is_due(self, now: float | None = None) -> bool:
        """Tell whether it is time to renew it."""
        return (time.time() if now is None else now) >= self.expires - _EARLY

    def has_ended(self) -> bool:
        """Tell whether the ID token is of no more use."""
        return time.time() >= self.expires


async def accepted(
    answer: Mapping[str, object],
    settings: LoginSettings,
    provider: Provider,
    *,
    nonce: str | None = None,
    before: TokenSet | None = None,
) -> TokenSet:
    """Check what a token endpoint answered, and return it.

    Parameters
    ----------
    answer
        The answer.
    settings, provider
        Who gave it, and to whom.
    nonce
        What its ID token must repeat.
    before
        The tokens that it renews; they must be of the same person.
    """
    token = answer.get("id_token")
    if not isinstance(token, str):
        raise AuthenticationError("the identity provider gave no ID token: its client must be allowed the scope 'openid'")
    try:
        keys = key_set(await get_json(provider.jwks_uri, what=f"the identity provider {provider.issuer}"))
    except CredentialsError as error:
        raise AuthenticationError(str(error)) from None
    claims = checked_claims(token, keys, issuer=provider.issuer, client_id=settings.client_id, nonce=nonce)
    email = claims.get("email")
    renewed = answer.get("refresh_token")
    kept = before.refresh_token if before is not None else None
    found = TokenSet(
        settings=settings,
        id_token=Secret(token),
        refresh_token=Secret(renewed) if isinstance(renewed, str) else kept,
        expires=_seconds(claims["exp"]),
        email=email if isinstance(email, str) else "",
    )
    if before is not None and before.email and found.email and before.email != found.email:
        raise AuthenticationError("the identity provider renewed the login as somebody else's: log in again")
    return found


async def refreshed(tokens: TokenSet) -> TokenSet:
    """Return new tokens for the same login.

    Raises
    ------
    AuthenticationError
        The login has ended; what it had is left as it is.
    """
    if tokens.refresh_token is None:
        raise AuthenticationError("the login has expired, and its provider gave nothing to renew it with: log in again")
    provider = await discovered(tokens.settings.issuer)
    form = {
        "grant_type": "refresh_token",
        "client_id": tokens.settings.client_id,
        "refresh_token": tokens.refresh_token.reveal(),
    }
    error, answer = await ask_token_endpoint(provider.token_endpoint, form, f"the identity provider {provider.issuer}")
    if error == "invalid_grant":
        raise AuthenticationError(
            "the login has ended: it was logged out, has expired, or its refresh token was used elsewhere, which may mean that it was stolen; "
            "log in again"
        )
    if error is not None:
        raise AuthenticationError(f"the identity provider {provider.issuer} did not renew the login ({error}): log in again")
    return await accepted(answer, tokens.settings, provider, before=tokens)


async def revoke(tokens: TokenSet) -> bool:
    """Have the provider forget a login (RFC 7009); tell whether it did."""
    provider = await discovered(tokens.settings.issuer)
    if tokens.refresh_token is None or provider.revocation_endpoint is None:
        return False
    form = {
        "client_id": tokens.settings.client_id,
        "token": tokens.refresh_token.reveal(),
        "token_type_hint": "refresh_token",
    }
    error, _ = await ask_token_endpoint(provider.revocation_endpoint, form, f"the identity provider {provider.issuer}")
    return error is None


def _seconds(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
