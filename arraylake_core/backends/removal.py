"""Deleting all that is below a location, the same way for every repo kind."""

import asyncio

from arraylake_core.backends.credentials import CredentialProvider
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import ArraylakeError, StorageError

__all__ = ["remove_all"]


async def remove_all(platform: StoragePlatform, location: Location, credentials: CredentialProvider) -> None:
    """Delete every object below a location; that there are none is no error.

    Raises
    ------
    StorageError
        The store refused. Doing it again goes on where it stopped.
    """
    if not location.prefix:
        raise StorageError(f"{location.uri} is the root of a bucket: only what is below a prefix is ever deleted")
    filesystem = platform.filesystem(location, await credentials.get())
    try:
        await asyncio.to_thread(filesystem.rm, platform.path(location), recursive=True)
    except FileNotFoundError:
        return
    except ArraylakeError:
        raise
    except Exception as error:  # noqa: BLE001 - every store's library has errors of its own
        raise StorageError(
            f"could not delete what is at {location.uri} ({type(error).__name__}): repair the access, then run it again"
        ) from None
