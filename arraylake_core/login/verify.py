"""Checking ID tokens: signature, issuer, audience, time and nonce (OpenID Connect Core 1.0, 3.1.3.7; RFC 8725)."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.errors import AuthenticationError, PluginError

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

__all__ = ["ALGORITHMS", "SKEW", "Keys", "checked_claims", "key_set", "unverified_header"]

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Those with a key pair: with a shared secret, or none at all, anybody could sign."""

SKEW = 60
"""Seconds by which clocks may differ."""

type Keys = KeySet


def key_set(document: Mapping[str, object]) -> "Keys":
    """Return the keys of a JWKS document (RFC 7517); those that are not for signatures, or of unknown kinds, are left out."""
    try:
        from joserfc.jwk import KeySet, import_key
    except ImportError:
        raise PluginError('logins need joserfc: pip install "arraylake-core[oauth]"') from None
    keys = document.get("keys")
    found = []
    for key in keys if isinstance(keys, list) else []:
        if (
            not isinstance(key, dict)
            or key.get("kty") not in ("RSA", "EC", "OKP")
            or key.get("use", "sig") != "sig"
            or "d" in key
        ):
            continue
        try:
            found.append(import_key(key))
        except ValueError:
            continue
    return KeySet(found)


def unverified_header(token: str) -> dict[str, object]:
    """Return the header of a JWT, of which nothing is checked yet.

    Raises
    ------
    AuthenticationError
        It is no JWT.
    """
    import base64

    try:
        part = token.split(".")[0]
        return msgspec.json.decode(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)), type=dict[str, object])
    except (ValueError, msgspec.MsgspecError):
        raise AuthenticationError("the token is no JWT: log in again") from None


def checked_claims(
    token: str, keys: "Keys", *, issuer: str, client_id: str, nonce: str | None = None, now: float | None = None
) -> dict[str, object]:
    """Return the claims of an ID token that holds.

    Parameters
    ----------
    token
        The JWT.
    keys
        The issuer's.
    issuer
        Who must have issued it, exactly.
    client_id
        Whom it must be for.
    nonce
        What it must repeat, where a nonce was sent.
    now
        The time, in seconds since 1970.

    Raises
    ------
    AuthenticationError
        What is wrong with it; nothing of it is repeated.
    """
    from joserfc import jwt
    from joserfc.errors import JoseError

    now = time.time() if now is None else now
    algorithm = unverified_header(token).get("alg")
    if algorithm not in ALGORITHMS:
        raise AuthenticationError(
            "the ID token is signed in a way that proves nothing (alg none, or a shared secret): the identity provider must use a key pair"
        )
    try:
        claims: dict[str, object] = dict(jwt.decode(token, keys, algorithms=[str(algorithm)]).claims)
    except (JoseError, ValueError):
        raise AuthenticationError(
            "the signature of the ID token is not by a key of the identity provider: log in again"
        ) from None
    if claims.get("iss") != issuer:
        raise AuthenticationError("the ID token was issued by somebody else than the identity provider: log in again")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences or (len(audiences) > 1 and claims.get("azp") != client_id):
        raise AuthenticationError("the ID token is for another client: log in again")
    _check_times(claims, now)
    if nonce is not None and claims.get("nonce") != nonce:
        raise AuthenticationError("the ID token answers another login (its nonce is not the one that was sent): log in again")
    if not isinstance(claims.get("sub"), str) or not claims["sub"]:
        raise AuthenticationError("the ID token names nobody: the identity provider must put a subject into it")
    return claims


def _check_times(claims: Mapping[str, object], now: float) -> None:
    end, begin, issued = claims.get("exp"), claims.get("nbf", 0), claims.get("iat")
    if not isinstance(end, int | float) or not isinstance(issued, int | float) or not isinstance(begin, int | float):
        raise AuthenticationError("the ID token does not say when it was issued and when it ends: the identity provider must")
    if end + SKEW <= now:
        raise AuthenticationError("the ID token has expired: log in again, and see that the clock of this machine is right")
    if begin - SKEW > now or issued - SKEW > now:
        raise AuthenticationError("the ID token is not valid yet: set the clock of this machine")
