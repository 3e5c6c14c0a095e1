"""What an API token looks like, and how the catalog knows one again without keeping it.

A token is ``ema_``, 40 random characters and 6 of a checksum, so that a typo is told before anything is looked up, and a scanner that comes upon one knows
it for sure. The catalog keeps a keyed hash of it: whoever reads the database learns no token, and can't try any either.
"""

import hmac
import re
import secrets
import string
import zlib

from arraylake_core.secret import Secret

__all__ = ["checksum_fits", "digest_of", "looks_like_token", "new_token"]

PREFIX = "ema_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM = 40
_CHECKSUM = 6
_FORM = re.compile(rf"{PREFIX}[0-9A-Za-z]{{{_RANDOM + _CHECKSUM}}}\Z", re.ASCII)


def new_token() -> Secret:
    """Return a new token, of 238 random bits."""
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM))
    return Secret(body + _checksum(body))


def looks_like_token(text: str) -> bool:
    """Tell whether a text has the form of a token.

    Examples
    --------
    >>> looks_like_token("ema_" + "0" * 46), looks_like_token("ema_short")
    (True, False)
    """
    return isinstance(text, str) and _FORM.match(text) is not None


def checksum_fits(text: str) -> bool:
    """Tell whether a text is a token without a typo; whether any catalog knows it is another question.

    Examples
    --------
    >>> token = new_token().reveal()
    >>> checksum_fits(token), checksum_fits(token.swapcase())
    (True, False)
    """
    return looks_like_token(text) and hmac.compare_digest(_checksum(text[:-_CHECKSUM]), text[-_CHECKSUM:])


def digest_of(token: str, key: bytes) -> str:
    """Return what the catalog keeps of a token: a keyed hash, in hex.

    Parameters
    ----------
    token
        The token.
    key
        The catalog's own secret for tokens.
    """
    return hmac.digest(key, token.encode(), "sha256").hex()


def _checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM):
        value, digit = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits
