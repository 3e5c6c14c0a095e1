"""zarr's own suite for stores, on the repos of a kind."""

from typing import TYPE_CHECKING, Self
from uuid import uuid4

import pytest
from zarr.abc.store import ByteRequest, Store, SupportsGetSync
from zarr.core.buffer import Buffer, BufferPrototype, cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore
from zarr.testing.store import StoreTests

if TYPE_CHECKING:
    from arraylake_core.client.sync import Client

__all__ = ["RepoStoreTests"]


class CheckedOut(WrapperStore[Store]):
    """The store of a repo, under a class of its own: the suite makes stores by calling a class, and repos make theirs otherwise."""

    def __init__(self, store: Store, *, read_only: bool | None = None) -> None:
        super().__init__(store if read_only is None or store.read_only == read_only else store.with_read_only(read_only))
        # A repo's store may be open already; the suite wants one that opens when it is first used.
        self._used = False

    @classmethod
    async def open(cls, store: Store, *, read_only: bool | None = None) -> "CheckedOut":  # type: ignore[override]  # made from a store, not a class
        """Return the store, ready for use."""
        opened = cls(store, read_only=read_only)
        await opened._open()
        return opened

    def with_read_only(self, read_only: bool = False) -> "CheckedOut":
        """Return the store, read-only or not."""
        return type(self)(self._store, read_only=read_only)

    @property  # type: ignore[misc]  # zarr's own can be set, which nothing does here
    def _is_open(self) -> bool:  # type: ignore[override]
        return self._used

    async def _open(self) -> None:
        if self._used:
            raise ValueError("store is already open")
        await self._ensure_open()

    async def _ensure_open(self) -> None:
        await self._store._ensure_open()
        self._used = True

    def __enter__(self) -> Self:
        self._used = True
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of it; the repo's own stays open."""
        self._used = False

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """Read a key."""
        await self._ensure_open()
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        """Write a key."""
        await self._ensure_open()
        await self._store.set(key, value)


class RepoStoreTests(StoreTests[CheckedOut, cpu.Buffer]):
    """What zarr holds a store to, on one platform.

    Subclass it, set ``kind``, and give a fixture ``client`` as for RepoKindTests.

    Attributes
    ----------
    kind
        The name of the repo kind.
    """

    store_cls = CheckedOut
    buffer_cls = cpu.Buffer
    kind: str

    @pytest.fixture
    def store_kwargs(self, client: "Client", request: pytest.FixtureRequest) -> dict[str, object]:
        """Make a new repo, and take away what is in it: the suite begins with nothing."""
        store = client.create_repo(f"me/s{uuid4().hex[:12]}", kind=self.kind).store
        sync(store.clear())
        if "_sync" in request.node.name and not isinstance(store, SupportsGetSync):
            pytest.skip("the store of this kind has no synchronous methods")
        return {"store": store}

    async def set(self, store: CheckedOut, key: str, value: Buffer) -> None:
        """Write behind the wrapper."""
        await store._store.set(key, value)

    async def get(self, store: CheckedOut, key: str) -> Buffer:
        """Read behind the wrapper."""
        value = await store._store.get(key, default_buffer_prototype())
        assert value is not None
        return self.buffer_cls.from_bytes(value.to_bytes())

    def test_store_repr(self, store: CheckedOut) -> None:
        """The wrapper's is not of interest."""
        assert repr(store._store)

    def test_store_supports_writes(self, store: CheckedOut) -> None:
        """It is writable."""
        assert store.supports_writes

    def test_store_supports_listing(self, store: CheckedOut) -> None:
        """It can be listed."""
        assert store.supports_listing
