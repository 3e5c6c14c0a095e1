"""The same journey on every storage platform, in every repo kind, by every auth method: whatever is installed, from the registry.

Run as a script, this module writes docs/backends.md anew.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from arraylake_core import Client
from arraylake_core.errors import ArraylakeError, CommitConflictError, ReadOnlyError, RepoNotFoundError
from arraylake_core.plugins import default_registry
from tests.servers.places import PLACES, UNTRIED, bucket_config

PAGE = Path(__file__).parents[2] / "docs" / "backends.md"


class Cell(NamedTuple):
    """One way to keep a repo."""

    platform: str
    kind: str
    auth: str

    @property
    def reason(self) -> str | None:
        """Why it can't be tried, or None where it is."""
        place = PLACES.get((self.platform, self.auth))
        if place is None:
            return UNTRIED.get((self.platform, self.auth))
        if place.kinds is not None and self.kind not in place.kinds:
            return UNTRIED[self.platform, self.auth]
        return None


def cells() -> list[Cell]:
    """Return every combination that the installed plugins offer."""
    registry = default_registry()
    return [
        Cell(platform, kind, auth)
        for platform in sorted(registry.names("storage platform"))
        for kind in sorted(registry.names("repo kind"))
        for auth in sorted(registry.names("auth method"))
        if (served := registry.auth_method(auth).platforms) is None or platform in served
    ]


TRIED = [cell for cell in cells() if cell.reason is None]


@pytest.mark.parametrize("cell", TRIED, ids="-".join)
def test_a_repo_is_created_written_committed_read_listed_and_deleted(cell: Cell, request: pytest.FixtureRequest) -> None:
    with Client("memory://") as client:
        client.create_bucket_config(org="me", **bucket_config(request, cell.platform, cell.auth))
        assert client.get_bucket_config(org="me", nickname="tried").platform == cell.platform
        repo = client.create_repo("me/ocean", bucket_config_nickname="tried", kind=cell.kind, prefix="ocean")
        written = np.arange(24, dtype="f4").reshape(4, 6)
        repo.root_group.create_group("model").create_array("sst", data=written, chunks=(2, 3))
        first = repo.commit("A model run")
        other = client.get_repo("me/ocean")
        repo.root_group["model/sst"][0, 0] = 1
        other.root_group["model/sst"][0, 0] = 2
        head = repo.commit("Mine")
        with pytest.raises(CommitConflictError, match="/model/sst"):
            other.commit("Theirs")
        reader = client.get_repo("me/ocean", read_only=True)
        written[0, 0] = 1
        np.testing.assert_array_equal(reader.root_group["model/sst"][...], written)
        assert [entry.id for entry in reader.commit_log][:2] == [head, first]
        with pytest.raises(ReadOnlyError):
            reader.commit("No")
        reader.checkout(first)
        assert reader.root_group["model/sst"][0, 0] == 0
        assert [found.name for found in client.list_repos("me")] == ["ocean"]
        client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
        with pytest.raises(RepoNotFoundError):
            client.get_repo("me/ocean")
        # No repo is made where objects are: nothing of the first one is left.
        again = client.create_repo("me/ocean", bucket_config_nickname="tried", kind=cell.kind, prefix="ocean")
        assert len(again.commit_log) <= 1
        client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
        client.delete_bucket_config(org="me", nickname="tried", imsure=True, imreallysure=True)


def test_each_pair_is_tried_or_says_why_not() -> None:
    """A platform or method that joins is tried as soon as it has a place, and until then this fails."""
    offered = {(cell.platform, cell.auth) for cell in cells()}
    assert offered - PLACES.keys() - UNTRIED.keys() == set()
    assert (PLACES.keys() | UNTRIED.keys()) - offered == set()


def test_what_is_not_offered_is_refused_with_what_is() -> None:
    """An auth method on a platform that it does not serve."""
    registry = default_registry()
    with Client("memory://") as client:
        for auth in registry.names("auth method"):
            served = registry.auth_method(auth).platforms
            for platform in set(registry.names("storage platform")) - set(
                served if served is not None else registry.names("storage platform")
            ):
                with pytest.raises(ArraylakeError) as caught:
                    client.create_bucket_config(
                        org="me", nickname="odd", uri=f"{platform}://lake/x", auth_config={"method": auth}
                    )
                assert str(caught.value)
        assert [bucket.nickname for bucket in client.list_bucket_configs("me")] == ["local"]


def page() -> str:
    """Return the page that lists them all."""
    rows = [
        f"| `{cell.platform}` | `{cell.kind}` | `{cell.auth}` | {cell.reason or 'tried in every run of the tests'} |"
        for cell in cells()
    ]
    return "\n".join(
        [
            "# What goes with what",
            "",
            "Every storage platform, repo kind and auth method that this project ships, in every combination that they offer. The same journey is",
            "made on each, against a real server: a bucket config, a repo, a commit, a conflict, reading, listing, deleting",
            "(tests/end_to_end/test_every_backend.py).",
            "",
            "| platform | repo kind | auth method | |",
            "| --- | --- | --- | --- |",
            *rows,
            "",
        ]
    )


def test_the_page_lists_them_all() -> None:
    """Run this module as a script to write it anew."""
    assert PAGE.read_text() == page()


if __name__ == "__main__":
    PAGE.write_text(page())
