"""Credentials as tests hand them out."""

from arraylake_core.backends import Credentials, GCSCredentials, S3Credentials
from arraylake_core.secret import Secret

__all__ = ["Given", "keys", "token"]


class Given:
    """Hands out what it was given."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    async def mint(self) -> Credentials:
        return self.credentials


def keys(key: str, secret: str, session_token: str | None = None) -> S3Credentials:
    """Return the keys of an S3 API."""
    return S3Credentials(
        aws_access_key_id=key,
        aws_secret_access_key=Secret(secret),
        aws_session_token=None if session_token is None else Secret(session_token),
    )


def token(text: str) -> GCSCredentials:
    """Return a bearer token of Google's."""
    return GCSCredentials(access_token=Secret(text))
