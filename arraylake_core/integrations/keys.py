"""The keys of a zarr store as files and directories; whatever keeps them, the answers are the same."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["file_size", "is_directory", "keys_below", "names_in", "read"]


async def read(store: "Store", key: str, start: int | None = None, end: int | None = None) -> bytes | None:
    """Return the bytes of a key, or of a part of it.

    Parameters
    ----------
    store
        A zarr store.
    key
        A key.
    start, end
        As in a slice of bytes: negative ones count from the end, and what is out of bounds is left out.

    Returns
    -------
    bytes or None
        None where there is no such key.
    """
    from zarr.abc.store import RangeByteRequest
    from zarr.core.buffer import default_buffer_prototype

    wanted = None
    if start or end is not None:
        # Icechunk ends with a panic where a range is out of bounds, so that the store is asked for what there is.
        size = await file_size(store, key)
        if size is None:
            return None
        first, last, _ = slice(start, end).indices(size)
        if first >= last:
            return b""
        wanted = RangeByteRequest(first, last)
    try:
        found = await store.get(key, default_buffer_prototype(), wanted)
    except ValueError:
        if await _has(store, key):
            raise
        return None
    return None if found is None else found.to_bytes()


async def file_size(store: "Store", key: str) -> int | None:
    """Return how many bytes a key has; None where there is no such key."""
    return await store.getsize(key) if await _has(store, key) else None


async def _has(store: "Store", key: str) -> bool:
    try:
        return await store.exists(key)
    except ValueError:
        # Icechunk refuses a text that can't be a key, such as the name of a group.
        return False


async def is_directory(store: "Store", path: str) -> bool:
    """Tell whether there are keys below a path."""
    async for _ in store.list_dir(path):
        return True
    return False


async def names_in(store: "Store", path: str) -> list[str]:
    """Return the names right below a path, sorted."""
    return sorted({name.rstrip("/") async for name in store.list_dir(path)} - {""})


async def keys_below(store: "Store", path: str) -> AsyncIterator[str]:
    """Give all keys below a path."""
    try:
        async for key in store.list_prefix(f"{path}/" if path else ""):
            yield key
        return
    except ValueError:
        # Icechunk lists no keys but those of whole groups and arrays.
        pass
    for name in await names_in(store, path):
        key = f"{path}/{name}"
        if await _has(store, key):
            yield key
        else:
            async for below in keys_below(store, key):
                yield below
