"""The zarr store of a session."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Self

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer

from arraylake_v1_repo.content import clear_path, delete_key, get_key, key_size, set_key
from arraylake_v1_repo.keys import check_path

if TYPE_CHECKING:
    from zarr.core.buffer import BufferPrototype

    from arraylake_v1_repo.session import Session

__all__ = ["V1Store"]


class V1Store(Store):
    """What zarr reads and writes through; it pickles with its session, so that workers write into the same one.

    Parameters
    ----------
    session
        Where it reads and writes.
    read_only
        Whether this view of the session only reads; that of a read-only session always does.
    """

    supports_writes = True
    supports_deletes = True
    supports_partial_writes = False
    supports_listing = True

    def __init__(self, session: "Session", *, read_only: bool = False) -> None:
        super().__init__(read_only=read_only or session.read_only)
        self.session = session
        self._asked_read_only = read_only

    def __reduce__(self) -> "tuple[object, tuple[Session, bool, bool]]":
        return _wake_up, (self.session, self._asked_read_only, self._is_open)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, V1Store)
            and (self.session is other.session or _identity(self.session) == _identity(other.session))
            and self.read_only == other.read_only
        )

    __hash__ = Store.__hash__

    def __repr__(self) -> str:
        return f"<V1Store of {self.session!r}>"

    __str__ = __repr__

    def with_read_only(self, read_only: bool = False) -> Self:
        """Return a store on the same session that only reads, or that writes too."""
        return type(self)(self.session, read_only=read_only)

    async def get(self, key: str, prototype: "BufferPrototype", byte_range: ByteRequest | None = None) -> "Buffer | None":
        """Return the bytes of a key, or None where there is none."""
        await self._ready()
        match byte_range:
            case None:
                data = await get_key(self.session, key)
            case RangeByteRequest(start, end):
                data = await get_key(self.session, key, start, end)
            case OffsetByteRequest(offset):
                data = await get_key(self.session, key, offset)
            case SuffixByteRequest(suffix):
                data = await get_key(self.session, key, suffix=suffix)
            case _:
                raise ValueError(f"Unexpected byte_range, got {byte_range!r}.")
        return None if data is None else prototype.buffer.from_bytes(data)

    async def get_partial_values(
        self, prototype: "BufferPrototype", key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> "list[Buffer | None]":
        """Return the bytes of each key and range."""
        return list(await asyncio.gather(*(self.get(key, prototype, byte_range) for key, byte_range in key_ranges)))

    async def exists(self, key: str) -> bool:
        """Tell whether there is a key."""
        await self._ready()
        return await key_size(self.session, key) is not None

    async def getsize(self, key: str) -> int:
        """Return how many bytes a key has; FileNotFoundError where there is none."""
        await self._ready()
        size = await key_size(self.session, key)
        if size is None:
            raise FileNotFoundError(key)
        return size

    async def set(self, key: str, value: "Buffer") -> None:
        """Write a key."""
        self._check_writable()
        await self._ready(refresh=False)
        if not isinstance(value, Buffer):
            raise TypeError(f"V1Store.set takes a zarr Buffer, not a {type(value).__name__}")
        array = value.as_numpy_array()
        await set_key(self.session, key, memoryview(array).cast("B") if array.size else b"")

    async def set_if_not_exists(self, key: str, value: "Buffer") -> None:
        """Write a key, unless there is one already."""
        self._check_writable()
        if not await self.exists(key):
            await self.set(key, value)

    async def _set_many(self, values: "Iterable[tuple[str, Buffer]]") -> None:
        await asyncio.gather(*(self.set(key, value) for key, value in values))

    async def delete(self, key: str) -> None:
        """Delete a key; nothing happens where there is none."""
        self._check_writable()
        await self._ready()
        await delete_key(self.session, key)

    async def delete_dir(self, prefix: str) -> None:
        """Delete all keys below a prefix."""
        self._check_writable()
        await self._ready()
        await clear_path(self.session, check_path(prefix))

    async def clear(self) -> None:
        """Delete all keys."""
        await self.delete_dir("")

    async def is_empty(self, prefix: str) -> bool:
        """Tell whether there is no key below a prefix."""
        async for _ in self.list_prefix(f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""):
            return False
        return True

    async def list(self) -> AsyncIterator[str]:
        """Give all keys."""
        await self._ready()
        async for key in self.session.view.keys():
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """Give all keys that begin with a prefix."""
        await self._ready()
        async for key in self.session.view.keys(check_path(prefix.rpartition("/")[0])):
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """Give the names right below a prefix."""
        await self._ready()
        async for name in self.session.view.children(check_path(prefix)):
            yield name

    async def _ready(self, *, refresh: bool = True) -> None:
        if not self._is_open:
            await self._open()
        if refresh and self.session.shared:
            await self.session.refresh()


def _identity(session: "Session") -> tuple[object, ...]:
    return (
        session.binding.name,
        session.binding.objects.place,
        session.base if session.read_only else session.key,
    )


def _wake_up(session: "Session", read_only: bool, is_open: bool) -> V1Store:
    store = V1Store(session, read_only=read_only)
    store._is_open = is_open
    return store
