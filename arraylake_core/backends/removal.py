"""Deleting all that is below a location, the same way for every repo kind."""

import asyncio
from typing import TYPE_CHECKING

from arraylake_core.backends.credentials import AnonymousCredentials, CredentialProvider
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.object_store.azure import delete_singly, needs_single_deletes
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import ArraylakeError, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from arraylake_core.backends.storage import ObjectStoreSpec

__all__ = ["remove_all"]

_TRIES = 3
_FIRST_WAIT = 0.2


async def remove_all(platform: StoragePlatform, location: Location, credentials: CredentialProvider) -> None:
    """Delete every object below a location; that there are none is no error.

    Nothing but what is below it is asked for, so that credentials which reach only that will do.

    Raises
    ------
    StorageError
        The store refused. Doing it again goes on where it stopped.
    """
    if not location.prefix:
        raise StorageError(f"{location.uri} is the root of a bucket: only what is below a prefix is ever deleted")
    spec = platform.object_store(location, credentials)
    try:
        if spec is not None and await _by_obstore(spec):
            await _remove_objects(await open_object_store(spec), spec)
        else:
            filesystem = platform.filesystem(location, await credentials.get())
            await asyncio.to_thread(filesystem.rm, platform.path(location), recursive=True)
    except FileNotFoundError:
        return
    except ArraylakeError:
        raise
    except Exception as error:  # noqa: BLE001 - every store's library has errors of its own
        raise StorageError(
            f"could not delete what is at {location.uri} ({type(error).__name__}): repair the access, then run it again"
        ) from None


async def _by_obstore(spec: "ObjectStoreSpec") -> bool:
    if spec.protocol not in ("s3", "gcs", "azure") or spec.credentials is None:
        return False
    # To GCS, obstore sends no change without credentials.
    return spec.protocol != "gcs" or not isinstance(await spec.credentials.get(), AnonymousCredentials)


async def _remove_objects(store: "ObjectStore", spec: "ObjectStoreSpec") -> None:
    import obstore

    singly = await needs_single_deletes(spec)
    async for page in obstore.list(store, chunk_size=1000):
        paths = [found["path"] for found in page]
        await (delete_singly(spec, paths) if singly else _delete(store, paths))


async def _delete(store: "ObjectStore", paths: list[str]) -> None:
    """Delete objects, trying again where that may help: deletions are what obstore itself does not repeat."""
    import obstore
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    for attempt in range(_TRIES):
        try:
            await obstore.delete_async(store, paths)
        except (PermissionDeniedError, UnauthenticatedError):
            raise PermissionError("the store refused") from None
        except FileNotFoundError:
            raise
        except Exception as error:
            # What S3 says of single objects of many has no class of its own.
            if "AccessDenied" in str(error):
                raise PermissionError("the store refused") from None
            if attempt == _TRIES - 1:
                raise
            await asyncio.sleep(_FIRST_WAIT * 2**attempt)
        else:
            return
