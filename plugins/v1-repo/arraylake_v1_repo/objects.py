"""The bytes of one repo: small, whole objects below its prefix, reached through obstore where there is a way, and through fsspec elsewhere."""

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from arraylake_core.backends import AnonymousCredentials, ObjectStoreSpec, SignedCredentials, SignsRequests
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.object_store.azure import delete_singly, needs_single_deletes
from arraylake_core.errors import ArraylakeError, CredentialsError, StorageError

if TYPE_CHECKING:
    from obstore.store import ObjectStore

    from arraylake_core.backends import CredentialProvider, Location, StoragePlatform

__all__ = ["Check", "ObjectInfo", "Objects", "ObstoreObjects", "aside", "checked", "failed", "is_aside", "open_objects", "whole"]

_FAST_PROTOCOLS = frozenset({"file", "s3", "gcs", "azure"})
_CHECKED_AT_ONCE_BYTES = 256 * 2**10
_TRIES = 5
_FIRST_WAIT = 0.1

type Check = Callable[[bytes], object]
"""Raises a StorageError where bytes are not what was written."""


class ObjectInfo(NamedTuple):
    """What a store says of an object.

    Parameters
    ----------
    key
        Relative to the repo's prefix.
    size
        In bytes.
    modified
        When it was written, by the store's clock.
    """

    key: str
    size: int
    modified: datetime


