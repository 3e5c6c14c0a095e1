"""One source file, as VirtualiZarr's parsers want it: a registry with a store that reads it through its grant and nothing else."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from arraylake_core.errors import PermissionDeniedError
from arraylake_core.loops import submit
from arraylake_v1_repo.virtual.grants import shown_url
from arraylake_v1_repo.virtual.sources import SourceFile, SourceReader

if TYPE_CHECKING:
    from obspec import ObjectMeta

__all__ = ["Window", "WindowRegistry"]


class Window:
    """An object store that holds one file, under whatever name: each read of it is checked against its fingerprint.

    It does what parsers use of the obspec protocols: ``head``, ``get_range`` and ``get_ranges``, blocking and asynchronous.

    Parameters
    ----------
    file
        The file.
    sources
        Reads it.
    """

    def __init__(self, file: SourceFile, sources: SourceReader) -> None:
        self._file = file
        self._sources = sources

    def head(self, path: str) -> "ObjectMeta":
        """Return what is known of the file."""
        return {
            "path": path,
            "size": self._file.size,
            "e_tag": self._file.etag,
            "last_modified": datetime.fromtimestamp((self._file.modified or 0) / 1e9, UTC),
            "version": None,
        }

    async def head_async(self, path: str) -> "ObjectMeta":
        """Return what is known of the file."""
        return self.head(path)

    def get_range(self, path: str, *, start: int, end: int | None = None, length: int | None = None) -> bytes:
        """Return a part of the file; to be called from a thread of its own."""
        # Read in this thread where it can be: h5py holds its lock meanwhile, which a thread that collects garbage may want.
        return self._sources.read_blocking(self._file, *self._part(start, end, length))

    async def get_range_async(self, path: str, *, start: int, end: int | None = None, length: int | None = None) -> bytes:
        """Return a part of the file."""
        return await asyncio.wrap_future(submit(self._read(start, end, length)))

    def get_ranges(
        self, path: str, *, starts: Sequence[int], ends: Sequence[int] | None = None, lengths: Sequence[int] | None = None
    ) -> Sequence[bytes]:
        """Return parts of the file; to be called from a thread of its own."""
        stops = ends if ends is not None else [start + length for start, length in zip(starts, lengths or (), strict=True)]
        return [self.get_range(path, start=start, end=stop) for start, stop in zip(starts, stops, strict=True)]

    async def get_ranges_async(
        self, path: str, *, starts: Sequence[int], ends: Sequence[int] | None = None, lengths: Sequence[int] | None = None
    ) -> Sequence[bytes]:
        """Return parts of the file."""
        return await asyncio.wrap_future(submit(self._read_all(starts, ends, lengths)))

    def _part(self, start: int, end: int | None, length: int | None) -> tuple[int, int]:
        """Return the offset and length of a part: as object stores do, less is given where the file ends."""
        start = min(start, self._file.size)
        stop = min(end if end is not None else start + (length or 0), self._file.size)
        return start, max(stop - start, 0)

    async def _read(self, start: int, end: int | None, length: int | None) -> bytes:
        return await self._sources.read(self._file, *self._part(start, end, length))

    async def _read_all(self, starts: Sequence[int], ends: Sequence[int] | None, lengths: Sequence[int] | None) -> list[bytes]:
        stops = ends if ends is not None else [start + length for start, length in zip(starts, lengths or (), strict=True)]
        return await asyncio.gather(*(self._read(start, stop, None) for start, stop in zip(starts, stops, strict=True)))


class WindowRegistry[Store]:
    """A registry in which one URL, and no other, leads to a store.

    Parameters
    ----------
    url
        The URL.
    store
        The store.
    path
        The path in the store.
    """

    def __init__(self, url: str, store: Store, path: str) -> None:
        self._url = url
        self._store = store
        self._path = path

    def resolve(self, url: str) -> tuple[Store, str]:
        """Return the store, and the path in it."""
        if url != self._url:
            raise PermissionDeniedError(f"the parser asked for {shown_url(url)}, and was to read {shown_url(self._url)} alone")
        return self._store, self._path
