"""zarr's and xarray's own suites, on the repos of the kind: nothing of our own beside what the kits have."""

from collections.abc import Iterator

import pytest

from arraylake_core import Client
from arraylake_core.testing import RepoStoreTests, RepoXarrayTests


@pytest.fixture(scope="module")
def client(tmp_path_factory) -> Iterator[Client]:
    """One for all: each test makes a repo of its own."""
    home = tmp_path_factory.mktemp("home-of-the-client")
    with Client(f"sqlite:///{home}/catalog.db") as client:
        client.create_bucket_config(org="me", nickname="disk", uri=f"file://{home}/lake")
        client.set_default_bucket_config(org="me", nickname="disk")
        yield client


class TestStore(RepoStoreTests):
    kind = "icechunk"
    any_key = False


class TestCommitted(RepoXarrayTests):
    kind = "icechunk"
    zarr_formats = (3,)
    committed = True

    @pytest.mark.skip(reason="what is computed after a commit goes to a session that has ended; below it is computed before")
    def test_to_zarr_compute_false_roundtrip(self) -> None:
        """Below."""

    @pytest.mark.skip(reason="what is computed after a commit goes to a session that has ended; below it is computed before")
    def test_to_zarr_append_compute_false_roundtrip(self) -> None:
        """Below."""


class TestUncommitted(RepoXarrayTests):
    kind = "icechunk"
    zarr_formats = (3,)

    @pytest.mark.skip(reason="Icechunk's writable sessions travel as forks alone; what is committed travels above")
    def test_pickle(self) -> None:
        """Above."""

    @pytest.mark.skip(reason="Icechunk's writable sessions travel as forks alone; what is committed travels above")
    def test_pickle_dataarray(self) -> None:
        """Above."""
