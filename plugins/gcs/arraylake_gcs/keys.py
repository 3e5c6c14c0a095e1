"""Service accounts: from a key file to an access token (RFC 7523).

https://developers.google.com/identity/protocols/oauth2/service-account
"""

import asyncio
import time
from datetime import timedelta

import msgspec

from arraylake_core.backends.delegation import operator_file, operator_setting
from arraylake_core.backends.exchange.google import GoogleToken, jwt_bearer_token
from arraylake_core.errors import CredentialsError
from arraylake_core.models import as_utc, utc_now
from arraylake_core.secret import Secret

__all__ = ["ambient_token", "service_account_token"]

_TOKEN_ENDPOINT = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class _KeyFile(msgspec.Struct, frozen=True):
    type: str
    client_email: str
    private_key: str
    private_key_id: str = ""

    def __repr__(self) -> str:
        return f"<key of {self.client_email}>"


async def service_account_token(path: str, what: str) -> GoogleToken:
    """Return an access token of the service account whose key is in a file.

    Parameters
    ----------
    path
        The JSON file that Google gives for a service account's key.
    what
        What names it, for messages.

    Raises
    ------
    CredentialsError
        The file is no such key, or Google refuses it.
    """
    try:
        key = msgspec.json.decode(operator_file(path, what), type=_KeyFile)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        key = None
    if key is None or key.type != "service_account":
        raise CredentialsError(f"{what} names a file that is no key of a service account: make one in the cloud console, as JSON")
    # The token endpoint is never taken from the file: whoever wrote that could have the assertion sent to himself.
    endpoint = operator_setting("google.token_endpoint") or _TOKEN_ENDPOINT
    return await jwt_bearer_token(endpoint, _assertion(key, endpoint, what))


async def ambient_token() -> GoogleToken:
    """Return an access token of the machine's own identity, where the operator has said that it is to be used.

    Raises
    ------
    CredentialsError
        The machine has none.
    """
    return await asyncio.to_thread(_ambient_token)


def _ambient_token() -> GoogleToken:
    import google.auth
    from google.auth.exceptions import GoogleAuthError
    from google.auth.transport.requests import Request

    try:
        identity, _ = google.auth.default(scopes=[_SCOPE])
        identity.refresh(Request())  # type: ignore[no-untyped-call]
    except GoogleAuthError as error:
        # What it says is left out: such texts repeat what they were given.
        raise CredentialsError(
            f"delegation.google.ambient is set, but this machine has no identity at Google that works ({type(error).__name__}): "
            "give it one, or set delegation.google.key_file"
        ) from None
    ends = utc_now() + timedelta(minutes=5) if identity.expiry is None else as_utc(identity.expiry)
    return GoogleToken(Secret(str(identity.token)), ends)


def _assertion(key: _KeyFile, endpoint: str, what: str) -> Secret:
    from google.auth import crypt, jwt

    now = int(time.time())
    claims = {"iss": key.client_email, "scope": _SCOPE, "aud": endpoint, "iat": now, "exp": now + 3600}
    try:
        signer = crypt.RSASigner.from_string(key.private_key, key.private_key_id)  # type: ignore[no-untyped-call]
    except ValueError:
        raise CredentialsError(f"{what} names a file whose private key can't be read: download the key anew") from None
    return Secret(jwt.encode(signer, claims).decode())  # type: ignore[no-untyped-call]
