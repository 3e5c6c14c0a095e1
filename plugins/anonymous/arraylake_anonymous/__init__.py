"""Unsigned requests: the auth method ``anonymous``, for public buckets, local disks and memory."""

from collections.abc import Iterable

import msgspec

from arraylake_core.backends import Access, AnonymousCredentials, AuthMethod, Credentials, Location
from arraylake_core.hookspecs import hookimpl
from arraylake_core.models import Identity

__all__ = ["ARRAYLAKE_SPI", "AnonymousAuth", "AnonymousConfig", "arraylake_auth_methods"]

ARRAYLAKE_SPI = 1


class AnonymousConfig(msgspec.Struct, frozen=True):
    """The fields of ``{"method": "anonymous"}``.

    Parameters
    ----------
    storage_account
        The storage account, which only Azure asks for.
    """

    storage_account: str | None = None


class AnonymousAuth(AuthMethod):
    """No credentials at all."""

    name = "anonymous"
    config = AnonymousConfig

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return AnonymousCredentials, which never expire.

        Examples
        --------
        >>> import asyncio
        >>> place = Location(platform="s3", bucket="public")
        >>> asyncio.run(AnonymousAuth().credentials(AnonymousConfig(), place, "read", Identity()))
        AnonymousCredentials(storage_account=None)
        """
        return AnonymousCredentials(storage_account=config.storage_account if isinstance(config, AnonymousConfig) else None)


@hookimpl
def arraylake_auth_methods() -> Iterable[AuthMethod]:
    """Return the auth method of this plugin."""
    return [AnonymousAuth()]
