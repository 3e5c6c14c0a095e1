"""A fault of credentials: sets that expire."""

from datetime import timedelta

import msgspec

from arraylake_core.backends.credentials import AnonymousCredentials, Credentials, CredentialSource
from arraylake_core.models import utc_now

__all__ = ["ExpiringCredentials"]


class ExpiringCredentials:
    """A source whose sets expire, whatever its own do.

    Parameters
    ----------
    source
        Where the sets come from.
    lifetimes
        How long each lives; negative is expired already. The last is for all that come after it.
    """

    def __init__(self, source: CredentialSource, *lifetimes: timedelta) -> None:
        self.source, self.lifetimes = source, lifetimes
        self.minted = 0

    async def mint(self) -> Credentials:
        """Return the next set."""
        lifetime = self.lifetimes[min(self.minted, len(self.lifetimes) - 1)]
        self.minted += 1
        credentials = await self.source.mint()
        if isinstance(credentials, AnonymousCredentials):
            raise TypeError("anonymous credentials never expire: wrap a source of another kind")
        return msgspec.structs.replace(credentials, expiration=utc_now() + lifetime)
