"""Source files: what may be read, and that they are read only while they are what they were."""

import asyncio
import os
import pickle

import pytest
from arraylake_v1_repo.virtual.parse import read_hdf, read_kerchunk, read_netcdf3, read_zarr
from arraylake_v1_repo.virtual.sources import SourceFile, SourceReader

from arraylake_core.errors import PermissionDeniedError, StorageError
from arraylake_core.loops import submit


@pytest.fixture
def disk(tmp_path):
    """A granted directory, and what lies around it."""
    for place in ("data/inner", "data2", "secret"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "file").write_bytes(b"0123456789")
    return tmp_path


@pytest.fixture
def reader(disk, granted) -> SourceReader:
    return SourceReader([granted(disk / "data")])


async def test_a_part_of_a_local_file(reader, disk):
    file = await reader.fingerprint(f"file://{disk}/data/inner/file")
    assert (file.size, file.etag) == (10, None)
    assert file.modified == (disk / "data/inner/file").stat().st_mtime_ns
    assert await reader.read(file, 2, 3) == b"234"
    assert await reader.read(file, 0, 10) == b"0123456789"
    assert await reader.read(file, 10, 0) == b""


async def test_names_with_spaces_are_percent_encoded_in_file_urls(reader, disk):
    path = disk / "data" / "my file é.nc"
    path.write_bytes(b"x")
    assert (await reader.fingerprint(path.as_uri())).size == 1
    assert (await reader.fingerprint(f"file://{path}")).size == 1


async def test_p17_denied_unless_granted(disk, granted):
    url = f"file://{disk}/data/inner/file"
    nothing = SourceReader([])
    with pytest.raises(PermissionDeniedError, match="nothing.*virtual_chunk_containers=.*authorize_virtual_chunk_access="):
        await nothing.fingerprint(url)
    for read in (read_hdf, read_netcdf3, read_zarr):
        with pytest.raises(PermissionDeniedError):
            await read(url, nothing)
    with pytest.raises(PermissionDeniedError):
        await read_kerchunk(f"{url}.json", nothing)
    file = await SourceReader([granted(disk / "data")]).fingerprint(url)
    with pytest.raises(PermissionDeniedError, match="is not read"):
        await nothing.read(file, 0, 1)


@pytest.mark.parametrize(
    "path",
    [
        "data2/file",
        "secret/file",
        "data",
        "data/",
        "data/../secret/file",
        "data/inner/../inner/file",
        "data/./inner/file",
        "data//inner/file",
        "data/%2e%2e/secret/file",
        "data/%2E./secret/file",
        "data/%252e%252e/secret/file",
        "data/..%2Fsecret%2Ffile",
        "data/inner%2ffile",
        "data/..\\secret\\file",
        "data/inner/file\0",
        "data/inner/fi\nle",
    ],
)
async def test_p17_outside_is_never_read(path, reader, disk):
    url = f"file://{disk}/{path}"
    with pytest.raises(PermissionDeniedError):
        await reader.fingerprint(url)
    with pytest.raises(PermissionDeniedError):
        await reader.fingerprints([url])
    with pytest.raises(PermissionDeniedError):
        await reader.read(SourceFile(url, 10, None, (disk / "secret/file").stat().st_mtime_ns), 0, 1)


@pytest.mark.parametrize(
    "url", ["/etc/passwd", "http://example.com/x", "s3://data/inner/file", "file://localhost/x", "", "FILE:///x"]
)
async def test_p17_other_schemes_and_hosts_are_denied(url, reader):
    with pytest.raises(PermissionDeniedError):
        await reader.fingerprint(url)


async def test_p17_symlinks_that_lead_out_are_not_followed(reader, disk):
    (disk / "data" / "out").symlink_to(disk / "secret")
    (disk / "data" / "link").symlink_to(disk / "secret" / "file")
    (disk / "data" / "within").symlink_to(disk / "data" / "inner" / "file")
    for name in ("out/file", "link"):
        with pytest.raises(PermissionDeniedError, match="symbolic link"):
            await reader.fingerprint(f"file://{disk}/data/{name}")
    file = await reader.fingerprint(f"file://{disk}/data/within")
    assert await reader.read(file, 0, 2) == b"01"
    (disk / "data" / "within").unlink()
    (disk / "data" / "within").symlink_to(disk / "secret" / "file")
    with pytest.raises(PermissionDeniedError, match="symbolic link"):
        await reader.read(file, 0, 2)


async def test_a_granted_directory_may_itself_be_a_link(disk, granted):
    (disk / "alias").symlink_to(disk / "data")
    reader = SourceReader([granted(disk / "alias")])
    assert (await reader.fingerprint(f"file://{disk}/alias/inner/file")).size == 10


async def test_the_longest_grant_decides(disk, granted):
    other = granted(disk / "secret", prefix=f"file://{disk}/data/inner/")
    (disk / "secret" / "file").write_bytes(b"other")
    for grants in ([granted(disk / "data"), other], [other, granted(disk / "data")]):
        assert (await SourceReader(grants).fingerprint(f"file://{disk}/data/inner/file")).size == 5


