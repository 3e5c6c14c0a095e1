"""zarr's own suite for stores, on the repos of a kind."""

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from zarr.abc.store import Store
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype
from zarr.storage import WrapperStore
from zarr.testing.store import StoreTests

if TYPE_CHECKING:
    from arraylake_core.client.sync import Client

__all__ = ["RepoStoreTests"]


class CheckedOut(WrapperStore[Store]):
    """The store of a repo, under a class of its own: the suite makes stores by calling a class, and repos make theirs otherwise."""

    def __init__(self, store: Store, *, read_only: bool | None = None) -> None:
        super().__init__(store if read_only is None or store.read_only == read_only else store.with_read_only(read_only))

    @classmethod
    async def open(cls, store: Store, *, read_only: bool | None = None) -> "CheckedOut":  # type: ignore[override]  # made from a store, not from a class
        """Return the store, ready for use."""
        opened = cls(store, read_only=read_only)
        await opened._open()
        return opened

    def with_read_only(self, read_only: bool = False) -> "CheckedOut":
        """Return the store, read-only or not."""
        return type(self)(self._store, read_only=read_only)


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
    def store_kwargs(self, client: "Client") -> dict[str, object]:
        """Make a new repo."""
        return {"store": client.create_repo(f"me/s{uuid4().hex[:12]}", kind=self.kind).store}

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
