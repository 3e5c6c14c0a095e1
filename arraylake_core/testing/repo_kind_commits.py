"""What every repo kind with versions does with them: commits, their log, conflicts, and going back."""

import multiprocessing
import threading
from typing import TYPE_CHECKING

import pytest

from arraylake_core import config
from arraylake_core.backends.repo_kind import RepoHandle
from arraylake_core.errors import CommitConflictError, ConflictError, ReadOnlyError, RefNotFoundError
from arraylake_core.models import SessionStatus
from arraylake_core.testing.repo_kind_stored import numbers, temperature

if TYPE_CHECKING:
    from arraylake_core.client.sync import Client

__all__ = ["CommitTests"]


class CommitTests:
    """Versions; the attributes and the fixture are those of RepoKindTests."""

    kind: str
    processes = 4
    commits = 5
    other_processes = True

    def test_the_handle_has_one_branch_and_its_commit(self, repo: RepoHandle) -> None:
        """Every kind with versions begins alike."""
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

    def test_p21_a_checkout_drops_no_work_unsaid(self, client: "Client", repo: RepoHandle) -> None:
        """What is not committed keeps the handle where it is, until somebody says that it may go."""
        first = repo.branches["main"]
        temperature(repo)[0] = 1
        for ref in ("main", first):
            with pytest.raises(ConflictError, match="discard=True"):
                repo.checkout(ref)
        assert repo.status().branch == "main"
        repo.commit("Kept")
        assert temperature(client.get_repo("me/ocean"))[0] == 1
        temperature(repo)[0] = 2
        repo.checkout("main", discard=True)
        assert temperature(repo)[0] == 1

    def test_p21_what_was_taken_before_a_checkout_writes_nothing_more(self, repo: RepoHandle) -> None:
        """A write that could never be committed is refused where it is made."""
        before = temperature(repo)
        repo.checkout("main")
        with pytest.raises(ConflictError, match="left for another checkout"):
            before[0] = 1
        assert temperature(repo)[0] == 0
        temperature(repo)[0] = 1
        assert repo.commit("By the new checkout") is not None

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

    def test_a_read_only_repo_commits_nothing(self, client: "Client", repo: RepoHandle) -> None:
        """And can't be made writable again."""
        reader = client.get_repo("me/ocean", read_only=True)
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

    def test_p22_a_commit_is_whole(self, client: "Client", repo: RepoHandle) -> None:
        """Whoever opens the repo while somebody commits sees all of a commit or nothing of it; and each is one commit."""
        before, done, seen = len(repo.commit_log), threading.Event(), []

        def read() -> None:
            while True:
                last = done.is_set()
                seen.append(numbers(client.get_repo("me/ocean"), 6))
                if last:
                    return

        reader = threading.Thread(target=read)
        reader.start()
        try:
            for number in range(1, 6):
                temperature(repo)[:6] = number
                repo.commit(f"All are {number}")
        finally:
            done.set()
            reader.join()
        assert [found for found in seen if len(set(found)) != 1] == []
        assert seen[-1] == [5] * 6
        log = client.get_repo("me/ocean").commit_log
        assert [entry.message for entry in log][: len(log) - before] == [f"All are {number}" for number in range(5, 0, -1)]

    def test_p22_deleting_a_repo_and_making_it_anew_brings_no_version_back(self, client: "Client", repo: RepoHandle) -> None:
        """The new one has a history of its own."""
        head = repo.branches["main"]
        client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
        anew = client.create_repo("me/ocean", kind=self.kind)
        assert head not in {entry.id for entry in anew.commit_log}

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