@pytest.mark.parametrize("change", ["longer", "shorter", "same size", "gone", "replaced", "directory"])
async def test_a_changed_local_file_is_an_error(change, reader, disk):
    path = disk / "data" / "inner" / "file"
    file = await reader.fingerprint(path.as_uri())
    match change:
        case "longer":
            path.write_bytes(b"0123456789a")
        case "shorter":
            path.write_bytes(b"012345678")
        case "same size":
            path.write_bytes(b"abcdefghij")
            os.utime(path, ns=(1, file.modified + 1))
        case "gone":
            path.unlink()
        case "replaced":
            os.utime(disk / "secret" / "file", ns=(1, 5))
            (disk / "secret" / "file").replace(path)
        case "directory":
            path.unlink()
            path.mkdir()
    with pytest.raises(StorageError, match="file") as caught:
        await reader.read(file, 0, 1)
    assert path.as_uri() in str(caught.value)
    if change != "directory":
        assert "add the file again" in str(caught.value)
        assert "10 bytes" in str(caught.value)


async def test_what_is_no_regular_file(reader, disk):
    os.mkfifo(disk / "data" / "pipe")
    for name in ("pipe", "inner"):
        with pytest.raises(StorageError, match="no regular file"):
            await reader.fingerprint(f"file://{disk}/data/{name}")
    with pytest.raises(StorageError, match="does not exist"):
        await reader.fingerprint(f"file://{disk}/data/nothing")


async def test_a_reference_beyond_the_end(reader, disk):
    file = await reader.fingerprint(f"file://{disk}/data/inner/file")
    with pytest.raises(StorageError, match="11 bytes"):
        await reader.read(file, 0, 11)


def test_from_any_loop_and_after_pickling(reader, disk):
    url = f"file://{disk}/data/inner/file"
    file = asyncio.run(reader.fingerprint(url))
    copy = pickle.loads(pickle.dumps(reader))
    assert asyncio.run(copy.read(file, 0, 2)) == b"01"
    assert submit(copy.read(file, 2, 2)).result() == b"23"


# S3


@pytest.fixture
def remote(s3_grant) -> SourceReader:
    return SourceReader([s3_grant])


async def test_a_part_of_an_object(remote, whole_bucket, bucket):
    await whole_bucket.put_async("data/x.bin", b"0123456789")
    file = await remote.fingerprint(f"s3://{bucket}/data/x.bin")
    assert (file.size, file.modified) == (10, None)
    assert file.etag
    assert await remote.read(file, 2, 3) == b"234"
    assert await remote.read(file, 10, 0) == b""


@pytest.mark.parametrize("body", [b"abcdefghij", b"01234", b"0123456789abc", None])
async def test_a_changed_object_is_an_error(body, remote, whole_bucket, bucket):
    await whole_bucket.put_async("data/x.bin", b"0123456789")
    file = await remote.fingerprint(f"s3://{bucket}/data/x.bin")
    await (whole_bucket.delete_async("data/x.bin") if body is None else whole_bucket.put_async("data/x.bin", body))
    with pytest.raises(StorageError, match="add the file again") as caught:
        await remote.read(file, 6, 4)
    message = str(caught.value)
    assert file.etag in message
    assert f"s3://{bucket}/data/x.bin" in message
    assert ("is gone" in message) == (body is None)


@pytest.mark.parametrize("path", ["data2/x", "x", "data", "data/", "data/../x", "data/%2e%2e/x", "data//x", "data/./x"])
async def test_p17_outside_of_a_grant_on_s3(path, remote, whole_bucket, bucket):
    for key in ("data2/x", "x", "data/x"):
        await whole_bucket.put_async(key, b"0123456789")
    with pytest.raises(PermissionDeniedError):
        await remote.fingerprint(f"s3://{bucket}/{path}")
    with pytest.raises(PermissionDeniedError):
        await remote.read(SourceFile(f"s3://{bucket}/{path}", 10, "x"), 0, 1)


async def test_p17_another_bucket_is_denied(remote, seaweedfs):
    with pytest.raises(PermissionDeniedError, match="granted"):
        await remote.fingerprint("s3://elsewhere/data/x")


async def test_many_objects_at_once(remote, whole_bucket, bucket):
    urls = [f"s3://{bucket}/data/many/{number}" for number in range(40)]
    for number in range(40):
        await whole_bucket.put_async(f"data/many/{number}", b"x" * (number + 1))
    found = await remote.fingerprints(urls)
    assert [file.url for file in found] == urls
    assert [file.size for file in found] == list(range(1, 41))
    assert found[7] == await remote.fingerprint(urls[7])
    with pytest.raises(StorageError, match="does not exist"):
        await remote.fingerprints([*urls, f"s3://{bucket}/data/many/nothing"])


def test_s3_pickles_without_secrets(remote, whole_bucket, bucket):
    whole_bucket.put("data/x.bin", b"0123456789")
    file = asyncio.run(remote.fingerprint(f"s3://{bucket}/data/x.bin"))
    pickled = pickle.dumps(remote)
    assert b"CANARY" not in pickled
    assert asyncio.run(pickle.loads(pickled).read(file, 0, 2)) == b"01"
    assert submit(remote.read(file, 0, 2)).result() == b"01"
