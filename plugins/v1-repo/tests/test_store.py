"""zarr's own tests of stores, as the kit has them, on the store of a V1 repo itself; and in sessions that are shared.

``V1_MACHINES`` multiplies how often each state machine runs.
"""

import os

import pytest
from arraylake_v1_repo.store import V1Store
from hypothesis.stateful import rule

from arraylake_core import Client
from arraylake_core.testing import RepoStoreTests
from arraylake_core.testing.repo_kind_machines import HierarchyMachine, KeyMachine, run_machine

TIMES = int(os.environ.get("V1_MACHINES", "1"))


class V1StoreTests(RepoStoreTests):
    """In a session that its process has for itself."""

    kind = "v1"
    store_cls = V1Store
    place: str
    lives = 8 * TIMES

    @pytest.fixture
    def client(self, client_on) -> Client:
        return client_on(self.place)

    @pytest.fixture
    def store_kwargs(self, repo) -> dict[str, object]:
        return {"session": repo.store.session}

    def behind(self, store: V1Store) -> V1Store:
        """Return where to look behind the store's back: another store on its session."""
        return V1Store(store.session)

    def test_store_repr(self, store: V1Store) -> None:
        assert "V1Store" in repr(store)
        assert "me/s" in repr(store)
        assert str(store) == repr(store)


class TestOnLocalDisk(V1StoreTests):
    place = "file"


class TestSharedOnLocalDisk(V1StoreTests):
    """The same in a session that others write to: what is behind the store's back is somebody else who joined it."""

    place = "file"

    @pytest.fixture
    def store_kwargs(self, repo, client) -> dict[str, object]:
        self.other = client.get_repo(repo.name).join_session(repo.session.id).store
        return {"session": repo.store.session}

    def behind(self, store: V1Store) -> V1Store:
        return self.other

    @pytest.mark.parametrize("machine", [KeyMachine, HierarchyMachine])
    def test_zarrs_machines_share(self, client, machine) -> None:
        class Sharing(machine):
            @rule()
            def share(self) -> None:
                assert self.repo.session.id

        run_machine(Sharing, client, "v1", versioned=True, lives=self.lives)

    def test_zarrs_machine_of_keys(self) -> None:
        """Above, with sharing among the steps."""

    def test_zarrs_machine_of_hierarchies(self) -> None:
        """The same."""


class TestInMemory(V1StoreTests):
    place = "memory"
    other_processes = False


class TestOnS3(V1StoreTests):
    place = "s3"
    lives = 2 * TIMES


class TestOverFsspecAlone(V1StoreTests):
    place = "sftp"
    lives = 2 * TIMES
