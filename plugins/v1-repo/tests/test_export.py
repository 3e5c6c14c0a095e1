"""Exports: opened by plain zarr and xarray, equal to what they are exports of, and finished by a second try wherever the first one ended."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import fsspec
import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from arraylake_core import Client
from arraylake_core.errors import AlreadyExistsError, ConflictError, InvalidOptionError, RefNotFoundError, StorageError

MARKER = ".arraylake-export"
DIES = Path(__file__).parent / "dies_exporting.py"


def name() -> str:
    return f"me/export-{uuid4().hex[:8]}"


def numbers(root: zarr.Group) -> dict[str, np.ndarray]:
    """Return the numbers of each array."""
    return {path: np.asarray(member[...]) for path, member in root.members(max_depth=None) if isinstance(member, zarr.Array)}


def assert_same(exported: object, repo, zarr_format: int) -> None:
    """Hold an export to the checkout: members, attributes and numbers, with zarr alone."""
    root = zarr.open_group(exported, mode="r", zarr_format=zarr_format, use_consolidated=False)
    wanted = zarr.open_group(repo.store, mode="r", use_consolidated=False)
    expected, found = numbers(wanted), numbers(root)
    assert found.keys() == expected.keys()
    for path, values in expected.items():
        # Zarr 3 has no byte order in its types, only in its codecs.
        assert (found[path].dtype.kind, found[path].dtype.itemsize) == (values.dtype.kind, values.dtype.itemsize), path
        np.testing.assert_array_equal(found[path], values, err_msg=path)
    groups = {path: dict(member.attrs) for path, member in wanted.members(max_depth=None) if isinstance(member, zarr.Group)}
    assert {path: dict(root[path].attrs) for path in groups} == groups
    assert dict(root.attrs) == dict(wanted.attrs)


def files(directory: Path) -> dict[str, bytes]:
    """Return every file below a directory, but the marker."""
    every = (path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(MARKER))
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in every}


def keys(repo) -> dict[str, bytes]:
    """Return every key of the checkout."""

    async def read() -> dict[str, bytes]:
        return {key: (await repo.store.get(key, default_buffer_prototype())).to_bytes() async for key in repo.store.list()}

    return sync(read())


def put(repo, key: str, data: bytes) -> None:
    """Write a key of the checkout."""
    sync(repo.store.set(key, default_buffer_prototype().buffer.from_bytes(data)))


def fill(root: zarr.Group) -> None:
    """Make arrays of many types and codecs of Zarr 3."""
    random = np.random.default_rng(1)
    root.attrs["title"] = "Ocean 🌊"
    deep = root.create_group("deep/er", attributes={"level": 2})
    deep.create_array("floats", shape=(20, 30), chunks=(7, 8), dtype="f8")[:] = random.random((20, 30))
    deep.create_array("small", shape=(5,), chunks=(2,), dtype="i2", fill_value=-1)[1:3] = 7
    root.create_array("scalar", shape=(), dtype="u8")[...] = 2**63
    root.create_array("text", shape=(4,), chunks=(2,), dtype=str)[:] = np.array(["a", "", "ß", "long " * 200], dtype=object)
    root.create_array("flags", shape=(9,), chunks=(4,), dtype="bool")[::2] = True
    root.create_array("times", shape=(3,), chunks=(2,), dtype="M8[s]")[:] = np.array(["2001-02-03", "NaT", "1969-01-01"], "M8[s]")
    root.create_array("complex", shape=(4,), dtype="c16", fill_value=np.nan)[:2] = [1j, 2]
    turned = [zarr.codecs.TransposeCodec(order=(1, 0))]
    blosc = [zarr.codecs.BloscCodec(cname="lz4", shuffle="bitshuffle")]
    root.create_array("turned", shape=(6, 40), chunks=(4, 25), dtype=">i4", filters=turned, compressors=blosc)[:] = (
        random.integers(0, 9, (6, 40))
    )
    checked = [zarr.codecs.ZstdCodec(level=1), zarr.codecs.Crc32cCodec()]
    root.create_array("checked", shape=(100,), chunks=(40,), dtype="f4", compressors=checked)[:] = np.arange(100)
    shards = root.create_array("shards", shape=(10, 9), chunks=(2, 3), shards=(4, 9), dtype="i8", fill_value=5)
    shards[1:3, :4] = random.integers(0, 100, (2, 4))


def dataset() -> xr.Dataset:
    """Return data with missing values, zeros and a fill value."""
    warm = np.arange(24.0).reshape(4, 6)
    warm[1, 2] = np.nan
    return xr.Dataset(
        {
            "warm": (("y", "x"), warm, {"units": "K"}),
            "counts": (("y", "x"), np.arange(24).reshape(4, 6) % 3),
            "names": (("y",), np.array(["a", "b", "c", ""], dtype=object)),
        },
        coords={
            "x": np.arange(6),
            "time": (("y",), np.array(["2001-01-01", "2001-01-02", "2001-01-03", "2001-01-04"], "M8[ns]")),
        },
        attrs={"history": "made"},
    )


@pytest.mark.parametrize("place", ["file", "memory", "s3"])
def test_documents_and_chunks_of_the_format_are_copied_byte_for_byte(client_on, place, tmp_path):
    repo = client_on(place).create_repo(name(), kind="v1")
    fill(repo.root_group)
    repo.store.session  # noqa: B018 - the checkout
    commit = repo.commit("Filled")
    report = repo.export(tmp_path / "out")
    assert (report.commit, report.from_commit, report.recoded, report.resumed) == (commit, None, 0, False)
    assert files(tmp_path / "out") == keys(repo)
    assert report.chunks + report.documents == len(keys(repo))
    assert_same(str(tmp_path / "out"), repo, 3)


def test_zarr_3_becomes_zarr_2(client_on, tmp_path):
    repo = client_on("file").create_repo(name(), kind="v1")
    fill(repo.root_group)
    repo.commit("Filled")
    report = repo.export(str(tmp_path / "out"), zarr_format=2)
    # Two chunks of checksums and two shards are encoded anew; all the others are copied.
    assert report.recoded == 3 + 1
    assert_same(str(tmp_path / "out"), repo, 2)
    assert not list((tmp_path / "out").rglob("zarr.json"))
    found, wanted = files(tmp_path / "out"), keys(repo)
    assert found["deep/er/floats/1.2"] == wanted["deep/er/floats/c/1/2"]
    assert found["turned/1.1"] == wanted["turned/c/1/1"]
    assert zarr.open_array(str(tmp_path / "out/deep/er/small")).fill_value == -1
    assert zarr.open_array(str(tmp_path / "out/turned")).metadata.order == "F"
    # Chunks of a shard that were never written are not there.
    assert not (tmp_path / "out/shards/4.0").exists()


def test_zarr_2_becomes_zarr_3(client_on, tmp_path):
    repo = client_on("file").create_repo(name(), kind="v1")
    root = zarr.create_group(repo.store, zarr_format=2, attributes={"title": "Old"})
    random = np.random.default_rng(2)
    floats = random.random((7, 5))
    codecs = {
        "plain": {"compressors": None},
        "zlib": {"compressors": numcodecs.Zlib(3)},
        "lz4": {"compressors": numcodecs.LZ4()},
        "blosc": {"compressors": numcodecs.Blosc("zstd", 5, numcodecs.Blosc.AUTOSHUFFLE)},
        "fortran": {"order": "F"},
        "delta": {"filters": [numcodecs.Delta("f8")]},
        "shuffled": {"filters": [numcodecs.Shuffle(8)], "compressors": numcodecs.GZip(1)},
        "fortran-delta": {"filters": [numcodecs.Delta("f8")], "order": "F"},
    }
    for path, options in codecs.items():
        root.create_array(f"codecs/{path}", shape=(7, 5), chunks=(3, 2), dtype="f8", **options)[:] = floats
    root.create_array("big", shape=(4,), chunks=(3,), dtype=">u2", fill_value=9)[:3] = [1, 2, 3]
    root.create_array("text", shape=(3,), chunks=(2,), dtype=str)[:] = np.array(["x", "", "zz"], dtype=object)
    root.create_array("nothing", shape=(3,), dtype="i4", fill_value=None)
    repo.commit("Old")
    report = repo.export(tmp_path / "out", zarr_format=3)
    assert report.recoded == 2 * 9
    assert_same(str(tmp_path / "out"), repo, 3)
    assert not list((tmp_path / "out").rglob(".z*"))
    found, wanted = files(tmp_path / "out"), keys(repo)
    for path in ("plain", "zlib", "lz4", "blosc", "fortran", "delta"):
        assert found[f"codecs/{path}/c/2/1"] == wanted[f"codecs/{path}/2.1"], path
    assert repo.export(tmp_path / "same", zarr_format=2).recoded == 0
    assert files(tmp_path / "same") == wanted


@pytest.mark.parametrize("source", [2, 3])
@pytest.mark.parametrize("target", [2, 3])
def test_xarray_reads_an_export_as_it_reads_the_repo(client_on, source, target, tmp_path):
    repo = client_on("file").create_repo(name(), kind="v1")
    data = dataset()
    data.to_zarr(repo.store, zarr_format=source, consolidated=False)
    repo.commit("A dataset")
    xr.testing.assert_identical(repo.to_xarray().load(), data)
    repo.export(tmp_path / "out", zarr_format=target)
    # From Zarr 3 to 2, the documents are put together, as xarray wants it.
    consolidated = (source, target) == (3, 2)
    xr.testing.assert_identical(xr.open_zarr(tmp_path / "out", consolidated=consolidated).load(), data)


def step(root: zarr.Group, number: int) -> None:
    """Change something: grow, shrink, rewrite, add, delete, move a dimension, set attributes."""
    random = np.random.default_rng(number)
    root.attrs["step"] = number
    root["deep/er/floats"][random.integers(20)] = random.random(30)
    root["shards"][random.integers(10), random.integers(9)] = number
    root["checked"].resize((100 + 30 * (number % 3),))
    root["checked"][random.integers(100)] = number
    root[f"added-{number}/more"] = np.arange(number + 3)
    root.require_group("deep").attrs[f"step {number}"] = True
    if number == 1:
        del root["flags"]
        root["deep/er/small"].resize((3,))
    if number == 2:
        del root["added-1"]
        root.create_array("flags", shape=(2,), dtype="i4")[:] = 4
    if number == 3:
        del root["scalar"]
        root.create_group("scalar/now/a/group")
        root.create_array("deep/er/small", shape=(5,), chunks=(4,), dtype="f2", overwrite=True)[:] = 1


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_what_changed_since_is_written_and_what_was_deleted_is_deleted(client_on, zarr_format, tmp_path):
    repo = client_on("file").create_repo(name(), kind="v1")
    fill(repo.root_group)
    commits = [repo.commit("Filled")]
    first = repo.export(tmp_path / "out", zarr_format=zarr_format)
    for number in (1, 2, 3):
        step(repo.root_group, number)
        commits.append(repo.commit(f"Step {number}"))
        report = repo.export(tmp_path / "out", zarr_format=zarr_format, from_ref=commits[-2])
        assert 0 < report.chunks < first.chunks
        assert_same(str(tmp_path / "out"), repo, zarr_format)
        repo.export(tmp_path / f"whole-{number}", zarr_format=zarr_format)
        assert files(tmp_path / "out") == files(tmp_path / f"whole-{number}")
    # And back, over several commits at once.
    repo.export(tmp_path / "out", zarr_format=zarr_format, ref=commits[0], from_ref=commits[-1])
    repo.checkout(commits[0])
    assert_same(str(tmp_path / "out"), repo, zarr_format)
    again = repo.export(tmp_path / "out", zarr_format=zarr_format, ref=commits[0], from_ref=commits[1])
    assert (again.chunks, again.documents, again.deleted) == (0, 0, 0)


def test_a_step_that_changes_little_writes_little(client_on, tmp_path):
    repo = client_on("file").create_repo(name(), kind="v1")
    numbers = repo.root_group.create_array("numbers", shape=(1000,), chunks=(1,), dtype="i8")
    numbers[:] = np.arange(1, 1001)
    repo.commit("A thousand chunks")
    repo.export(tmp_path / "out")
    repo.new_tag("before")
    repo.root_group["numbers"][17] = 0
    repo.root_group["numbers"][18] = -18
    repo.commit("Two")
    report = repo.export(tmp_path / "out", from_ref="before")
    assert (report.chunks, report.deleted) == (1, 1 + 1)
    assert_same(str(tmp_path / "out"), repo, 3)


def test_keys_that_are_no_chunks_and_groups_without_documents_go_along(client_on, tmp_path):
    repo = client_on("file").create_repo(name(), kind="v1")
    put(repo, "notes.txt", b"read me")
    put(repo, "deep/notes.txt", b"n" * 1000)
    array = zarr.create_array(MemoryStore(), shape=(3,), dtype="i4").metadata.to_buffer_dict(default_buffer_prototype())
    put(repo, "without/documents/array/zarr.json", array["zarr.json"].to_bytes())
    first = repo.commit("Odd")
    repo.export(tmp_path / "out")
    assert files(tmp_path / "out") == keys(repo)
    sync(repo.store.delete("deep/notes.txt"))
    put(repo, "notes.txt", b"read me again")
    repo.commit("Odder")
    report = repo.export(tmp_path / "out", from_ref=first)
    assert (report.chunks, report.deleted) == (1, 1)
    assert files(tmp_path / "out") == keys(repo)
    assert not (tmp_path / "out/deep").exists()


# What is there already


def test_nothing_that_is_not_ours_is_overwritten(client_on, tmp_path):
    repo = client_on("file").create_repo(name(), kind="v1")
    fill(repo.root_group)
    first = repo.commit("Filled")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("mine")
    with pytest.raises(AlreadyExistsError, match=r"not empty \('thesis\.txt' is there\)"):
        repo.export(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    repo.export(tmp_path / "out")
    step(repo.root_group, 1)
    second = repo.commit("One")
    before = files(tmp_path / "out")
    with pytest.raises(ConflictError, match=f"holds the commit {first} .*from_ref='{first}'"):
        repo.export(tmp_path / "out")
    with pytest.raises(ConflictError, match="holds Zarr 3, and Zarr 2 was asked for"):
        repo.export(tmp_path / "out", zarr_format=2, from_ref=first)
    step(repo.root_group, 2)
    repo.commit("Two")
    with pytest.raises(ConflictError, match=f"holds the commit {first}, not {second}"):
        repo.export(tmp_path / "out", from_ref=second)
    with pytest.raises(ConflictError, match="is empty, and does not hold"):
        repo.export(tmp_path / "new", from_ref=first)
    assert not (tmp_path / "new").exists()
    assert files(tmp_path / "out") == before
    report = repo.export(tmp_path / "out", ref=first)
    assert (report.chunks, report.documents) == (0, 0)


def test_what_a_format_has_no_word_for_is_refused_before_anything_is_written(client_on, tmp_path):
    repo = client_on("file").create_repo(name(), kind="v1")
    root = repo.root_group
    root.create_array("fine", shape=(3,), dtype="i4")[:] = 1
    root.create_array("half", shape=(3, 3), dtype="i4", dimension_names=("x", None))
    repo.commit("Half named")
    with pytest.raises(InvalidOptionError, match="'/half' can't be expressed in Zarr 2 .*dimensions"):
        repo.export(tmp_path / "out", zarr_format=2)
    assert not (tmp_path / "out").exists()
    root = repo.root_group
    del root["half"]
    attributes = {"_FillValue": "AAAAAAAA8L8="}
    root.create_array("masked", shape=(3,), dtype="f8", fill_value=3.0, dimension_names=("x",), attributes=attributes)
    repo.commit("Two fill values")
    with pytest.raises(InvalidOptionError, match="'/masked' can't be expressed in Zarr 2 .*_FillValue"):
        repo.export(tmp_path / "out", zarr_format=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"zarr_format": 4}, InvalidOptionError),
        ({"concurrency": 0}, InvalidOptionError),
        ({"concurrency": True}, InvalidOptionError),
        ({"ref": "nowhere"}, RefNotFoundError),
        ({"from_ref": "nowhere"}, RefNotFoundError),
        ({"dest": "nosuchprotocol://place"}, InvalidOptionError),
        ({"dest": ""}, InvalidOptionError),
        ({"dest": 7}, InvalidOptionError),
        ({"dest": "/proc/nowhere/at/all"}, StorageError),
    ],
)
def test_bad_input_is_refused(client_on, options, error, tmp_path):
    repo = client_on("file").get_or_create_repo("me/bad-input", kind="v1")
    options = {"dest": str(tmp_path / "out"), **options}
    with pytest.raises(error):
        repo.export(**options)
    assert not (tmp_path / "out").exists()


def test_a_chunk_that_was_damaged_is_not_exported(client_on, tmp_path):
    client = client_on("file")
    repo = client.create_repo(name(), kind="v1")
    repo.root_group.create_array("a", shape=(4096,), dtype="f8", compressors=None)[:] = np.arange(4096)
    repo.commit("One chunk")
    where = Path(repo._aio.binding.objects.place.removeprefix("file://")) / "chunks"
    (chunk,) = (path for path in where.rglob("*") if path.is_file())
    data = bytearray(chunk.read_bytes())
    data[100] ^= 1
    chunk.write_bytes(bytes(data))
    with pytest.raises(StorageError, match="is not what was written"):
        repo.export(tmp_path / "out")
    with pytest.raises((FileNotFoundError, KeyError)):
        zarr.open_group(str(tmp_path / "out"), mode="r", zarr_format=3)


# Where it goes


def test_an_export_goes_to_mappers_stores_and_urls(client_on, seaweedfs, bucket):
    repo = client_on("s3").create_repo(name(), kind="v1")
    fill(repo.root_group)
    repo.commit("Filled")
    store = MemoryStore()
    repo.export(store)
    assert_same(store, repo, 3)
    repo.export("memory://an-export/of/mine", zarr_format=2)
    assert_same("memory://an-export/of/mine", repo, 2)
    key, secret = seaweedfs.admin
    s3 = fsspec.filesystem("s3", key=key, secret=secret, endpoint_url=seaweedfs.endpoint, skip_instance_cache=True)
    mapper = s3.get_mapper(f"{bucket}/deep/down")
    repo.export(mapper, concurrency=8)
    assert {key: mapper[key] for key in mapper if MARKER not in key} == keys(repo)
    step(repo.root_group, 1)
    repo.commit("One")
    repo.export(mapper, from_ref=repo.commit_log[1].id)
    assert {key: mapper[key] for key in mapper if MARKER not in key} == keys(repo)


def test_virtual_chunks_become_bytes(client_on, tmp_path):
    client = client_on("file")
    source = tmp_path / "source.zarr"
    written = zarr.create_group(source, zarr_format=3)
    written.create_array("a", shape=(8, 8), chunks=(4, 4), dtype="f4", compressors=None)[:] = np.arange(64).reshape(8, 8)
    client.create_bucket_config(org="me", nickname="outside", uri=f"file://{tmp_path}")
    repo = client.create_repo(name(), kind="v1", authorize_virtual_chunk_access={f"file://{tmp_path}/": "outside"})
    repo.add_virtual_zarr("virtual", f"file://{source}")
    repo.commit("Virtual")
    for zarr_format in (3, 2):
        report = repo.export(tmp_path / f"out-{zarr_format}", zarr_format=zarr_format)
        assert report.chunks == 4
        assert_same(str(tmp_path / f"out-{zarr_format}"), repo, zarr_format)
    assert files(tmp_path / "out-3") == keys(repo)


# Second tries


def killed_export(uri: str, repo: str, dest: Path, at_write: int, **options: object) -> int:
    """Export in a process that kills itself before its n-th write; return how it ended."""
    asked = json.dumps({"uri": uri, "repo": repo, "dest": str(dest), "at_write": at_write, "options": options})
    return subprocess.run([sys.executable, str(DIES), asked], env=dict(os.environ), check=False).returncode


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_p22_an_export_that_was_killed_is_finished_by_a_second_try(client_on, zarr_format, tmp_path):
    client: Client = client_on("file")
    repo = client.create_repo(name(), kind="v1")
    fill(repo.root_group)
    many = repo.root_group.create_array("many", shape=(2000,), chunks=(1,), dtype="i4", compressors=None)
    many[:] = np.arange(1, 2001)
    first = repo.commit("Filled")
    repo.export(tmp_path / "whole", zarr_format=zarr_format)
    whole = files(tmp_path / "whole")
    for at_write in (2, 3, 1500, len(whole) + 3):
        dest = tmp_path / f"killed-{at_write}"
        assert killed_export(client.service_uri, repo.name, dest, at_write, zarr_format=zarr_format) == -signal.SIGKILL
        if at_write > 2:
            with pytest.raises(ConflictError, match=f"half of an export of the commit {first}"):
                repo.export(dest, zarr_format=zarr_format, ref=repo.commit_log[1].id)
        if at_write < len(whole):
            with pytest.raises((FileNotFoundError, KeyError)):
                zarr.open_group(dest, mode="r", zarr_format=zarr_format)
        report = repo.export(dest, zarr_format=zarr_format)
        assert report.resumed == (at_write > 2)
        if at_write >= 1500:
            assert report.chunks < 2000, "chunks of an array that is half there are not copied anew"
        assert files(dest) == whole
        assert not list(dest.rglob("*.partial"))
        assert_same(str(dest), repo, zarr_format)


def test_p22_a_delta_that_was_killed_is_finished_by_a_second_try(client_on, tmp_path):
    client: Client = client_on("file")
    repo = client.create_repo(name(), kind="v1")
    fill(repo.root_group)
    first = repo.commit("Filled")
    step(repo.root_group, 1)
    repo.commit("One")
    repo.export(tmp_path / "whole")
    whole = files(tmp_path / "whole")
    for at_write in (1, 2, 3, 5, 8, 13):
        dest = tmp_path / f"killed-{at_write}"
        repo.export(dest, ref=first)
        assert killed_export(client.service_uri, repo.name, dest, at_write, from_ref=first) == -signal.SIGKILL
        if at_write > 2:
            with pytest.raises(ConflictError, match="half of an export"):
                repo.export(dest, ref=first)
        repo.export(dest, from_ref=first)
        assert files(dest) == whole
        assert_same(str(dest), repo, 3)
