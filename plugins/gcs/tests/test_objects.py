"""Objects by gcsfs, by obstore and by HMAC keys: the same ones, many of them, and parts of them."""

import random

import obstore
import pytest
from arraylake_gcs import GCSOptions, GCSPlatform

from arraylake_core.backends import (
    CredentialProvider,
    Location,
)
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.removal import remove_all
from arraylake_core.errors import StorageError
from tests.servers.gcs import ADMIN_TOKEN, FakeGCS, TokenGrant
from tests.servers.given import Given, keys, token
from tests.servers.seaweedfs import SeaweedFS

GS = GCSPlatform()


async def test_what_fsspec_writes_obstore_reads_and_the_other_way_round(location: Location) -> None:
    provider = CredentialProvider(Given(token(ADMIN_TOKEN)))
    filesystem = GS.filesystem(location, await provider.get())
    store = await open_object_store(GS.object_store(location, provider))
    filesystem.pipe_file(f"{GS.path(location)}/a", b"from fsspec")
    assert bytes(await (await obstore.get_async(store, "a")).bytes_async()) == b"from fsspec"
    await obstore.put_async(store, "b", b"from obstore")
    assert filesystem.cat_file(f"{GS.path(location)}/b") == b"from obstore"


@pytest.mark.parametrize("size", [0, 1, 12_000_000, 60_000_000], ids=["empty", "a byte", "in parts", "in many parts"])
async def test_objects_of_any_size_go_either_way(size: int, location: Location) -> None:
    provider = CredentialProvider(Given(token(ADMIN_TOKEN)))
    filesystem = GS.filesystem(location, await provider.get())
    store = await open_object_store(GS.object_store(location, provider))
    data = random.Random(size).randbytes(size)
    filesystem.pipe_file(f"{GS.path(location)}/a", data)
    await obstore.put_async(store, "b", data)
    assert bytes(await (await obstore.get_async(store, "a")).bytes_async()) == data
    assert filesystem.cat_file(f"{GS.path(location)}/b") == data


async def test_removal_takes_more_than_a_page_of_a_listing(location: Location) -> None:
    provider = CredentialProvider(Given(token(ADMIN_TOKEN)))
    filesystem, path = GS.filesystem(location, token(ADMIN_TOKEN)), GS.path(location)
    filesystem.pipe({f"{path}/gone/{number:04}": b"" for number in range(1100)})
    filesystem.pipe_file(f"{path}/gone-not", b"kept")
    assert len(filesystem.find(f"{path}/gone")) == 1100
    await remove_all(GS, location.below("gone"), provider)
    assert filesystem.find(path) == [f"{path}/gone-not"]


async def test_a_reader_removes_nothing(location: Location, gcs: FakeGCS) -> None:
    filesystem, path = GS.filesystem(location, token(ADMIN_TOKEN)), GS.path(location)
    filesystem.pipe_file(f"{path}/place/kept", b"kept")
    reader = CredentialProvider(Given(token(gcs.token(TokenGrant(write=False)))))
    with pytest.raises(StorageError, match=r"could not delete .* \(PermissionError\)"):
        await remove_all(GS, location.below("place"), reader)
    assert filesystem.cat_file(f"{path}/place/kept") == b"kept"


def test_hmac_keys_read_any_part_of_a_file(seaweedfs: SeaweedFS, bucket: str) -> None:
    place = Location(platform="gs", bucket=bucket, prefix="lake", options=GCSOptions(endpoint_url=seaweedfs.endpoint))
    filesystem, path = GS.filesystem(place, keys(*seaweedfs.admin)), f"{GS.path(place)}/digits"
    digits = b"0123456789"
    filesystem.pipe_file(path, digits)
    for start, end in ((None, None), (0, 4), (3, None), (None, 3), (-4, None), (-4, -2), (2, -2), (5, 5), (7, 99), (None, -3)):
        assert filesystem.cat_file(path, start=start, end=end) == digits[start:end], (start, end)
    with filesystem.open(path, "rb") as file:
        file.seek(6)
        assert file.read(2) == b"67"
    with pytest.raises(FileNotFoundError):
        filesystem.cat_file(f"{path}-not")
