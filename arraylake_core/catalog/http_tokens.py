"""The tokens with which this process speaks to services.

Catalogs, sources of credentials and pickles carry the fingerprint of a token and never the token. In the process where it was given, the fingerprint leads
back to it; elsewhere the settings do.
"""

import hashlib
import os
import re

from arraylake_core import config
from arraylake_core.errors import InvalidOptionError
from arraylake_core.secret import Secret

__all__ = ["bearer_for", "check_token", "remember", "token_for"]

_API_TOKEN = re.compile(r"ema_[A-Za-z0-9_-]{8,500}\Z", re.ASCII)
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*\Z", re.ASCII)
_tokens: dict[str, Secret] = {}


def check_token(token: Secret) -> Secret:
    """Refuse what can't be a token, such as one that was cut off when it was copied; it is not repeated in the message."""
    text = token.reveal()
    if not _API_TOKEN.match(text) and not _JWT.match(text):
        shape = "has white space around it" if text != text.strip() else f"has {len(text)} characters and is neither"
        raise InvalidOptionError(f"a token is an API token, 'ema_...', or a JWT of your login; this one {shape}: copy it anew")
    return token


def remember(token: Secret) -> str:
    """Keep a token for this process, and return its fingerprint, which tells nothing about it."""
    check_token(token)
    fingerprint = hashlib.sha256(b"arraylake-core token\0" + token.reveal().encode()).hexdigest()[:16]
    _tokens[fingerprint] = token
    return fingerprint


def token_for(fingerprint: str) -> Secret | None:
    """Return the token of a fingerprint, or that of the settings where this process has not been given it; None where there is none."""
    known = _tokens.get(fingerprint)
    if known is not None:
        return known
    text = config.get_str("service.token") or os.environ.get("ARRAYLAKE_TOKEN")
    return check_token(Secret(text)) if text else None


async def bearer_for(base: str, fingerprint: str, *, unlike: Secret | None = None) -> Secret | None:
    """Return what authenticates requests to a service: the token that was given, that of the settings, or that of the login.

    Parameters
    ----------
    base
        The service's URI.
    fingerprint
        The token that was given.
    unlike
        A token that the service has refused: a login is renewed then.
    """
    token = token_for(fingerprint)
    if token is not None or fingerprint:
        return token
    from arraylake_core.login.account import account_of

    return await account_of(base).token(unlike=unlike)
