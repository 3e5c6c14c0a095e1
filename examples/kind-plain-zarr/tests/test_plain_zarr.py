"""The kind passes the kit of those without versions on local disk, in memory and through fsspec alone, and zarr's own suite."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import zarr

from arraylake_core import Client
from arraylake_core.errors import AlreadyExistsError, InvalidOptionError, StorageError
from arraylake_core.testing import RepoFaultTests, RepoStoreTests, UnversionedRepoKindTests

KIND = "plain-zarr"


@pytest.fixture
def client(tmp_path) -> Iterator[Client]:
    """A client with a bucket on local disk."""
    with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
        yield client


class TestOnLocalDisk(UnversionedRepoKindTests):
    """By zarr's own store of files."""

    kind = KIND


class TestInMemory(UnversionedRepoKindTests):
    """By fsspec."""

    kind = KIND
    other_processes = False

    @pytest.fixture
    def client(self) -> Iterator[Client]:
        """A client with a bucket of its own in the memory of this process."""
        with Client("memory://") as client:
            client.create_bucket_config(org="me", nickname="own", uri=f"memory://{uuid4().hex}")
            client.set_default_bucket_config(org="me", nickname="own")
            yield client


class TestStore(RepoStoreTests):
    """What zarr holds a store to."""

    kind = KIND
    versioned = False


class TestInTrouble(RepoFaultTests):
    """On a directory where things go wrong: it has no versions to keep whole, and says of each write that it failed."""

    kind = KIND
    versioned = False


def test_a_store_that_others_wrote_is_imported(client: Client, tmp_path) -> None:
    """It needs nothing of ours in it."""
    zarr.create_group(f"{tmp_path}/data/theirs", zarr_format=3).create_array("sst", shape=(4,), dtype="f4")
    assert client.import_repo("me/theirs", prefix="theirs", kind=KIND).tree().children["sst"].shape == (4,)


def test_what_is_there_is_never_overwritten(client: Client, tmp_path) -> None:
    """Nor is what is not there opened."""
    (tmp_path / "data" / "place").mkdir(parents=True)
    (tmp_path / "data" / "place" / "notes.txt").write_text("notes")
    with pytest.raises(AlreadyExistsError, match=r"notes\.txt is there"):
        client.create_repo("me/place", kind=KIND, prefix="place")
    with pytest.raises((StorageError, InvalidOptionError, ValueError)):
        client.import_repo("me/place", prefix="place", kind=KIND)
    with pytest.raises(InvalidOptionError, match="other repo kinds"):
        client.create_repo("me/other", kind=KIND, spec_version=1)
    assert (tmp_path / "data" / "place" / "notes.txt").read_text() == "notes"