class Objects(Protocol):
    """The objects of one repo. Keys are relative to its prefix; all but those below ``refs/`` never change once written."""

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        ...

    @property
    def quick_bytes(self) -> int:
        """Local objects of up to so many bytes are written sooner than they are handed to a thread."""
        ...

    @property
    def local(self) -> bool:
        """Whether they are files of this machine."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None where there is none of that key."""
        ...

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to, without, ``end``; StorageError where they are not all there."""
        ...

    async def get_whole(self, key: str, length: int, check: Check) -> bytes:
        """Return an object that must be there, have so many bytes, and stand a check; StorageError otherwise."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        ...

    def put_blocking(self, key: str, data: bytes | memoryview) -> None:
        """Do what ``put`` does, for threads without an event loop."""
        ...

    async def persist(self, keys: Sequence[str]) -> None:
        """Wait until objects outlive a power cut; StorageError where one of them would not. What a server has answered for is its own to keep."""
        ...

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones do no harm."""
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Give all objects below a prefix, such as ``chunks``, in any order."""
        ...

    def leftovers(self) -> AsyncIterator[ObjectInfo]:
        """Give what is being written at this moment, or was when its process was killed, and is no object yet; in any order."""
        ...

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what the store says of an object, or None where there is none."""
        ...


async def open_objects(platform: "StoragePlatform", location: "Location", credentials: "CredentialProvider") -> Objects:
    """Return the objects below a location, over the fastest way that its platform offers."""
    spec = platform.object_store(location, credentials)
    if spec is not None and spec.protocol == "file" and hasattr(os, "pread"):
        from arraylake_v1_repo.files import FileObjects

        return FileObjects(spec.prefix, location.uri)
    if isinstance(platform, SignsRequests):
        found = await credentials.get()
        if isinstance(found, SignedCredentials):
            from arraylake_v1_repo.signed import SignedObjects

            return SignedObjects(platform, location, found.signer)
    if spec is not None and spec.protocol in _FAST_PROTOCOLS and not await _needs_fsspec(spec, credentials):
        objects = ObstoreObjects(spec, location.uri)
        await objects.ready()
        return objects
    from arraylake_v1_repo.filesystem import FsspecObjects

    return FsspecObjects(platform, location, credentials)


async def _needs_fsspec(spec: ObjectStoreSpec, credentials: "CredentialProvider") -> bool:
    """Tell whether obstore would not do: it writes nothing to GCS without credentials."""
    return spec.protocol == "gcs" and isinstance(await credentials.get(), AnonymousCredentials)


class ObstoreObjects:
    """Objects in a store that obstore speaks to.

    Parameters
    ----------
    spec
        The neutral description of the repo's place.
    place
        Its URI, for messages.
    """

    quick_bytes = 0
    local = False

    def __init__(self, spec: ObjectStoreSpec, place: str) -> None:
        self.place = place
        self._spec = spec
        self._store: ObjectStore | None = None

    def __reduce__(self) -> tuple[type["ObstoreObjects"], tuple[ObjectStoreSpec, str]]:
        return type(self), (self._spec, self.place)

    def __repr__(self) -> str:
        return f"<objects at {self.place}>"

    async def ready(self) -> "ObjectStore":
        """Return the store, opened where it was not yet."""
        if self._store is None:
            self._store = await open_object_store(self._spec, blocking=True)
        return self._store

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None where there is none of that key."""
        import obstore

        store = await self.ready()
        try:
            answer = await obstore.get_async(store, key)
            return bytes(await answer.bytes_async())
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001 - obstore's errors have many types
            raise self._failed("read", key, error) from None

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to, without, ``end``."""
        if start == end:
            return b""
        import obstore

        store = await self.ready()
        try:
            data = bytes(await obstore.get_range_async(store, key, start=start, end=end))
        except Exception as error:  # noqa: BLE001
            raise self._failed(f"read bytes {start} to {end} of", key, error) from None
        if len(data) != end - start:
            raise StorageError(f"{key} at {self.place} is cut off: it has no bytes {start} to {end}; restore it from a backup")
        return data

    async def get_whole(self, key: str, length: int, check: Check) -> bytes:
        """Return an object that must be there, have so many bytes, and stand a check."""
        if not length:
            return await checked(whole(await self.get(key), key, length, self.place), check)
        import obstore

        store = await self.ready()
        try:
            # A range is one answer; an object is an answer, and then its bytes.
            data = bytes(await obstore.get_range_async(store, key, start=0, end=length))
        except FileNotFoundError:
            data = None
        except Exception as error:  # noqa: BLE001
            raise self._failed("read", key, error) from None
        return await checked(whole(data, key, length, self.place), check)

    async def put(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        import obstore

        store = await self.ready()
        try:
            await obstore.put_async(store, key, data)
        except Exception as error:  # noqa: BLE001
            raise self._failed("write", key, error) from None

    def put_blocking(self, key: str, data: bytes | memoryview) -> None:
        """Do what ``put`` does, for threads without an event loop."""
        import obstore

        if self._store is None:
            from arraylake_core.loops import run

            run(self.ready())
        assert self._store is not None
        try:
            obstore.put(self._store, key, data)
        except Exception as error:  # noqa: BLE001
            raise self._failed("write", key, error) from None

    async def persist(self, keys: Sequence[str]) -> None:
        """Do nothing: a store keeps what it has answered for."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones do no harm."""
        import obstore
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        if keys and await needs_single_deletes(self._spec):
            try:
                await delete_singly(self._spec, keys)
            except Exception as error:  # noqa: BLE001 - Azure's library has errors of its own
                raise self._failed("delete", keys[0], error) from None
            return
        store = await self.ready()

        async def one(key: str) -> None:
            # Deletions are the one request that obstore does not try again when its connection breaks.
            for attempt in range(_TRIES):
                try:
                    await obstore.delete_async(store, key)
                except FileNotFoundError:
                    return
                except Exception as error:  # noqa: BLE001
                    if attempt == _TRIES - 1 or isinstance(error, PermissionDeniedError | UnauthenticatedError):
                        raise self._failed("delete", key, error) from None
                    await asyncio.sleep(_FIRST_WAIT * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311 - nothing secret about it
                else:
                    return

        for begin in range(0, len(keys), 64):
            await asyncio.gather(*map(one, keys[begin : begin + 64]))

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Give all objects below a prefix."""
        import obstore

        prefix = prefix.rstrip("/")
        store = await self.ready()
        try:
            async for page in obstore.list(store, prefix=prefix or None, chunk_size=1000):
                for found in page:
                    if not prefix or found["path"].startswith(f"{prefix}/"):
                        yield ObjectInfo(found["path"], found["size"], found["last_modified"].astimezone(UTC))
        except Exception as error:  # noqa: BLE001
            raise self._failed("list", prefix, error) from None

    async def leftovers(self) -> AsyncIterator[ObjectInfo]:
        """Give nothing: what a store shows is whole."""
        return
        yield

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what the store says of an object."""
        import obstore

        store = await self.ready()
        try:
            found = await obstore.head_async(store, key)
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001
            raise self._failed("look at", key, error) from None
        return ObjectInfo(key, found["size"], found["last_modified"].astimezone(UTC))

    def _failed(self, what: str, key: str, error: Exception) -> ArraylakeError:
        return failed(what, key, self.place, error)


def whole(data: bytes | None, key: str, length: int, place: str) -> bytes:
    """Return the bytes of an object, where they are all there."""
    if data is None or len(data) != length:
        problem = "missing" if data is None else f"cut off, or longer than it was (it has {len(data)} bytes, not {length})"
        raise StorageError(
            f"{key} at {place} is {problem}: it was deleted, moved or overwritten; restore it from a backup, and run repo.verify() to find others"
        )
    return data


async def checked(data: bytes, check: Check) -> bytes:
    """Return bytes that stand a check, which other work goes on beside where there are many."""
    if len(data) > _CHECKED_AT_ONCE_BYTES:
        await asyncio.to_thread(check, data)
    else:
        check(data)
    return data


def aside(path: str) -> str:
    """Return where a file is written before it gets its name: no ref's mirror is called so, since none has two slashes in a row."""
    return f"{path}~~{secrets.token_hex(6)}.part"


def is_aside(path: str) -> bool:
    """Tell whether a file is one that is, or was when its process died, being written."""
    return path.endswith(".part") and "~~" in path


# How obstore and fsspec call it when a store refuses who asks; a disk that does so has no credentials, but an owner.
_REFUSALS = frozenset({"PermissionDeniedError", "UnauthenticatedError"})


def failed(what: str, key: str, place: str, error: Exception) -> ArraylakeError:
    """Return the error that users see for one of a store's library, whose own message may hold anything."""
    if isinstance(error, ArraylakeError):
        return error
    if type(error).__name__ in _REFUSALS:
        return CredentialsError(
            f"the store refused the credentials for {place} when asked to {what} {key or 'the objects'} ({type(error).__name__}): check the bucket config's "
            "auth_config with `arraylake-core bucket probe`, and what its owner may do there"
        )
    return StorageError(
        f"could not {what} {key or 'the objects'} at {place} ({type(error).__name__}): look at the bucket, its credentials and the network, "
        "then try again"
    )
