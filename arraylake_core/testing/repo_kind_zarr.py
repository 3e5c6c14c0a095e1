"""zarr's own suite for stores, on the repos of a kind. It needs zarr with the packages that its tests need."""

import pickle
from typing import TYPE_CHECKING, ClassVar, Self
from uuid import uuid4

import numpy as np
import pytest
import zarr
from zarr.abc.store import ByteRequest, Store, SupportsGetSync
from zarr.core.buffer import Buffer, BufferPrototype, cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore
from zarr.testing.store import StoreTests

from arraylake_core.backends.repo_kind import RepoHandle
from arraylake_core.testing.checks import SAID_OF_EVERY_STORE
from arraylake_core.testing.repo_kind_nodes import NodeKeyTests

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


# What zarr's suite does with keys and contents that no node of a hierarchy has, such as b"bar" at "foo".
_OF_ANY_KEY = frozenset(
    {
        "test_clear",
        "test_delete",
        "test_delete_dir",
        "test_delete_nonexistent_key_does_not_raise",
        "test_exists",
        "test_get",
        "test_get_many",
        "test_get_not_open",
        "test_get_partial_values",
        "test_get_raises",
        "test_getsize",
        "test_getsize_prefix",
        "test_is_empty",
        "test_list",
        "test_list_dir",
        "test_list_empty_path",
        "test_list_prefix",
        "test_read_only_store_raises",
        "test_serializable_store",
        "test_set",
        "test_set_if_not_exists",
        "test_set_many",
        "test_set_not_open",
        "test_what_was_set_is_saved",
        "test_with_read_only_store",
    }
)


@pytest.mark.filterwarnings(*SAID_OF_EVERY_STORE)
class RepoStoreTests(NodeKeyTests, StoreTests[Store, cpu.Buffer]):
    """What zarr holds a store to, on one platform: its suite, and its state machines.

    Subclass it, set ``kind``, and give a fixture ``client`` as for RepoKindTests; one for all tests of the class will do. A kind whose stores can be made by
    calling their class sets ``store_cls``, and replaces ``store_kwargs`` and ``behind``.

    Attributes
    ----------
    kind
        The name of the repo kind.
    versioned
        Whether the kind keeps versions.
    any_key
        Whether its stores take any key; else documents and chunks of Zarr's nodes alone, and the tests of other keys are skipped.
    other_processes
        Whether other processes can reach the bytes.
    lives
        How many random lives each of zarr's state machines has.
    """

    store_cls: ClassVar[type[Store]] = CheckedOut  # type: ignore[misc]  # zarr has no ClassVar, and means one
    buffer_cls = cpu.Buffer
    kind: str
    versioned = True
    any_key = True
    other_processes = True
    lives = 4

    @pytest.fixture(autouse=True)
    def _as_the_kind_is(self, request: pytest.FixtureRequest) -> None:
        name = request.node.originalname
        if not self.any_key and name in _OF_ANY_KEY:
            pytest.skip(
                f"the stores of {self.kind!r} take documents and chunks of nodes alone: test_nodes_ have the same of those"
            )

    @pytest.fixture
    def repo(self, client: "Client") -> RepoHandle:
        """Make a new repo, and take away what is in it: the suite begins with nothing."""
        repo = client.create_repo(f"me/s{uuid4().hex[:12]}", kind=self.kind)
        sync(repo.store.clear())
        return repo

    @pytest.fixture
    def store_kwargs(self, repo: RepoHandle, request: pytest.FixtureRequest) -> dict[str, object]:
        """Return what the class is called with."""
        store = repo.store
        if "_sync" in request.node.name and not isinstance(store, SupportsGetSync):
            pytest.skip("the store of this kind has no synchronous methods")
        return {"store": store}

    def behind(self, store: Store) -> Store:
        """Return what sees the same as a store, to look behind its back."""
        assert isinstance(store, CheckedOut)
        return store._store

    async def set(self, store: Store, key: str, value: Buffer) -> None:
        """Write behind its back."""
        await self.behind(store).set(key, value)

    async def get(self, store: Store, key: str) -> Buffer:
        """Read behind its back."""
        value = await self.behind(store).get(key, default_buffer_prototype())
        assert value is not None
        return self.buffer_cls.from_bytes(value.to_bytes())

    def test_store_repr(self, store: Store) -> None:
        """It has one of its own, which says more than an address in memory."""
        behind = self.behind(store)
        assert f"{id(behind):x}" not in repr(behind)

    def test_store_supports_writes(self, store: Store) -> None:
        """It is writable."""
        assert store.supports_writes

    def test_store_supports_listing(self, store: Store) -> None:
        """It can be listed."""
        assert store.supports_listing

    async def test_serializable_store(self, store: Store) -> None:
        """It travels; where other processes can't reach the bytes, it says so."""
        if self.other_processes:
            await super().test_serializable_store(store)
            return
        with pytest.raises(Exception, match="memory of this process"):
            pickle.dumps(store)

    async def test_what_was_set_is_saved(self, client: "Client", repo: RepoHandle) -> None:
        """Every kind of key: documents, chunks of an array, and what is neither."""
        root = zarr.open_group(repo.store, mode="w")
        array = root.create_array("deep/array", shape=(40,), chunks=(10,), dtype="i8", compressors=None)
        array[:] = np.arange(40)
        values = {"loose": b"", "deep/loose": b"x" * 10_000, "deep/array/note.txt": b"a note", "deep/array/c/9/9": b"no chunk"}
        for key, value in values.items():
            await repo.store.set(key, self.buffer_cls.from_bytes(value))
        keys = sorted([key async for key in repo.store.list()])
        if self.versioned:
            repo.commit("Everything")
        again = client.get_repo(repo.name, read_only=True).store
        assert sorted([key async for key in again.list()]) == keys
        for key, value in values.items():
            found = await again.get(key, default_buffer_prototype())
            assert found is not None
            assert found.to_bytes() == value
        assert np.asarray(zarr.open_array(again, path="deep/array", mode="r")[:]).tolist() == list(range(40))

    def test_zarrs_machine_of_keys(self, client: "Client") -> None:
        """Keys come and go, with commits and reopening among the steps."""
        if not self.any_key:
            pytest.skip(f"the stores of {self.kind!r} take documents and chunks of nodes alone")
        machines = pytest.importorskip(
            "arraylake_core.testing.repo_kind_machines", reason="zarr's state machines need hypothesis"
        )
        machines.run_machine(machines.KeyMachine, client, self.kind, versioned=self.versioned, lives=self.lives)

    def test_zarrs_machine_of_hierarchies(self, client: "Client") -> None:
        """Groups and arrays come, change and go, with commits and reopening among the steps."""
        machines = pytest.importorskip(
            "arraylake_core.testing.repo_kind_machines", reason="zarr's state machines need hypothesis"
        )
        machines.run_machine(machines.HierarchyMachine, client, self.kind, versioned=self.versioned, lives=self.lives)
