"""Checking ID tokens: signature, issuer, audience, time and nonce (OpenID Connect Core 1.0, 3.1.3.7; RFC 8725)."""

import math
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.errors import AuthenticationError, PluginError
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

__all__ = ["ALGORITHMS", "SKEW", "Keys", "checked_claims", "has_key", "key_set", "unverified_header"]

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Those with a key pair: with a shared secret, or none at all, anybody could sign."""

SKEW = 60
"""Seconds by which clocks may differ."""

_LAST = 253_370_764_800
"""The year 9999, the last that dates have."""

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


def has_key(keys: "Keys", kid: object) -> bool:
    """Tell whether one of the keys has an id; a token without one may be by any."""
    return kid is None or any(key.kid == kid for key in keys.keys)


def unverified_header(token: Secret) -> dict[str, object]:
    """Return the header of a JWT, of which nothing is checked yet.

    Raises
    ------
    AuthenticationError
        It is no JWT.
    """
    with suppress(ValueError, msgspec.MsgspecError):
        return msgspec.json.decode(_first_part(token), type=dict[str, object])
    raise AuthenticationError("the token is no JWT: log in again")


def _first_part(token: Secret) -> bytes:
    import base64
    import binascii

    with suppress(binascii.Error, UnicodeEncodeError):
        # What is no JWT is a token all the same: there is no variable that has it.
        return base64.urlsafe_b64decode(token.reveal().partition(".")[0] + "===")
    return b""


def checked_claims(
    token: Secret, keys: "Keys", *, issuer: str, client_id: str, nonce: str | None = None, now: float | None = None
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
    claims: dict[str, object] | None = None
    with suppress(JoseError, ValueError):
        claims = dict(jwt.decode(token.reveal(), keys, algorithms=[str(algorithm)]).claims)
    if claims is None:
        # Raised out here, it does not carry the library's error along, whose frames hold the token.
        raise AuthenticationError("the signature of the ID token is not by a key of the identity provider: log in again")
    if claims.get("iss") != issuer:
        raise AuthenticationError("the ID token was issued by somebody else than the identity provider: log in again")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if client_id not in audiences or ((len(audiences) > 1 or "azp" in claims) and claims.get("azp") != client_id):
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
    if end > _LAST or not math.isfinite(end):
        raise AuthenticationError("the ID token ends at a time that is none: the identity provider must say when")
    if end + SKEW <= now:
        raise AuthenticationError("the ID token has expired: log in again, and see that the clock of this machine is right")
    if begin - SKEW > now or issued - SKEW > now:
        raise AuthenticationError("the ID token is not valid yet: set the clock of this machine")
