"""The bytes of a repo on a disk of this machine, read and written with the operating system's own calls.

Small chunks are what most arrays on a laptop have; on them, every layer in between costs more than the disk.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from arraylake_core.errors import StorageError
from arraylake_v1_repo.objects import Check, ObjectInfo, aside, failed, is_aside, whole
from arraylake_v1_repo.syncing import Syncs, sync_open

__all__ = ["FileObjects"]

_INLINE_BYTES = 128 * 1024
"""What is smaller is written at once: handing it to a thread takes longer than writing it."""
_QUICK = 256 * 2**10
"""What is larger is left to a thread, beside which zarr goes on with other chunks."""
_SLOW = 0.002
_SLOW_WRITE = 0.01
_LEFT_TO_THREADS = 64
"""After one that kept everybody waiting, on a cold disk or over a network, so many are left to threads, side by side."""


class FileObjects:
    """Objects that are files below a directory.

    Parameters
    ----------
    root
        The directory: a real, absolute path.
    place
        Its URI, for messages.
    """

    local = True

    def __init__(self, root: str, place: str) -> None:
        self.place = place
        self._root = root
        self._in_threads = 0
        self._slow_writes = 0
        self._syncs = Syncs(root)

    def __reduce__(self) -> tuple[type["FileObjects"], tuple[str, str]]:
        return type(self), (self._root, self.place)

    def __repr__(self) -> str:
        return f"<objects at {self.place}>"

    @property
    def quick_bytes(self) -> int:
        """Objects of up to so many bytes are written sooner than they are handed to a thread; none where the disk keeps everybody waiting."""
        if self._slow_writes > 0:
            self._slow_writes -= 1
            return 0
        return _QUICK

    async def get(self, key: str) -> bytes | None:
        """Return an object, or None where there is none of that key."""
        return await self._read("read", key, None, None)

    async def get_range(self, key: str, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to, without, ``end``."""
        if start == end:
            return b""
        data = await self._read(f"read bytes {start} to {end} of", key, start, end)
        if data is None:
            raise failed("read", key, self.place, FileNotFoundError())
        if len(data) != end - start:
            raise StorageError(f"{key} at {self.place} is cut off: it has no bytes {start} to {end}; restore it from a backup")
        return data

    async def get_whole(self, key: str, length: int, check: Check) -> bytes:
        """Return an object that must be there, have so many bytes, and stand a check."""

        def is_right(data: bytes) -> None:
            check(whole(data, key, length, self.place))

        return whole(await self._read("read", key, None, None, is_right), key, length, self.place)

    async def put(self, key: str, data: bytes) -> None:
        """Write an object, whole or not at all."""
        if len(data) <= _INLINE_BYTES and not _changes(key):
            self.put_blocking(key, data)
        else:
            await asyncio.to_thread(self.put_blocking, key, data)

    def put_blocking(self, key: str, data: bytes | memoryview) -> None:
        """Do what ``put`` does, for threads without an event loop."""
        path = f"{self._root}/{key}"
        began = time.perf_counter()
        on_disk = False
        try:
            there = os.path.exists(path)  # noqa: PTH110 - a Path takes longer to make than the call
            if not there or _changes(key) or not _is_the_same(path, data):
                # What takes the place of another file must be on the disk before: that one may be what a commit points at, or a mirror.
                on_disk = there or _changes(key)
                _put(path, data, on_disk=on_disk)
        except OSError as error:
            raise failed("write", key, self.place, error) from None
        if time.perf_counter() - began > _SLOW_WRITE:
            self._slow_writes = _LEFT_TO_THREADS
        if not on_disk:
            self._syncs.add(key, len(data))

    async def persist(self, keys: Sequence[str]) -> None:
        """Wait until objects outlive a power cut: they and their names are on the disk."""
        failure = await self._syncs.wait(keys)
        if failure is not None:
            key, error = failure
            raise StorageError(
                f"the disk did not take {key} at {self.place} ({type(error).__name__}): nothing points at it; look at the disk, and write it again"
            )

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; missing ones do no harm."""

        def remove() -> None:
            for key in keys:
                try:
                    Path(self._root, key).unlink()
                except FileNotFoundError:
                    continue
                except OSError as error:
                    raise failed("delete", key, self.place, error) from None

        await asyncio.to_thread(remove)

    async def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Give all objects below a prefix."""
        for info in await asyncio.to_thread(self._find, prefix.strip("/"), parts=False):
            yield info

    async def leftovers(self) -> AsyncIterator[ObjectInfo]:
        """Give what is, or was when its process was killed, being written."""
        for info in await asyncio.to_thread(self._find, "", parts=True):
            yield info

    async def head(self, key: str) -> ObjectInfo | None:
        """Return what the file system says of an object."""
        try:
            found = os.stat(f"{self._root}/{key}")  # noqa: PTH116 - it takes microseconds
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failed("look at", key, self.place, error) from None
        return ObjectInfo(key, found.st_size, datetime.fromtimestamp(found.st_mtime, UTC))

    async def _read(self, what: str, key: str, start: int | None, end: int | None, check: Check | None = None) -> bytes | None:
        try:
            descriptor = os.open(f"{self._root}/{key}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise failed(what, key, self.place, error) from None
        is_lent = False
        try:
            first = start or 0
            count = (os.fstat(descriptor).st_size if end is None else end) - first
            if count > _QUICK or self._in_threads > 0:
                self._in_threads = max(self._in_threads - 1, 0)
                # The thread closes the file: whoever is cancelled must not close what it still reads.
                is_lent = True
                reading = asyncio.get_running_loop().run_in_executor(None, _all_and_close, descriptor, count, first, check)
                return await asyncio.shield(reading)
            began = time.perf_counter()
            data = _all(descriptor, count, first, check)
            if time.perf_counter() - began > _SLOW:
                self._in_threads = _LEFT_TO_THREADS
            return data
        except OSError as error:
            raise failed(what, key, self.place, error) from None
        finally:
            if not is_lent:
                os.close(descriptor)

    def _find(self, prefix: str, *, parts: bool) -> Sequence[ObjectInfo]:
        found = []
        waiting = [f"{self._root}/{prefix}" if prefix else self._root]
        while waiting:
            directory = waiting.pop()
            try:
                with os.scandir(directory) as entries:
                    for entry in entries:
                        if entry.is_dir(follow_symlinks=False):
                            waiting.append(entry.path)
                        elif is_aside(entry.name) is parts:
                            with suppress(FileNotFoundError):
                                about = entry.stat(follow_symlinks=False)
                                modified = datetime.fromtimestamp(about.st_mtime, UTC)
                                found.append(ObjectInfo(entry.path[len(self._root) + 1 :], about.st_size, modified))
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise failed("list", prefix, self.place, error) from None
        return found


def _all(descriptor: int, count: int, start: int, check: Check | None) -> bytes:
    """Read so many bytes, or as many as there are, and check them."""
    data = os.pread(descriptor, count, start)
    while len(data) < count:
        more = os.pread(descriptor, count - len(data), start + len(data))
        if not more:
            break
        data += more
    if check is not None:
        check(data)
    return data


def _all_and_close(descriptor: int, count: int, start: int, check: Check | None) -> bytes:
    try:
        return _all(descriptor, count, start, check)
    finally:
        os.close(descriptor)


def _changes(key: str) -> bool:
    """Tell whether what is at a key may be replaced by something else."""
    return key.startswith("refs/")


def _is_the_same(path: str, data: bytes | memoryview) -> bool:
    """Tell whether a file has these bytes; it is then as good as written now, and as young."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123
            if os.fstat(file.fileno()).st_size != len(data) or file.readall() != data:
                return False
            os.utime(file.fileno())
    except OSError:
        return False
    return True


def _put(path: str, data: bytes | memoryview, *, on_disk: bool) -> None:
    """Write a file aside, and give it its name."""
    for is_last in (False, True):
        draft = aside(path)
        try:
            _write(draft, data, on_disk=on_disk)
            os.replace(draft, path)  # noqa: PTH105
        except FileNotFoundError:
            # No directory yet; or else a collection without any grace has taken the file for that of a dead process.
            if is_last:
                raise
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            with suppress(OSError):
                Path(draft).unlink()
            raise
        else:
            return


def _write(path: str, data: bytes | memoryview, *, on_disk: bool) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        if on_disk:
            sync_open(descriptor)
    finally:
        os.close(descriptor)
