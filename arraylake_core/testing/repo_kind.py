"""The conformance kit of repo kinds."""

import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest

from arraylake_core import config
from arraylake_core.backends.repo_kind import RepoHandle
from arraylake_core.errors import (
    AlreadyExistsError,
    CommitConflictError,
    ReadOnlyError,
    RefNotFoundError,
    RepoNotFoundError,
)
from arraylake_core.models import SessionStatus

if TYPE_CHECKING:
    from zarr import Array
    from zarr.core.metadata.v3 import ArrayV3Metadata

    from arraylake_core.client.sync import Client

__all__ = ["RepoKindTests"]


def temperature(repo: RepoHandle) -> "Array[ArrayV3Metadata]":
    """Return the array of the fixture's repo."""
    return cast("Array[ArrayV3Metadata]", repo.root_group["temperature"])


def numbers(repo: RepoHandle, count: int) -> list[int]:
    """Return the first numbers of the array."""
    return [int(number) for number in np.asarray(temperature(repo)[:count])]


class RepoKindTests:
    """What every repo kind is held to, on one platform.

    Subclass it, set ``kind``, and give a fixture ``client``: a Client in whose org ``me`` the default bucket config can be written.

    Attributes
    ----------
    kind
        The name of the repo kind.
    processes, commits
        How many processes commit at once, and how often each.
    other_processes
        Whether other processes can reach the bytes.
    """

    kind: str
    processes = 4
    commits = 5
    other_processes = True

    @pytest.fixture
    def repo(self, client: "Client") -> RepoHandle:
        """Make a new repo with one array of 400 chunks."""
        repo = client.create_repo("me/ocean", kind=self.kind)
        repo.root_group.create_array("temperature", shape=(400,), chunks=(1,), dtype="i4")
        repo.commit("An empty ocean")
        return repo

    def test_the_handle_has_the_common_core(self, repo: RepoHandle) -> None:
        """Every kind's handle has the same names."""
        assert isinstance(repo, RepoHandle)
        assert (repo.name, repo.kind, repo.read_only) == ("me/ocean", self.kind, False)
        assert list(repo.branches) == ["main"]
        assert repo.tags == {}
        assert repo.branches["main"] == repo.commit_log[0].id

    def test_what_is_committed_is_there_when_it_is_opened_again(self, client: "Client", repo: RepoHandle) -> None:
        """A commit outlives the handle."""
        temperature(repo)[3] = 7
        commit = repo.commit("Three is seven", metadata={"reviewed": True})
        again = client.get_repo("me/ocean")
        assert numbers(again, 5) == [0, 0, 0, 7, 0]
        assert [entry.message for entry in again.commit_log][:2] == ["Three is seven", "An empty ocean"]
        assert again.commit_log[0].id == commit
        assert again.commit_log[0].metadata["reviewed"] is True

    def test_what_is_not_committed_is_not_there(self, client: "Client", repo: RepoHandle) -> None:
        """A write is seen by others only once it is committed."""
        temperature(repo)[3] = 7
        assert temperature(client.get_repo("me/ocean"))[3] == 0

    def test_a_commit_without_changes_is_none(self, repo: RepoHandle) -> None:
        """Nothing changed, nothing is committed."""
        assert repo.commit("Nothing") is None
        assert len([entry for entry in repo.commit_log if entry.message == "Nothing"]) == 0

    def test_commits_carry_the_author(self, client: "Client", repo: RepoHandle) -> None:
        """The author comes from the config."""
        with config.set({"user.name": "Ada Lovelace", "user.email": "ada@example.org"}):
            again = client.get_repo("me/ocean")
        again.root_group.attrs["by"] = "Ada"
        again.commit("By Ada")
        author = again.commit_log[0].author
        assert author is not None
        assert (author.name, author.email) == ("Ada Lovelace", "ada@example.org")

    def test_status_tells_what_changed(self, repo: RepoHandle) -> None:
        """Writes, new nodes and nothing else are listed, and gone after the commit."""
        assert not repo.status().modified
        temperature(repo)[3] = 7
        repo.root_group.create_group("deep")
        status = repo.status()
        assert isinstance(status, SessionStatus)
        assert set(status.modified) == {"/temperature", "/deep"}
        assert status.branch == "main"
        repo.commit("Both")
        assert not repo.status().modified

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
        repo.commit("A model run")
        xarray.testing.assert_identical(repo.to_xarray("model").load(), written)

    def test_checkout_goes_back_in_time_and_forward_again(self, repo: RepoHandle) -> None:
        """A commit id is a place to go to, where nothing is written."""
        first = repo.branches["main"]
        temperature(repo)[0] = 1
        repo.commit("One")
        repo.checkout(first)
        assert temperature(repo)[0] == 0
        with pytest.raises(ReadOnlyError):
            repo.commit("In the past")
        repo.checkout("main")
        assert temperature(repo)[0] == 1

    @pytest.mark.parametrize("ref", ["nope", "", "main ", "x" * 24])
    def test_an_unknown_ref_says_what_there_is(self, repo: RepoHandle, ref: str) -> None:
        """The checkout stays where it was."""
        with pytest.raises(RefNotFoundError, match="main"):
            repo.checkout(ref)
        assert temperature(repo)[0] == 0

    def test_a_read_only_repo_refuses_writes(self, client: "Client", repo: RepoHandle) -> None:
        """Opened read-only, it reads, and nothing else."""
        reader = client.get_repo("me/ocean", read_only=True)
        assert reader.read_only
        assert temperature(reader)[3] == 0
        with pytest.raises(Exception, match="read-only"):
            temperature(reader)[3] = 1
        with pytest.raises(ReadOnlyError):
            reader.commit("No")
        with pytest.raises(ReadOnlyError):
            reader.checkout("main", writable=True)

    def test_disjoint_changes_of_two_writers_are_both_kept(self, client: "Client", repo: RepoHandle) -> None:
        """The second commit goes on top of the first."""
        other = client.get_repo("me/ocean")
        temperature(repo)[0] = 1
        temperature(other)[1] = 2
        repo.commit("Mine")
        other.commit("Theirs")
        assert numbers(client.get_repo("me/ocean"), 3) == [1, 2, 0]

    def test_a_conflict_names_the_paths_and_changes_nothing(self, client: "Client", repo: RepoHandle) -> None:
        """The first commit stands, and the second writer still has its changes."""
        other = client.get_repo("me/ocean")
        temperature(repo)[0] = 1
        temperature(other)[0] = 2
        head = repo.commit("Mine")
        with pytest.raises(CommitConflictError, match="/temperature") as caught:
            other.commit("Theirs")
        assert list(caught.value.paths) == ["/temperature"]
        assert temperature(other)[0] == 2
        assert client.get_repo("me/ocean").branches["main"] == head

    def test_a_name_is_taken_once(self, client: "Client", repo: RepoHandle) -> None:
        """Creating it again changes nothing; get_or_create opens it."""
        with pytest.raises(AlreadyExistsError, match="me/ocean"):
            client.create_repo("me/ocean", kind=self.kind)
        assert client.get_or_create_repo("me/ocean", kind=self.kind).branches == repo.branches

    def test_a_place_is_taken_once(self, client: "Client") -> None:
        """Neither the same prefix, nor one above or below it, goes to another repo."""
        client.create_repo("me/first", kind=self.kind, prefix="team/first")
        for prefix in ("team/first", "team", "team/first/below"):
            with pytest.raises(AlreadyExistsError):
                client.create_repo("me/second", kind=self.kind, prefix=prefix)
        client.create_repo("me/second", kind=self.kind, prefix="team/first2")

    def test_deleting_is_undone_by_restoring(self, client: "Client", repo: RepoHandle) -> None:
        """Until then the name is free, and the bytes are there."""
        client.delete_repo("me/ocean", imsure=True, imreallysure=True)
        with pytest.raises(RepoNotFoundError, match="restore"):
            client.get_repo("me/ocean")
        client.restore_repo("me/ocean")
        assert client.get_repo("me/ocean").branches == repo.branches

    def test_p22_deleting_at_once_leaves_no_byte_and_frees_name_and_place(self, client: "Client", repo: RepoHandle) -> None:
        """The same name and prefix can be used anew, and are empty; a sibling whose name begins alike is untouched."""
        client.create_repo("me/aa", kind=self.kind, prefix="there/a")
        sibling = client.create_repo("me/ab", kind=self.kind, prefix="there/ab")
        client.delete_repo("me/aa", imsure=True, imreallysure=True, immediate=True)
        anew = client.create_repo("me/aa", kind=self.kind, prefix="there/a")
        assert len(anew.commit_log) <= 1
        assert client.get_repo("me/ab").branches == sibling.branches

    def test_p22_a_failed_creation_leaves_nothing_and_touches_nothing(self, client: "Client") -> None:
        """At a place with a repo in it already, creating is refused, the repo stays whole, and the name is free."""
        repo = client.create_repo("me/first", kind=self.kind, prefix="there")
        head = dict(repo.branches)
        client.delete_repo("me/first", imsure=True, imreallysure=True, immediate=True, retain_data=True)
        with pytest.raises(AlreadyExistsError, match="import_repo"):
            client.create_repo("me/second", kind=self.kind, prefix="there")
        assert client.repair_repos("me") == []
        imported = client.import_repo("me/second", prefix="there", kind=self.kind)
        assert dict(imported.branches) == head

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
        assert again.name == "me/ocean"
        assert dict(again.branches) == dict(repo.branches)

    def test_concurrent_commits_are_all_kept(self, client: "Client", repo: RepoHandle) -> None:
        """Many processes at once, each in chunks of its own: every commit is in the log, and every number in the array."""
        if not self.other_processes:
            return
        context = multiprocessing.get_context("spawn")
        workers = [context.Process(target=_commit_often, args=(client, number, self.commits)) for number in range(self.processes)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert [worker.exitcode for worker in workers] == [0] * self.processes
        after = client.get_repo("me/ocean")
        total = self.processes * self.commits
        assert numbers(after, total) == list(range(1, total + 1))
        assert len([entry for entry in after.commit_log if entry.message.startswith("number ")]) == total


def _commit_often(client: "Client", worker: int, commits: int) -> None:
    repo = client.get_repo("me/ocean")
    for number in range(worker * commits, (worker + 1) * commits):
        repo.checkout("main")
        temperature(repo)[number] = number + 1
        repo.commit(f"number {number}")
