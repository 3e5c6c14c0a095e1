"""zarr's own tests of stores: its suite, and its state machines with commits, sharing and reopening among their steps.

``V1_MACHINES`` multiplies how often each machine runs.
"""

import os
import pickle
from uuid import uuid4

import numpy as np
import pytest
import zarr
from arraylake_v1_repo.store import V1Store
from arraylake_v1_repo.sync import Repo
from hypothesis import HealthCheck, settings
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from zarr.core.buffer import cpu, default_buffer_prototype
from zarr.core.sync import sync
from zarr.testing.stateful import ZarrHierarchyStateMachine, ZarrStoreStateMachine
from zarr.testing.store import StoreTests

from arraylake_core import Client

# What zarr says, on every store, of data types and codecs that have no specification in Zarr format 3 yet: nothing of it is about the store.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The data type .* does not have a Zarr V3 specification"),
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning"),
]


def new_repo(client: Client) -> Repo:
    return client.create_repo(f"me/s{uuid4().hex[:12]}", kind="v1")


class V1StoreTests(StoreTests[V1Store, cpu.Buffer]):
    """zarr's suite, in a session that its process has for itself."""

    store_cls = V1Store
    buffer_cls = cpu.Buffer
    place: str

    @pytest.fixture
    def repo(self, client_on) -> Repo:
        return new_repo(client_on(self.place))

    @pytest.fixture
    def store_kwargs(self, repo) -> dict[str, object]:
        return {"session": repo.store.session}

    def behind(self, store: V1Store) -> V1Store:
        """Return where to look behind the store's back: another store on its session."""
        return V1Store(store.session)

    async def set(self, store: V1Store, key: str, value: cpu.Buffer) -> None:
        await self.behind(store).set(key, value)

    async def get(self, store: V1Store, key: str) -> cpu.Buffer:
        value = await self.behind(store).get(key, default_buffer_prototype())
        assert value is not None
        return self.buffer_cls.from_bytes(value.to_bytes())

    def test_store_repr(self, store: V1Store) -> None:
        assert "V1Store" in repr(store)
        assert "me/s" in repr(store)
        assert str(store) == repr(store)

    def test_store_supports_writes(self, store: V1Store) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: V1Store) -> None:
        assert store.supports_listing

    async def test_what_was_set_is_committed(self, repo, client_on) -> None:
        """Every kind of key: documents, chunks of an array, and what is neither."""
        root = zarr.open_group(repo.store, mode="w")
        array = root.create_array("deep/array", shape=(40,), chunks=(10,), dtype="i8", compressors=None)
        array[:] = np.arange(40)
        values = {"loose": b"", "deep/loose": b"x" * 10_000, "deep/array/note.txt": b"a note", "deep/array/c/9/9": b"no chunk"}
        for key, value in values.items():
            await repo.store.set(key, self.buffer_cls.from_bytes(value))
        keys = sorted([key async for key in repo.store.list()])
        repo.commit("Everything")
        again = client_on(self.place).get_repo(repo.name, read_only=True).store
        assert sorted([key async for key in again.list()]) == keys
        for key, value in values.items():
            assert (await again.get(key, default_buffer_prototype())).to_bytes() == value
        assert zarr.open_array(again, path="deep/array", mode="r")[:].tolist() == list(range(40))


class SharedV1StoreTests(V1StoreTests):
    """The same in a session that others write to: what is behind the store's back is somebody else who joined it."""

    @pytest.fixture
    def store_kwargs(self, repo, client_on) -> dict[str, object]:
        self.other = client_on(self.place).get_repo(repo.name).join_session(repo.session.id).store
        return {"session": repo.store.session}

    def behind(self, store: V1Store) -> V1Store:
        return self.other


class TestOnLocalDisk(V1StoreTests):
    place = "file"


class TestSharedOnLocalDisk(SharedV1StoreTests):
    place = "file"


class TestInMemory(V1StoreTests):
    place = "memory"

    async def test_serializable_store(self, store: V1Store) -> None:
        """Nobody else sees the memory of this process: who tries is told so."""
        with pytest.raises(Exception, match="memory of this process"):
            pickle.dumps(store)


class TestOnS3(V1StoreTests):
    place = "s3"


class TestOverFsspecAlone(V1StoreTests):
    place = "sftp"


# State machines


class StoreMachine(ZarrStoreStateMachine):
    """zarr's machine over keys; now and then it commits, and somebody else reads what was committed, or the session is shared."""

    client: Client

    def __init__(self) -> None:
        self.repo = new_repo(self.client)
        super().__init__(self.repo.store)

    @rule()
    def commit(self) -> None:
        before = self.repo.commit_log[0].id
        commit = self.repo.commit("A step")
        assert self.repo.branches["main"] == (commit or before)
        again = self.client.get_repo(self.repo.name, read_only=True).store
        assert sorted(self.store._sync_iter(again.list())) == sorted(self.model)
        for key, value in self.model.items():
            assert sync(again.get(key, self.prototype)) == value

    @rule()
    def share(self) -> None:
        assert self.repo.session.id

    @rule()
    def commit_and_go_on_elsewhere(self) -> None:
        self.repo.commit("A step")
        self.repo = self.client.get_repo(self.repo.name)
        self.store.store = self.repo.store


class HierarchyMachine(ZarrHierarchyStateMachine):
    """zarr's machine over groups and arrays, with the same steps."""

    client: Client

    def __init__(self) -> None:
        self.repo = new_repo(self.client)
        super().__init__(self.repo.store)

    @precondition(lambda self: self.all_groups or self.all_arrays)
    @rule()
    def commit(self) -> None:
        self.repo.commit("A step")
        again = self.client.get_repo(self.repo.name, read_only=True).store
        assert sorted(self._sync_iter(again.list())) == sorted(self._sync_iter(self.model.list()))
        for path in self.all_arrays:
            ours, theirs = (zarr.open_array(store, path=path, mode="r") for store in (again, self.model))
            assert ours.metadata == theirs.metadata
            np.testing.assert_equal(ours[...], theirs[...])

    @rule()
    def share(self) -> None:
        assert self.repo.session.id

    @rule()
    def commit_and_go_on_elsewhere(self) -> None:
        self.repo.commit("A step")
        self.repo = self.client.get_repo(self.repo.name)
        self.store = self.repo.store


TIMES = int(os.environ.get("V1_MACHINES", "1"))
EXAMPLES = {"file": 8, "memory": 8, "s3": 2, "sftp": 2}


@pytest.mark.parametrize("place", EXAMPLES)
@pytest.mark.parametrize("machine", [StoreMachine, HierarchyMachine])
def test_zarr_state_machines(client_on, place, machine) -> None:
    run_state_machine_as_test(
        type(machine.__name__, (machine,), {"client": client_on(place)}),
        settings=settings(
            max_examples=EXAMPLES[place] * TIMES, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
