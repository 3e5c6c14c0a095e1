"""Where an export goes: a zarr Store, and in it the marker that says what it holds."""

import os
import re
from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.mapping import FSMap
from zarr.abc.store import Store
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import FsspecStore, LocalStore

from arraylake_core.errors import ArraylakeError, InvalidOptionError, StorageError
from arraylake_core.names import shown
from arraylake_v1_repo.keys import DOCUMENTS, array_grid, check_key
from arraylake_v1_repo.syncing import Syncs

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype

__all__ = ["MARKER", "PROGRESS", "Destination", "Marker", "Progress"]

MARKER = ".arraylake-export.json"
PROGRESS = ".arraylake-export-progress.json"
# What zarr's LocalStore leaves where its process is killed while it writes.
_PARTIAL = re.compile(r"\.[0-9a-f]{32}\.partial\Z")

_MOST_NODES = 1000
"""So many nodes are looked at for the marker."""


class Marker(msgspec.Struct, frozen=True, kw_only=True):
    """What a destination holds.

    Parameters
    ----------
    repo
        The full name of the repo.
    commit
        The version.
    since
        The version that it held before; None where it was empty.
    zarr_format
        2 or 3.
    done
        Whether all of it is there.
    time
        When this was written.
    """

    format: int = 1
    repo: str
    commit: str
    since: str | None
    zarr_format: int
    done: bool
    time: datetime


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How much of an export is done: so many deletions and so many writes, in the order in which any try makes them."""

    format: int = 1
    commit: str
    deletions: int = 0
    writes: int = 0


class _Disk(LocalStore):
    """A directory whose files can be waited for until they outlive a power cut."""

    def __init__(self, root: Path | str, *, read_only: bool = False) -> None:
        super().__init__(root, read_only=read_only)
        self._syncs = Syncs(str(self.root))
        self._written: set[str] = set()

    async def set(self, key: str, value: "Buffer") -> None:
        """Write a key."""
        await super().set(key, value)
        self._written.add(key)
        self._syncs.add(key, len(value))

    async def delete(self, key: str) -> None:
        """Delete a key."""
        self._written.discard(key)
        await super().delete(key)

    async def persist(self) -> None:
        """Wait until all that was written is on the disk; OSError where the disk does not take it."""
        written = list(self._written)
        failure = await self._syncs.wait(written) if written else None
        if failure is not None:
            raise failure[1]
        self._written.difference_update(written)


class Destination:
    """A zarr Store that is exported to.

    Parameters
    ----------
    dest
        A directory, a URL that fsspec knows, an fsspec mapper, or a zarr Store.
    """

    def __init__(self, dest: "str | os.PathLike[str] | FSMap | Store") -> None:
        self.store = _opened(dest)
        self.place = str(dest.root if isinstance(dest, FSMap) else dest)

    @property
    def prototype(self) -> "BufferPrototype":
        """The buffers that it takes."""
        return default_buffer_prototype()

    async def get(self, key: str) -> bytes | None:
        """Return what is at a key."""
        if self._is_missing():
            return None
        try:
            found = await self.store.get(key, self.prototype)
        except Exception as error:  # noqa: BLE001 - stores raise what their libraries raise
            raise self.failed("read", key, error) from None
        return None if found is None else found.to_bytes()

    async def put(self, key: str, data: bytes) -> None:
        """Write a key, which names nothing outside of the destination, whatever a damaged repo says."""
        check_key(key)
        try:
            await self.store.set(key, self.prototype.buffer.from_bytes(data))
        except Exception as error:  # noqa: BLE001
            raise self.failed("write", key, error) from None

    async def delete(self, key: str) -> None:
        """Delete a key; a missing one does no harm."""
        check_key(key)
        try:
            await self.store.delete(key)
        except FileNotFoundError:
            return
        except Exception as error:  # noqa: BLE001
            raise self.failed("delete", key, error) from None

    async def read[T: (Marker, Progress)](self, key: str, type_: type[T]) -> T | None:
        """Return a marker, or None where there is none, or one that was cut off when it was written."""
        data = await self.get(key)
        if data is None:
            return None
        try:
            found = msgspec.json.decode(data, type=type_)
        except msgspec.DecodeError:
            return None
        if found.format > 1:
            raise StorageError(f"{key} at {self.place} was written by a newer release: pip install --upgrade arraylake-v1-repo")
        return found

    async def write(self, key: str, value: Marker | Progress) -> None:
        """Write a marker; on a local disk, what it speaks of is on the disk before, and it itself when this returns."""
        await self._persist()
        await self.put(key, msgspec.json.encode(value))
        await self._persist()

    async def _persist(self) -> None:
        if isinstance(self.store, _Disk):
            try:
                await self.store.persist()
            except OSError as error:
                raise self.failed("bring to the disk", "", error) from None

    async def first_array(self) -> str | None:
        """Return the path of the first array that is there, in the order in which versions have their nodes."""
        waiting, left = [""], _MOST_NODES
        while waiting and left:
            path, left = waiting.pop(), left - 1
            start = f"{path}/" if path else ""
            document = await self.get(f"{start}zarr.json")
            if await self.get(f"{start}.zarray") if document is None else _is_array(document):
                return path
            try:
                names = sorted([name.rstrip("/") async for name in self.store.list_dir(path)], reverse=True)
            except Exception as error:  # noqa: BLE001
                raise self.failed("list", path, error) from None
            waiting += [start + name for name in names if name not in DOCUMENTS]
        return None

    async def strangers(self) -> AsyncIterator[str]:
        """Give the keys that are there, without those that an export begins with."""
        if self._is_missing():
            return
        try:
            async for key in self.store.list():
                if key not in (MARKER, PROGRESS) and not _PARTIAL.search(key):
                    yield key
        except Exception as error:  # noqa: BLE001
            raise self.failed("list", "", error) from None

    def _is_missing(self) -> bool:
        """Tell whether there is not even a directory; zarr would make one to look into."""
        return isinstance(self.store, LocalStore) and not self.store.root.exists()

    def sweep(self) -> None:
        """Delete what a process that was killed left half-written on a local disk."""
        if isinstance(self.store, LocalStore):
            for path in self.store.root.rglob("*.partial"):
                if _PARTIAL.search(path.name):
                    path.unlink(missing_ok=True)

    def prune(self, keys: Iterable[str]) -> None:
        """Delete the directories on a local disk that the deletion of keys has left empty."""
        if not isinstance(self.store, LocalStore):
            return
        for directory in {key.rpartition("/")[0] for key in keys}:
            path = self.store.root / directory
            while path != self.store.root:
                try:
                    path.rmdir()
                except OSError:
                    # Something is in it, or it is gone already.
                    if path.exists():
                        break
                path = path.parent

    def failed(self, what: str, key: str, error: Exception) -> ArraylakeError:
        """Return the error that users see for one of a store's library, whose own message may hold anything."""
        if isinstance(error, ArraylakeError):
            return error
        return StorageError(
            f"could not {what} {key or 'the keys'} at {self.place} ({type(error).__name__}): look at the destination and its credentials, then "
            "export again; it goes on where it stopped"
        )


def _is_array(document: bytes) -> bool:
    return array_grid("zarr.json", document) is not None


def _opened(dest: "str | os.PathLike[str] | FSMap | Store") -> Store:
    match dest:
        case Store():
            if dest.read_only:
                raise InvalidOptionError(f"an export can't be written to {dest}, which is read-only")
            return _Disk(dest.root) if type(dest) is LocalStore else dest
        case FSMap():
            return _Disk(dest.root) if isinstance(dest.fs, LocalFileSystem) else FsspecStore.from_mapper(dest)
        case os.PathLike():
            return _Disk(Path(dest).absolute())
        case str() if dest.startswith("file:"):
            return _Disk(str(LocalFileSystem._strip_protocol(dest)))
        case str() if "://" in dest or "::" in dest:
            try:
                return FsspecStore.from_url(dest)
            except (ValueError, ImportError) as error:
                reason = str(error).split("\n")[0]
                raise InvalidOptionError(f"an export can't go to {shown(dest)}: fsspec says {shown(reason)}") from None
        case str() if dest:
            return _Disk(Path(dest).absolute())
    raise InvalidOptionError(f"an export goes to a directory, a URL, an fsspec mapper or a zarr Store, not to {shown(dest)}")
