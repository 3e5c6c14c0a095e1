"""Deleting all that is below a location, the same way for every repo kind."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

from arraylake_core.backends.credentials import AnonymousCredentials, CredentialProvider
from arraylake_core.backends.current_files import CurrentFileSystem
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.object_store.azure import delete_singly, needs_single_deletes
from arraylake_core.backends.storage import Location, StoragePlatform
from arraylake_core.errors import ArraylakeError, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from arraylake_core.backends.storage import ObjectStoreSpec

__all__ = ["remove_all"]

_AT_ONCE = 8
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
            await _remove_files(platform, location, credentials)
    except FileNotFoundError:
        return
    except ArraylakeError:
        raise
    except Exception as error:  # noqa: BLE001 - every store's library has errors of its own
        raise StorageError(
            f"could not delete what is at {location.uri} ({type(error).__name__}): repair the access, then run it again"
        ) from None


async def _remove_files(platform: StoragePlatform, location: Location, credentials: CredentialProvider) -> None:
    current, path = await credentials.get(), platform.path(location)
    if current.expiration is None:
        await asyncio.to_thread(platform.filesystem(location, current).rm, path, recursive=True)
    else:
        await asyncio.to_thread(_remove_singly, CurrentFileSystem(platform, location, credentials), path)


def _remove_singly(files: CurrentFileSystem, root: str) -> None:
    """Delete all files below a path, each with the credentials of its time: one call for all would end with the set that it began with."""

    def remove(path: str) -> None:
        with suppress(FileNotFoundError):
            files.use(lambda filesystem: filesystem.rm_file(path))

    def listed(directory: str) -> list[dict[str, object]]:
        try:
            return list(files.use(lambda filesystem: filesystem.ls(directory, detail=True)))
        except FileNotFoundError:
            return []

    level, directories = [root], list[str]()
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="arraylake-removal") as pool:
        while level:
            directories += level
            found = [entry for entries in pool.map(listed, level) for entry in entries]
            level = [str(entry["name"]) for entry in found if entry["type"] == "directory" and entry["name"] not in level]
            for _ in pool.map(remove, [str(entry["name"]) for entry in found if entry["type"] != "directory"]):
                pass
    # In the object stores of fsspec, which are asynchronous, directories are no more than parts of names, and have gone with their files.
    for directory in reversed(directories) if not files.get().async_impl else ():
        with suppress(OSError, NotImplementedError):
            files.get().rmdir(directory)


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
