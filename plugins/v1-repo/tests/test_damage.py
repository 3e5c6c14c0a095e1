"""Bytes that have changed on the disk are never handed out as data, nor written on under a good name, nor called verified."""

from pathlib import Path

import numpy as np
import pytest
import zarr

from arraylake_core.errors import StorageError


@pytest.fixture
def rotten(client_on, tmp_path):
    """A repo one of whose chunks has lost a bit, what its array held, and the chunk's length."""
    client = client_on("file")
    full_name = f"me/rot-{tmp_path.name.replace('_', '-')}"
    repo = client.create_repo(full_name, kind="v1")
    numbers = np.arange(8192, dtype="f8")
    repo.root_group.create_array("a", shape=(8192,), chunks=(4096,), dtype="f8", compressors=None)[:] = numbers
    repo.commit("Two chunks")
    where = Path(repo._aio.binding.objects.place.removeprefix("file://")) / "chunks"
    chunk = next(path for path in where.rglob("*") if path.is_file() and path.read_bytes() == numbers[4096:].tobytes())
    data = bytearray(chunk.read_bytes())
    data[7] ^= 1
    chunk.write_bytes(bytes(data))
    return client, full_name, numbers


def test_it_is_an_error_to_read_it_and_what_is_whole_is_read(rotten):
    client, full_name, numbers = rotten
    array = client.get_repo(full_name).root_group["a"]
    np.testing.assert_array_equal(array[:4096], numbers[:4096])
    with pytest.raises(StorageError, match="is not what was written"):
        array[4096:]


def test_p21_no_write_to_a_part_of_it_makes_the_rest_look_good(rotten):
    client, full_name, numbers = rotten
    repo = client.get_repo(full_name)
    with pytest.raises(StorageError, match="is not what was written"):
        repo.root_group["a"][5000] = 1
    assert repo.commit("Nothing") is None
    repo.root_group["a"][4096:] = numbers[4096:] + 1
    repo.commit("Whole again")
    np.testing.assert_array_equal(client.get_repo(full_name).root_group["a"][4096:], numbers[4096:] + 1)


def test_a_copy_of_it_is_never_said_to_be_verified(rotten):
    client, full_name, _ = rotten
    with pytest.raises(StorageError, match="is not what was written"):
        client.migrate_repo(full_name)
    assert full_name in [repo.full_name for repo in client.list_repos("me")]
    assert zarr.open_group(client.get_repo(full_name).store, mode="r")["a"].shape == (8192,)
