"""The conformance kit of repo kinds that keep no versions: what they keep, and how they say what they can't do."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from arraylake_core.backends.repo_kind import RepoHandle
from arraylake_core.errors import ArraylakeError
from arraylake_core.testing.repo_kind_stored import StoredRepoTests, numbers, temperature

if TYPE_CHECKING:
    from arraylake_core.client.sync import Client

__all__ = ["UnversionedRepoKindTests"]

VERSIONED: dict[str, Callable[[RepoHandle], object]] = {
    "commit": lambda repo: repo.commit("A version"),
    "checkout": lambda repo: repo.checkout("main"),
    "checkout of a commit": lambda repo: repo.checkout("0" * 20),
}


class UnversionedRepoKindTests(StoredRepoTests):
    """What a repo kind without versions is held to, on one platform: each write is there for everybody at once.

    Subclass it as RepoKindTests.
    """

    versioned = False

    @pytest.mark.parametrize("what", VERSIONED)
    def test_what_it_cannot_do_it_says(self, repo: RepoHandle, what: str) -> None:
        """With the repo's name, why not, and a kind that can; and nothing has changed."""
        temperature(repo)[3] = 7
        with pytest.raises(ArraylakeError, match=r"me/ocean.*kind") as caught:
            VERSIONED[what](repo)
        assert "no version" in str(caught.value)
        assert numbers(repo, 4) == [0, 0, 0, 7]

    def test_it_has_no_versions(self, repo: RepoHandle) -> None:
        """No branch, no tag, no log, and nothing that waits for a commit."""
        temperature(repo)[3] = 7
        assert (dict(repo.branches), dict(repo.tags), list(repo.commit_log)) == ({}, {}, [])
        assert repo.status().modified == {}

    def test_a_write_is_there_for_everybody_at_once(self, client: "Client", repo: RepoHandle) -> None:
        """Also for who had opened it before."""
        other = client.get_repo("me/ocean")
        temperature(repo)[3] = 7
        assert numbers(other, 4) == [0, 0, 0, 7]
        temperature(other)[0] = 1
        assert numbers(repo, 4) == [1, 0, 0, 7]
