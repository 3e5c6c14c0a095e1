"""The bytes of a repo on a platform that only fsspec reaches: memory, SFTP, WebDAV, and whatever a third party brings."""

import asyncio
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from arraylake_core.backends.current_files import CurrentFileSystem
from arraylake_core.errors import ArraylakeError, StorageError
from arraylake_v1_repo.objects import Check, ObjectInfo, aside, checked, failed, is_aside, whole

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

    from arraylake_core.backends import CredentialProvider, Location, StoragePlatform

__all__ = ["FsspecObjects"]

_TRIES = 5
_TRIES_OF_STORES = 2
_FIRST_WAIT = 0.1
_PERMANENT = (FileNotFoundError, PermissionError, NotADirectoryError, IsADirectoryError, NotImplementedError)


class _Threads(threading.local):
    """What each thread knows for itself."""

    def __init__(self) -> None:
        self.made: set[str] = set()


class FsspecObjects:
    """Objects on an fsspec file system.

    Parameters
    ----------
    platform, location, credentials
        Where they are.
    """

    quick_bytes = 0
    local = False

    def __init__(self, platform: "StoragePlatform", location: "Location", credentials: "CredentialProvider") -> None:
        self._platform, self._location, self._credentials = platform, location, credentials
        self._root = platform.path(location)
        self._files = CurrentFileSystem(platform, location, credentials)
        self._threads = _Threads()
        self._pool: ThreadPoolExecutor | None = None
        self._pid = 0

    def __reduce__(self) -> "tuple[type[FsspecObjects], tuple[StoragePlatform, Location, CredentialProvider]]":
        if self._location.platform == "memory":
            raise StorageError(
                f"{self.place} lives in the memory of this process: keep the repo in a bucket on disk to use it from others"
            )
        return type(self), (self._platform, self._location, self._credentials)

    def __repr__(self) -> str:
        return f"<objects at {self.place}>"

    @property
    def place(self) -> str:
        """Where they are, for messages."""
        return self._location.uri

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None where there is none of that key."""

        def read(filesystem: "AbstractFileSystem") -> bytes | None:
            try:
                return bytes(filesystem.cat_file(self._path(key)))
            except FileNotFoundError:
                return None

        return await self._run("read", key, read)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to, without, ``end``."""
        if start == end:
            return b""
        data = await self._run(
            f"read bytes {start} to {end} of",
            key,
            lambda filesystem: bytes(filesystem.cat_file(self._path(key), start=start, end=end)),
        )
        if len(data) != end - start:
            raise StorageError(f"{key} at {self.place} is cut off: it has no bytes {start} to {end}; restore it from a backup")
        return data

    async def get_whole(self, key: str, length: int, check: Check) -> bytes:
        """Return an object that must be there, have so many bytes, and stand a check."""
        return await checked(whole(await self.get(key), key, length, self.place), check)

    async def put(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        await self._run("write", key, lambda filesystem: self._write(filesystem, key, data))

    def put_blocking(self, key: str, data: bytes | memoryview) -> None:
        """Do what ``put`` does, for threads without an event loop."""
        self._attempt("write", key, lambda filesystem: self._write(filesystem, key, data))

    async def persist(self, keys: Sequence[str]) -> None:
        """Do nothing: what is behind the file system keeps what it has answered for, or has no call for it."""

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones do no harm."""

        def remove(_: "AbstractFileSystem") -> None:
            for key in keys:
                # There may be more of them than one set of credentials lives for.
                with suppress(FileNotFoundError):
                    self._files.get().rm_file(self._path(key))

        await self._run("delete", keys[0] if keys else "", remove)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Give all objects below a prefix."""
        prefix = prefix.rstrip("/")
        for info in await self._run("list", prefix, lambda filesystem: self._find(filesystem, prefix, parts=False)):
            yield info

    async def leftovers(self) -> AsyncIterator[ObjectInfo]:
        """Give what is, or was when its process was killed, being written."""
        for info in await self._run("list", "", lambda filesystem: self._find(filesystem, "", parts=True)):
            yield info

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what the store says of an object."""

        def look(filesystem: "AbstractFileSystem") -> ObjectInfo | None:
            filesystem.invalidate_cache()
            try:
                info = filesystem.info(self._path(key))
            except FileNotFoundError:
                return None
            return ObjectInfo(key, _size(info), _modified(filesystem, self._path(key), info))

        return await self._run("look at", key, look)

    def _find(self, filesystem: "AbstractFileSystem", prefix: str, *, parts: bool) -> Sequence[ObjectInfo]:
        if parts and self._shows_whole_objects(filesystem):
            return ()
        filesystem.invalidate_cache()
        return [
            ObjectInfo(key, _size(info), _modified(filesystem, path, info))
            for path, info in _files(self._files, self._path(prefix)).items()
            if is_aside(key := self._key(path)) is parts and (not prefix or key.startswith(f"{prefix}/"))
        ]

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}" if key else self._root

    def _key(self, path: str) -> str:
        return path.partition(f"{self._root.strip('/')}/")[2]

    def _shows_whole_objects(self, filesystem: "AbstractFileSystem") -> bool:
        """Tell whether an object is there whole or not at all, as in an object store; elsewhere it is written aside and renamed."""
        return bool(filesystem.async_impl) or self._location.platform == "memory"

    def _write(self, filesystem: "AbstractFileSystem", key: str, data: bytes | memoryview) -> None:
        path = self._path(key)
        if self._shows_whole_objects(filesystem):
            filesystem.pipe_file(path, bytes(data))
            return
        parent = path.rpartition("/")[0]
        if parent not in self._threads.made:
            filesystem.makedirs(parent, exist_ok=True)
            self._threads.made.add(parent)
        draft = aside(path)
        try:
            filesystem.pipe_file(draft, bytes(data))
            self._rename(filesystem, key, draft, path)
        except Exception:
            filesystem.invalidate_cache()
            # Somebody else may have written it: what has one name is one content, so that it is as good as ours.
            done = not key.startswith("refs/") and filesystem.exists(path) and filesystem.size(path) == len(data)
            with suppress(Exception):
                filesystem.rm_file(draft)
            if not done:
                self._threads.made.discard(parent)
                raise

    def _rename(self, filesystem: "AbstractFileSystem", key: str, draft: str, path: str) -> None:
        try:
            filesystem.mv(draft, path)
        except Exception:
            # Some file systems rename to a free name only. That both are there tells that this one does, and that it has not happened.
            if not (key.startswith("refs/") and filesystem.exists(draft) and filesystem.exists(path)):
                raise
            filesystem.rm_file(path)
            filesystem.mv(draft, path)

    def _attempt[T](self, what: str, key: str, step: "Callable[[AbstractFileSystem], T]") -> T:
        attempt, tries = 0, _TRIES
        while True:
            attempt += 1
            try:
                # The object stores of fsspec try again by themselves, for a long time.
                tries = _TRIES_OF_STORES if self._files.get().async_impl else _TRIES
                return self._files.use(step)
            except (ArraylakeError, *_PERMANENT) as error:
                raise failed(what, key, self.place, error) from None
            except Exception as error:  # noqa: BLE001 - every file system has errors of its own
                self._files.forget()
                if attempt >= tries:
                    raise failed(what, key, self.place, error) from None
                time.sleep(_FIRST_WAIT * 2 ** (attempt - 1) * random.uniform(0.5, 1.5))  # noqa: S311 - nothing secret about it

    async def _run[T](self, what: str, key: str, step: "Callable[[AbstractFileSystem], T]") -> T:
        if self._pool is None or self._pid != os.getpid():
            self._pool, self._pid = ThreadPoolExecutor(8, thread_name_prefix="arraylake-v1"), os.getpid()
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._attempt, what, key, step)


def _files(current: CurrentFileSystem, root: str) -> dict[str, dict[str, object]]:
    """Return what is known of each file below a path; a directory that can't be listed is an error, and none that vanishes."""
    filesystem = current.get()
    if filesystem.async_impl:
        try:
            found = filesystem.find(root, detail=True)
        except FileNotFoundError:
            return {}
        # Object stores show directories too, some of which are no objects.
        return {path: info for path, info in found.items() if info["type"] == "file"}
    files: dict[str, dict[str, object]] = {}
    directories = [root]
    while directories:
        directory = directories.pop()
        try:
            # fsspec's own find passes directories that fail by in silence.
            entries = current.get().ls(directory, detail=True)
        except FileNotFoundError:
            continue
        for info in entries:
            if info["type"] == "directory":
                directories.append(info["name"])
            else:
                files[info["name"]] = info
    return files


def _size(info: dict[str, object]) -> int:
    size = info["size"]
    return size if isinstance(size, int) else 0


def _modified(filesystem: "AbstractFileSystem", path: str, info: dict[str, object]) -> datetime:
    for name in ("mtime", "modified", "LastModified", "last_modified", "updated", "created"):
        value = info.get(name)
        if isinstance(value, datetime):
            return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
    found: datetime = filesystem.modified(path)
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
