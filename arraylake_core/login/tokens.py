"""The tokens of one login, and how they are had and renewed."""

import time
from collections.abc import Awaitable, Callable

import msgspec
from msgspec.structs import replace

from arraylake_core.backends.exchange.http import get_json
from arraylake_core.errors import AuthenticationError, CredentialsError
from arraylake_core.login.endpoint import EndpointAnswer, ask_endpoint
from arraylake_core.login.provider import LoginSettings, Provider, discovered
from arraylake_core.login.verify import Keys, checked_claims, has_key, key_set, unverified_header
from arraylake_core.secret import Secret

__all__ = ["TokenSet", "accepted", "refreshed", "revoke", "signing_keys"]

_EARLY = 60
"""Seconds before its end at which a token is renewed; of a short life, its last fifth."""

_YOUNG = 10
"""Seconds for which a token that is refused is not renewed: another would be refused as well."""


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
    had
        When it was had, by this machine's clock.
    subject
        Who is logged in, as the provider knows them.
    email
        Who is logged in, for people to read.
    """

    settings: LoginSettings
    id_token: Secret
    refresh_token: Secret | None = None
    expires: float
    had: float = 0
    subject: str = ""
    email: str = ""

    def is_due(self, now: float | None = None) -> bool:
        """Tell whether it is time to renew it.

        Examples
        --------
        >>> settings = LoginSettings(issuer="https://login.example.org", client_id="lake")
        >>> tokens = TokenSet(settings=settings, id_token=Secret("x"), had=1000, expires=1020)
        >>> tokens.is_due(1010), tokens.is_due(1017)
        (False, True)
        """
        return (time.time() if now is None else now) >= self.expires - min(_EARLY, max(self.expires - self.had, 0) / 5)

    def has_ended(self) -> bool:
        """Tell whether the ID token is of no more use."""
        return time.time() >= self.expires

    def must_renew(self, refused: Secret | None) -> bool:
        """Tell whether it is of no use for long, or is what the service has refused, and not for the first seconds of its life."""
        return self.is_due() or (self.id_token == refused and abs(time.time() - self.had) >= _YOUNG)


async def signing_keys(provider: Provider) -> Keys:
    """Return the keys that a provider signs with. They are asked for before anything that can be had only once.

    Raises
    ------
    AuthenticationError
        It can't be reached, or has none.
    """
    try:
        return key_set(await get_json(provider.jwks_uri, what=f"the identity provider {provider.issuer}"))
    except CredentialsError as error:
        raise AuthenticationError(str(error)) from None


async def accepted(
    answer: EndpointAnswer,
    settings: LoginSettings,
    provider: Provider,
    keys: Keys,
    *,
    nonce: str | None = None,
    before: TokenSet | None = None,
) -> TokenSet:
    """Check what a token endpoint answered, and return it.

    Parameters
    ----------
    answer
        The answer.
    settings, provider, keys
        Who gave it, and to whom.
    nonce
        What its ID token must repeat.
    before
        The tokens that it renews; they must be of the same person.
    """
    token = answer.secret("id_token")
    if token is None:
        raise AuthenticationError(
            "the identity provider gave no ID token: its client must be allowed the scope 'openid'"
            if before is None
            else "the identity provider renewed the login without an ID token: log in again"
        )
    if not has_key(keys, unverified_header(token).get("kid")):
        keys = await signing_keys(provider)
    claims = checked_claims(token, keys, issuer=provider.issuer, client_id=settings.client_id, nonce=nonce)
    email = claims.get("email")
    if before is not None and before.subject not in ("", claims["sub"]):
        raise AuthenticationError("the identity provider renewed the login as somebody else's: log in again")
    return TokenSet(
        settings=settings,
        id_token=token,
        refresh_token=answer.secret("refresh_token") or (before.refresh_token if before is not None else None),
        expires=_seconds(claims["exp"]),
        had=time.time(),
        subject=str(claims["sub"]),
        email=email if isinstance(email, str) else "",
    )


async def refreshed(tokens: TokenSet, keep: Callable[[TokenSet], Awaitable[None]] | None = None) -> TokenSet:
    """Return new tokens for the same login.

    Parameters
    ----------
    tokens
        What there is.
    keep
        Keeps what the provider gives instead of a refresh token that is used up, before anything else can fail.

    Raises
    ------
    AuthenticationError
        The login has ended; what it had is left as it is.
    """
    if tokens.refresh_token is None:
        raise AuthenticationError("the login has expired, and its provider gave nothing to renew it with: log in again")
    provider = await discovered(tokens.settings.issuer)
    keys = await signing_keys(provider)
    what = f"the identity provider {provider.issuer}"
    form: dict[str, str | Secret] = {
        "grant_type": "refresh_token",
        "client_id": tokens.settings.client_id,
        "refresh_token": tokens.refresh_token,
    }
    answer = await ask_endpoint(provider.token_endpoint, form, what)
    if answer.error == "invalid_grant":
        raise AuthenticationError(
            "the login has ended: it was logged out, has expired, or its refresh token was used elsewhere, which may mean that it was stolen; "
            "log in again"
        )
    if answer.error is not None:
        raise AuthenticationError(f"{what} did not renew the login ({answer.error}): log in again")
    rotated = answer.secret("refresh_token")
    if rotated is not None and rotated != tokens.refresh_token and keep is not None:
        await keep(replace(tokens, refresh_token=rotated))
    return await accepted(answer, tokens.settings, provider, keys, before=tokens)


async def revoke(tokens: TokenSet) -> bool:
    """Have the provider end a login (RFC 7009); tell whether it could be asked to.

    Raises
    ------
    AuthenticationError
        It could, and did not.
    """
    provider = await discovered(tokens.settings.issuer)
    if tokens.refresh_token is None or provider.revocation_endpoint is None:
        return False
    form: dict[str, str | Secret] = {
        "client_id": tokens.settings.client_id,
        "token": tokens.refresh_token,
        "token_type_hint": "refresh_token",
    }
    what = f"the identity provider {provider.issuer}"
    answer = await ask_endpoint(provider.revocation_endpoint, form, what, says_more=False)
    if answer.error is not None:
        raise AuthenticationError(f"{what} did not end the login ({answer.error})")
    return True


def _seconds(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)
