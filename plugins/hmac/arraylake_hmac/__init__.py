"""Long-lived key pairs: the auth method ``hmac``, for S3, what speaks its API, and Google Cloud Storage."""

from collections.abc import Iterable

import msgspec

from arraylake_core.backends import Access, AuthMethod, Credentials, Location, S3Credentials
from arraylake_core.errors import CredentialsError
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import Identity
from arraylake_core.secret import Secret

__all__ = ["ARRAYLAKE_SPI", "HmacAuth", "HmacConfig", "arraylake_auth_methods"]

ARRAYLAKE_SPI = 1


class HmacConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "hmac"}``.

    Parameters
    ----------
    access_key_id
        The public half of the key pair.
    secret_access_key
        The secret half: encrypted at rest, and never shown.
    """

    access_key_id: str
    secret_access_key: Secret


class HmacAuth(AuthMethod):
    """The keys of the bucket config themselves, unlimited in place, right and time."""

    name = "hmac"
    config = HmacConfig
    platforms = frozenset({"s3", "s3-compatible", "minio", "gs"})

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return S3Credentials that never expire.

        Examples
        --------
        >>> import asyncio
        >>> keys = HmacConfig(access_key_id="AKIA", secret_access_key=Secret("s3cr3t"))
        >>> place = Location(platform="s3", bucket="ours")
        >>> asyncio.run(HmacAuth().credentials(keys, place, "write", Identity())).aws_secret_access_key
        Secret('***')
        """
        if not isinstance(config, HmacConfig):
            raise CredentialsError(f"hmac needs an HmacConfig, not a {type(config).__name__}")
        return S3Credentials(aws_access_key_id=config.access_key_id, aws_secret_access_key=config.secret_access_key)


@hookimpl
def arraylake_auth_methods() -> Iterable[AuthMethod]:
    """Return the auth method of this plugin."""
    return [HmacAuth()]
