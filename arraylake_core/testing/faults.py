"""Faults to inject: a platform that is slow, fails now and then, tears writes or lists what was. expiring.py has credentials that expire.

Wrap a platform, and use it, or a repo on it, as if nothing were::

    FaultyPlatform(platform, Flaky(every=3), Slow(seconds=0.1))
"""

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from io import BytesIO
from typing import IO, cast

import msgspec
from fsspec.spec import AbstractFileSystem

from arraylake_core.backends import (
    BucketAddress,
    Credentials,
    Location,
    StorageIdentity,
    StoragePlatform,
)

__all__ = [
    "Fault",
    "FaultyFileSystem",
    "FaultyPlatform",
    "Flaky",
    "Injected",
    "LostAnswer",
    "Slow",
    "StaleListing",
    "TornWrite",
]


class Fault:
    """What may go wrong with an operation on files; by itself, nothing does."""

    def before(self, operation: str, path: str) -> None:
        """Be told of an operation, such as ``"cat_file"``, before it is done; wait, or raise, and it is not done."""

    def after(self, operation: str, path: str) -> None:
        """Be told of a change, such as ``"pipe_file"``, when it is done; raise, and whoever asked never hears that it is."""

    def written(self, path: str, body: bytes) -> bytes:
        """Return what really gets written; where that is less, the writer gets an error afterwards."""
        return body

    def listed(self, path: str, found: list[dict[str, object]]) -> list[dict[str, object]]:
        """Return what a listing tells."""
        return found


class Slow(Fault):
    """Every operation takes longer.

    Parameters
    ----------
    seconds
        How much.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def before(self, operation: str, path: str) -> None:
        """Wait."""
        time.sleep(self.seconds)


class Flaky(Fault):
    """Some operations fail, before anything is done.

    Parameters
    ----------
    every
        Each operation of this number fails.
    error
        What is raised.
    """

    def __init__(self, every: int, error: type[Exception] = OSError) -> None:
        self.every, self.error = every, error
        self.asked = 0
        self._lock = threading.Lock()

    def before(self, operation: str, path: str) -> None:
        """Count, and fail where it is time."""
        with self._lock:
            self.asked += 1
            fails = self.asked % self.every == 0
        if fails:
            raise self.error(f"injected: {operation} of {path} failed")


class LostAnswer(Fault):
    """Some changes are done, and whoever asked for them is told that they failed.

    Parameters
    ----------
    every
        Each change of this number.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self.done = 0
        self._lock = threading.Lock()

    def after(self, operation: str, path: str) -> None:
        """Count, and fail where it is time."""
        with self._lock:
            self.done += 1
            lost = self.done % self.every == 0
        if lost:
            raise OSError(f"injected: the answer to {operation} of {path} was lost")


