"""What every repo kind does, with versions or without: a repo is made, written, read, opened elsewhere, and taken away."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from arraylake_core.backends.repo_kind import RepoHandle
from arraylake_core.errors import AlreadyExistsError, RepoNotFoundError
from arraylake_core.plugins import default_registry
from arraylake_core.testing.checks import heavy_imports, nothing_blocks

if TYPE_CHECKING:
    from zarr import Array
    from zarr.core.metadata.v3 import ArrayV3Metadata

    from arraylake_core.client.sync import Client

__all__ = ["StoredRepoTests", "numbers", "temperature"]


def temperature(repo: RepoHandle) -> "Array[ArrayV3Metadata]":
    """Return the array of the fixture's repo."""
    return cast("Array[ArrayV3Metadata]", repo.root_group["temperature"])


def numbers(repo: RepoHandle, count: int) -> list[int]:
    """Return the first numbers of the array."""
    return [int(number) for number in np.asarray(temperature(repo)[:count])]


class StoredRepoTests:
    """What is kept, whatever the kind; the attributes are those of RepoKindTests."""

    kind: str
    versioned = True
    other_processes = True

    def save(self, repo: RepoHandle, message: str) -> None:
        """See to it that others see what was written."""
        if self.versioned:
            repo.commit(message)

    @pytest.fixture
    def repo(self, client: "Client") -> RepoHandle:
        """Make a new repo with one array of 400 chunks."""
        repo = client.create_repo("me/ocean", kind=self.kind)
        repo.root_group.create_array("temperature", shape=(400,), chunks=(1,), dtype="i4")
        self.save(repo, "An empty ocean")
        return repo

    def test_importing_it_loads_nothing_heavy(self) -> None:
        """In a new process."""
        assert heavy_imports(default_registry().repo_kind(self.kind)) == []

    def test_the_handle_is_of_the_kind(self, repo: RepoHandle) -> None:
        """It has every name that code which does not know the kind uses."""
        assert isinstance(repo, RepoHandle)
        assert (repo.name, repo.kind, repo.read_only) == ("me/ocean", self.kind, False)

    def test_what_is_saved_is_there_when_it_is_opened_again(self, client: "Client", repo: RepoHandle) -> None:
        """It outlives the handle."""
        temperature(repo)[3] = 7
        self.save(repo, "Three is seven")
        assert numbers(client.get_repo("me/ocean"), 5) == [0, 0, 0, 7, 0]

    def test_what_was_deleted_is_gone(self, client: "Client", repo: RepoHandle) -> None:
        """Nodes and the chunks in them."""
        repo.root_group.create_group("deep").create_array("salinity", data=np.arange(3))
        self.save(repo, "Salt")
        del repo.root_group["deep/salinity"]
        self.save(repo, "No salt")
        assert sorted(client.get_repo("me/ocean").root_group["deep"].keys()) == []  # type: ignore[union-attr]

    def test_p27_nothing_blocks_the_loop(self, client: "Client") -> None:
        """Neither creating nor opening nor deleting; what waits, waits in a thread or asynchronously."""
        with nothing_blocks():
            client.create_repo("me/quick", kind=self.kind)
            client.get_repo("me/quick")
            client.delete_repo("me/quick", imsure=True, imreallysure=True, immediate=True)

    def test_tree_shows_groups_and_arrays(self, repo: RepoHandle) -> None:
        """Names, shapes, types and sizes."""
        repo.root_group.create_group("deep/deeper").create_array("salinity", shape=(2, 3), dtype="f8")
        text = str(repo.tree())
        assert "temperature (400,) int32 1.6 KiB" in text
        assert "salinity (2, 3) float64 48 B" in text
        assert "salinity" not in str(repo.tree(depth=2))
        assert "salinity" in str(repo.tree("deep"))
        assert "temperature" not in str(repo.tree("deep"))

    def test_to_xarray_reads_what_xarray_wrote(self, repo: RepoHandle) -> None:
        """A Dataset goes in and comes out the same."""
        xarray = pytest.importorskip("xarray")
        written = xarray.Dataset({"sst": (("y", "x"), [[1.5, 2.5], [3.5, 4.5]])}, attrs={"title": "Sea surface"})
        written.to_zarr(repo.store, group="model", zarr_format=3, consolidated=False)
        self.save(repo, "A model run")
        xarray.testing.assert_identical(repo.to_xarray("model").load(), written)

    def test_a_read_only_repo_refuses_writes(self, client: "Client", repo: RepoHandle) -> None:
        """Opened read-only, it reads, and nothing else."""
        reader = client.get_repo("me/ocean", read_only=True)
        assert reader.read_only
        assert temperature(reader)[3] == 0
        with pytest.raises(Exception, match=r"read.only"):
            temperature(reader)[3] = 1
        with pytest.raises(Exception, match=r"read.only"):
            del reader.root_group["temperature"]
        assert numbers(client.get_repo("me/ocean"), 5) == [0] * 5

    def test_a_name_is_taken_once(self, client: "Client", repo: RepoHandle) -> None:
        """Creating it again changes nothing; get_or_create opens it."""
        temperature(repo)[3] = 7
        self.save(repo, "Three is seven")
        with pytest.raises(AlreadyExistsError, match="me/ocean"):
            client.create_repo("me/ocean", kind=self.kind)
        assert numbers(client.get_or_create_repo("me/ocean", kind=self.kind), 4) == [0, 0, 0, 7]

    def test_a_place_is_taken_once(self, client: "Client") -> None:
        """Neither the same prefix, nor one above or below it, goes to another repo."""
        client.create_repo("me/first", kind=self.kind, prefix="team/first")
        for prefix in ("team/first", "team", "team/first/below"):
            with pytest.raises(AlreadyExistsError):
                client.create_repo("me/second", kind=self.kind, prefix=prefix)
        client.create_repo("me/second", kind=self.kind, prefix="team/first2")

    def test_deleting_is_undone_by_restoring(self, client: "Client", repo: RepoHandle) -> None:
        """Until then the name is free, and the bytes are there."""
        temperature(repo)[3] = 7
        self.save(repo, "Three is seven")
        client.delete_repo("me/ocean", imsure=True, imreallysure=True)
        with pytest.raises(RepoNotFoundError, match="restore"):
            client.get_repo("me/ocean")
        client.restore_repo("me/ocean")
        assert numbers(client.get_repo("me/ocean"), 4) == [0, 0, 0, 7]

    def test_p22_deleting_at_once_leaves_no_byte_and_frees_name_and_place(self, client: "Client", repo: RepoHandle) -> None:
        """The same name and prefix can be used anew, and are empty; a sibling whose name begins alike is untouched."""
        made = [client.create_repo(f"me/{name}", kind=self.kind, prefix=f"there/{name}") for name in ("aa", "aab")]
        for one in made:
            one.root_group.create_array("temperature", data=np.arange(4))
            self.save(one, "Four")
        client.delete_repo("me/aa", imsure=True, imreallysure=True, immediate=True)
        anew = client.create_repo("me/aa", kind=self.kind, prefix="there/aa")
        assert sorted(anew.root_group.keys()) == []
        assert len(anew.commit_log) <= 1
        assert numbers(client.get_repo("me/aab"), 4) == [0, 1, 2, 3]

    def test_p22_a_failed_creation_leaves_nothing_and_touches_nothing(self, client: "Client") -> None:
        """At a place with a repo in it already, creating is refused, the repo stays whole, and the name is free."""
        repo = client.create_repo("me/first", kind=self.kind, prefix="there")
        repo.root_group.create_array("temperature", data=np.arange(4))
        self.save(repo, "Four")
        client.delete_repo("me/first", imsure=True, imreallysure=True, immediate=True, retain_data=True)
        with pytest.raises(AlreadyExistsError, match="import_repo"):
            client.create_repo("me/second", kind=self.kind, prefix="there")
        assert client.repair_repos("me") == []
        assert numbers(client.import_repo("me/second", prefix="there", kind=self.kind), 4) == [0, 1, 2, 3]

    def test_p27_threads_use_one_client(self, client: "Client", repo: RepoHandle) -> None:
        """Opening and reading from many threads at once."""
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda number: temperature(client.get_repo("me/ocean"))[number], range(16)))
        assert read == [0] * 16

    def test_p11_a_handle_pickles_and_wakes_up_where_it_was(self, repo: RepoHandle) -> None:
        """In another process or here; where bytes can't be reached from others, it says so."""
        if not self.other_processes:
            with pytest.raises(Exception, match="memory of this process"):
                pickle.dumps(repo)
            return
        again = pickle.loads(pickle.dumps(repo))  # noqa: S301 - made on the line itself
        assert (again.name, again.kind, again.read_only) == ("me/ocean", self.kind, False)
        assert dict(again.branches) == dict(repo.branches)
        assert numbers(again, 3) == [0, 0, 0]

    def test_after_a_restart_it_is_as_it_was(self, client: "Client", repo: RepoHandle) -> None:
        """A process that starts later opens what was saved, and this one what that has saved."""
        if not self.other_processes:
            pytest.skip("the memory of this process ends with it")
        temperature(repo)[3] = 7
        self.save(repo, "Three is seven")
        later = multiprocessing.get_context("spawn").Process(target=_go_on, args=(client, self.versioned))
        later.start()
        later.join()
        assert later.exitcode == 0
        assert numbers(client.get_repo("me/ocean"), 6) == [0, 0, 0, 7, 0, 8]


def _go_on(client: "Client", versioned: bool) -> None:
    repo = client.get_repo("me/ocean")
    assert numbers(repo, 5) == [0, 0, 0, 7, 0]
    temperature(repo)[5] = 8
    if versioned:
        repo.commit("Five is eight")