class TornWrite(Fault):
    """A write breaks off: half of the bytes arrive, and the writer is told that it failed.

    Parameters
    ----------
    write
        Which write it is, counted from 1.
    times
        How many in a row; those after them are whole again.
    """

    def __init__(self, write: int = 1, times: int = 1) -> None:
        self.write, self.times = write, times
        self.writes = 0
        self._lock = threading.Lock()

    def written(self, path: str, body: bytes) -> bytes:
        """Return half of the bytes."""
        with self._lock:
            self.writes += 1
            torn = self.write <= self.writes < self.write + self.times
        return body[: len(body) // 2] if torn else body


class StaleListing(Fault):
    """A listing tells what was there when the directory was first listed, again and again.

    Parameters
    ----------
    times
        How often, for each directory.
    """

    def __init__(self, times: int = 1) -> None:
        self.times = times
        self._kept: dict[str, tuple[list[dict[str, object]], int]] = {}

    def listed(self, path: str, found: list[dict[str, object]]) -> list[dict[str, object]]:
        """Return the former listing while it is due."""
        kept, left = self._kept.get(path, (found, self.times + 1))
        if not left:
            return found
        self._kept[path] = (kept, left - 1)
        return kept


class Injected(Fault):
    """Whatever a test puts in ``faults``, from then on: for one platform through calm and trouble.

    Attributes
    ----------
    faults
        What goes wrong now.
    """

    def __init__(self) -> None:
        self.faults: tuple[Fault, ...] = ()

    def before(self, operation: str, path: str) -> None:
        """Tell them."""
        for fault in self.faults:
            fault.before(operation, path)

    def after(self, operation: str, path: str) -> None:
        """Tell them."""
        for fault in self.faults:
            fault.after(operation, path)

    def written(self, path: str, body: bytes) -> bytes:
        """Return what they leave of it."""
        for fault in self.faults:
            body = fault.written(path, body)
        return body

    def listed(self, path: str, found: list[dict[str, object]]) -> list[dict[str, object]]:
        """Return what they tell."""
        for fault in self.faults:
            found = fault.listed(path, found)
        return found


class FaultyFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A file system, and what goes wrong with it."""

    cachable = False
    protocol = "faulty"

    def __init__(self, inner: AbstractFileSystem, faults: tuple[Fault, ...]) -> None:
        super().__init__()
        self.inner, self.faults = inner, faults

    def _before(self, operation: str, path: str) -> None:
        for fault in self.faults:
            fault.before(operation, path)

    def _after(self, operation: str, path: str) -> None:
        for fault in self.faults:
            fault.after(operation, path)

    def ls(self, path: str, detail: bool = True, **options: object) -> list[object]:
        """List a directory."""
        self._before("ls", path)
        found = cast("list[dict[str, object]]", self.inner.ls(path, detail=True, **options))
        for fault in self.faults:
            found = fault.listed(path, found)
        return list(found) if detail else [entry["name"] for entry in found]

    def info(self, path: str, **options: object) -> Mapping[str, object]:
        """Describe a file."""
        self._before("info", path)
        return cast("Mapping[str, object]", self.inner.info(path, **options))

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **options: object) -> bytes:
        """Read a file, or a part of it."""
        self._before("cat_file", path)
        return bytes(self.inner.cat_file(path, start=start, end=end, **options))

    def pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **options: object) -> None:
        """Write a file."""
        self._before("pipe_file", path)
        body = bytes(value)
        for fault in self.faults:
            body = fault.written(path, body)
        self.inner.pipe_file(path, body, mode=mode, **options)
        if len(body) < len(value):
            raise OSError(f"injected: the write to {path} broke off")
        self._after("pipe_file", path)

    def _open(self, path: str, mode: str = "rb", **options: object) -> IO[bytes]:
        if mode == "rb":
            self._before("open", path)
            return cast("IO[bytes]", self.inner.open(path, "rb"))
        return _Written(self, path, "create" if "x" in mode else "overwrite")

    def rm_file(self, path: str) -> None:
        """Delete a file."""
        self._before("rm_file", path)
        self.inner.rm_file(path)
        self._after("rm_file", path)

    def rm(self, path: str | list[str], recursive: bool = False, maxdepth: int | None = None) -> None:
        """Delete files, one by one, so that it may break off in their midst."""
        paths = [path] if isinstance(path, str) else path
        if not recursive:
            for one in paths:
                self.rm_file(one)
            return
        for one in paths:
            found = cast("Mapping[str, Mapping[str, object]]", self.find(one, maxdepth=maxdepth, withdirs=True, detail=True))
            if not found and not self.inner.exists(one):
                raise FileNotFoundError(one)
            for name in sorted(found, reverse=True):
                if found[name]["type"] != "directory":
                    self.rm_file(name)
            with suppress(FileNotFoundError):
                self.inner.rm(one, recursive=True)

    def cp_file(self, path1: str, path2: str, **options: object) -> None:
        """Copy a file."""
        self._before("cp_file", path1)
        self.inner.cp_file(path1, path2, **options)
        self._after("cp_file", path2)

    def mv(self, path1: str, path2: str, **options: object) -> None:
        """Rename a file."""
        self._before("mv", path1)
        self.inner.mv(path1, path2, **options)
        self._after("mv", path2)

    def mkdir(self, path: str, create_parents: bool = True, **options: object) -> None:
        """Make a directory."""
        self.inner.mkdir(path, create_parents=create_parents, **options)

    def rmdir(self, path: str) -> None:
        """Delete an empty directory."""
        self.inner.rmdir(path)

    def makedirs(self, path: str, exist_ok: bool = False) -> None:
        """Make a directory and those above it."""
        self.inner.makedirs(path, exist_ok=exist_ok)


class _Written(BytesIO):
    """A file being written, which gets to its place when it is closed."""

    def __init__(self, filesystem: FaultyFileSystem, path: str, mode: str) -> None:
        super().__init__()
        self._filesystem, self._path, self._mode = filesystem, path, mode

    def close(self) -> None:
        if not self.closed:
            body = self.getvalue()
            super().close()
            self._filesystem.pipe_file(self._path, body, mode=self._mode)


class FaultyPlatform(StoragePlatform):
    """A platform, and what goes wrong with the files on it. Only fsspec reaches it, so that nothing gets round the faults.

    Parameters
    ----------
    inner
        The platform.
    faults
        What goes wrong; one object counts over all file systems of the platform.
    """

    def __init__(self, inner: StoragePlatform, *faults: Fault) -> None:
        self.inner, self.faults = inner, faults
        self.name, self.schemes, self.options = inner.name, inner.schemes, inner.options

    def parse_uri(self, uri: str) -> BucketAddress:
        """Take a bucket URI apart."""
        return self.inner.parse_uri(uri)

    def decode_options(self, values: Mapping[str, object]) -> msgspec.Struct:
        """Check ``extra_config``."""
        return self.inner.decode_options(values)

    def identity(self, location: Location) -> StorageIdentity:
        """Return where a location really is."""
        return self.inner.identity(location)

    def path(self, location: Location) -> str:
        """Return the location's path."""
        return self.inner.path(location)

    def filesystem(self, location: Location, credentials: Credentials) -> FaultyFileSystem:
        """Return the file system with its faults."""
        return FaultyFileSystem(self.inner.filesystem(location, credentials), self.faults)
