"""The fsspec protocol al, with fsspec itself, on both kinds of repo."""

import asyncio
import json
import pickle
import subprocess
import sys
import threading

import cloudpickle
import fsspec
import pytest
import zarr
from fsspec.utils import get_protocol

from arraylake_core import AsyncClient, Client, config
from arraylake_core.errors import InvalidOptionError, NotFoundError, ReadOnlyError, RepoNotFoundError
from arraylake_core.integrations.filesystem import ArraylakeFileSystem

CANARY = "canary-5up3r-53cr3t"


@pytest.fixture
def fs(lake):
    return fsspec.filesystem("al", client=lake.client)


def names(infos):
    return {info["name"]: info["type"] for info in infos}


def test_orgs_repos_groups_and_keys_are_listed(fs, lake):
    assert fs.ls("al://", detail=False) == ["me"]
    [repo] = fs.ls("al://me")
    assert (repo["name"], repo["type"], repo["kind"], repo["description"]) == (
        "me/ocean",
        "directory",
        lake.kind,
        "<b>Sea</b> & sky",
    )
    assert names(fs.ls("al://me/ocean")) == {
        "me/ocean/daily": "directory",
        "me/ocean/empty": "directory",
        "me/ocean/zarr.json": "file",
    }
    assert names(fs.ls("al://me/ocean@v1/daily/sst")) == {
        "me/ocean@v1/daily/sst/c": "directory",
        "me/ocean@v1/daily/sst/zarr.json": "file",
    }
    assert names(fs.ls("al://me/ocean@v1/daily/sst/c/1")) == {
        "me/ocean@v1/daily/sst/c/1/0": "file",
        "me/ocean@v1/daily/sst/c/1/1": "file",
    }
    assert fs.ls("al://me/ocean/zarr.json", detail=False) == ["me/ocean/zarr.json"]


def test_a_version_is_named_by_branch_tag_or_commit(fs, lake):
    for ref in ("v1", lake.first, "feature%2Ftides"):
        assert fs.ls(f"al://me/ocean@{ref}", detail=False) == [f"me/ocean@{ref}/daily", f"me/ocean@{ref}/zarr.json"]
        assert fs.info(f"al://me/ocean@{ref}/zarr.json")["commit"] == lake.first
    assert fs.exists("al://me/ocean@main/empty")
    assert not fs.exists("al://me/ocean@v1/empty")


def test_what_is_found_is_what_the_store_has(fs, lake):
    repo = lake.client.get_repo("me/ocean", read_only=True)
    repo.checkout("main")
    keys = sorted(asyncio.run(_keys(repo.store)))
    assert fs.find("al://me/ocean") == [f"me/ocean/{key}" for key in keys]
    assert fs.find("al://me") == fs.find("al://") == fs.find("al://me/ocean")
    found = fs.find("al://me/ocean/daily", withdirs=True, maxdepth=1, detail=True)
    assert {name: info["type"] for name, info in found.items()} == {
        "me/ocean/daily": "directory",
        "me/ocean/daily/day": "directory",
        "me/ocean/daily/sst": "directory",
        "me/ocean/daily/zarr.json": "file",
    }
    assert fs.find("al://me/ocean/daily/sst/c/0") == ["me/ocean/daily/sst/c/0/0", "me/ocean/daily/sst/c/0/1"]
    assert fs.find("al://me/ocean/zarr.json") == ["me/ocean/zarr.json"]
    assert fs.find("al://me/ocean/nothing") == fs.find("al://me/nothing") == []
    assert fs.glob("al://me/ocean/daily/*/zarr.json") == ["me/ocean/daily/day/zarr.json", "me/ocean/daily/sst/zarr.json"]
    assert [entry[1:] for entry in fs.walk("al://me/ocean@v1/daily/sst", maxdepth=1)] == [(["c"], ["zarr.json"])]
    sizes = {key: len(fs.cat(f"al://me/ocean/{key}")) for key in keys}
    assert fs.du("al://me/ocean", total=False) == {f"me/ocean/{key}": size for key, size in sizes.items()}


async def _keys(store):
    return [key async for key in store.list()]


def test_a_key_is_read_whole_or_in_part(fs):
    path = "al://me/ocean@v1/daily/sst/c/1/0"
    whole = fs.cat_file(path)
    assert fs.info(path)["size"] == fs.size(path) == len(whole) > 20
    for start, end in [
        (0, 4),
        (4, None),
        (None, 5),
        (-6, None),
        (2, -2),
        (-6, -2),
        (3, 3),
        (5, 2),
        (10, 10_000),
        (10_000, None),
        (None, 0),
    ]:
        assert fs.cat_file(path, start, end) == whole[start:end], (start, end)
    assert fs.cat_ranges([path, path], [0, 7], [3, 10_000]) == [whole[:3], whole[7:]]
    assert fs.cat_ranges([path], 0, 3, max_gap=10) == [whole[:3]]
    assert fs.cat([path, "al://me/ocean/zarr.json"])["me/ocean@v1/daily/sst/c/1/0"] == whole
    with fs.open(path) as file:
        assert (file.read(4), file.seek(-3, 2), file.read()) == (whole[:4], len(whole) - 3, whole[-3:])
    with fsspec.open("al://me/ocean@v1/daily/zarr.json", "rt", client=fs._client) as text:
        assert json.load(text)["node_type"] == "group"
    mapper = fs.get_mapper("al://me/ocean@v1/daily/sst")
    assert set(mapper) == {"zarr.json", "c/0/0", "c/0/1", "c/1/0", "c/1/1"}
    assert mapper["c/1/0"] == whole
    with pytest.raises(KeyError):
        mapper["c/9/9"]


def test_what_is_not_there_is_a_missing_file_for_fsspec(fs):
    for path in (
        "ocean@v1/empty",
        "ocean/daily/sst/c/9/9",
        "ocean@nowhere/zarr.json",
        "nothing/zarr.json",
        "ocean/daily/../zarr.json",
    ):
        url = f"al://me/{path}"
        assert (fs.exists(url), fs.isfile(url), fs.isdir(url)) == (False, False, False)
        for ask in (fs.info, fs.ls, fs.open, fs.size):
            with pytest.raises(FileNotFoundError) as caught:
                ask(url)
            assert isinstance(caught.value, NotFoundError)
            assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args
    assert not fs.exists("al://nobody")
    assert fs.cat(["al://me/ocean/zarr.json", "al://me/ocean/x/zarr.json"], on_error="omit").keys() == {"me/ocean/zarr.json"}
    with pytest.raises(FileNotFoundError):
        fs.cat("al://me/ocean/daily")


def test_reading_in_a_repo_or_version_that_is_not_there_is_said_in_our_words(fs):
    with pytest.raises(RepoNotFoundError, match="me/nothing"):
        fs.cat_file("al://me/nothing/zarr.json")
    with pytest.raises(NotFoundError, match=r"'feature'.*A slash in a ref is written %2F, as in al://me/ocean@feature%2Ftides$"):
        fs.cat_file("al://me/ocean@feature/tides/zarr.json")


def test_a_branch_is_never_stale(own, ocean):
    fs = fsspec.filesystem("al", client=own.client)
    assert not fs.exists("al://me/ocean@main/new")
    before = fs.info("al://me/ocean/zarr.json")
    ocean.root_group.create_group("new")
    commit = ocean.commit("New")
    assert fs.exists("al://me/ocean@main/new")
    assert "me/ocean/new/zarr.json" in fs.find("al://me/ocean")
    after = fs.info("al://me/ocean/zarr.json")
    assert (before["commit"] == after["commit"], after["commit"]) == (False, commit)
    assert fs.ukey("al://me/ocean@v1/zarr.json") == fs.ukey("al://me/ocean@v1/zarr.json")
    # A repo of the same name is another one.
    own.client.delete_repo("me/ocean", imsure=True, imreallysure=True)
    assert fs.ls("al://me") == []
    assert not fs.exists("al://me/ocean")
    own.client.create_repo("me/ocean", kind=own.kind)
    assert not fs.exists("al://me/ocean/daily")


def test_a_file_is_read_to_its_end_from_the_version_that_it_was_opened_in(own, ocean):
    fs = fsspec.filesystem("al", client=own.client)
    with fs.open("al://me/ocean/daily/zarr.json", block_size=8, cache_type="none") as file:
        head = file.read(8)
        ocean.root_group["daily"].attrs["title"] = "another"
        ocean.commit("Title")
        assert json.loads(head + file.read())["attributes"].get("title") is None
    assert json.loads(fs.cat("al://me/ocean/daily/zarr.json"))["attributes"]["title"] == "another"


def test_questions_that_are_asked_at_once_share_a_look(fs, lake, monkeypatch):
    looks = []
    look = AsyncClient.get_repo_object
    monkeypatch.setattr(AsyncClient, "get_repo_object", lambda self, name: looks.append(name) or look(self, name))
    found = fs.cat_ranges(["al://me/ocean/zarr.json"] * 100, 0, 1)
    assert set(found) == {b"{"}
    assert 1 <= len(looks) <= 2


def test_pinned_it_reads_what_it_first_came_to(own, ocean):
    pinned = fsspec.filesystem("al", client=own.client, pinned=True)
    assert pinned.exists("al://me/ocean")
    ocean.root_group.create_group("new")
    ocean.commit("New")
    assert not pinned.exists("al://me/ocean/new")
    assert pinned != fsspec.filesystem("al", client=own.client, pinned=True)
    assert fsspec.filesystem("al", client=own.client, pinned=True).exists("al://me/ocean/new")
    copy = pickle.loads(pickle.dumps(pinned))
    assert copy == pinned
    assert not copy.exists("al://me/ocean/new")


def test_files_are_got(fs, tmp_path):
    fs.get("al://me/ocean@v1/", str(tmp_path / "copy"), recursive=True)
    assert zarr.open_group(tmp_path / "copy", mode="r")["daily/sst"][3, 9] == 39
    fs.get_file("al://me/ocean@v1/zarr.json", str(tmp_path / "deep" / "one.json"))
    assert (tmp_path / "deep" / "one.json").read_bytes() == fs.cat("al://me/ocean@v1/zarr.json")


WRITES = {
    "pipe": lambda fs, url: fs.pipe(f"{url}/x", b"1"),
    "open": lambda fs, url: fs.open(f"{url}/x", "wb"),
    "append": lambda fs, url: fs.open(f"{url}/zarr.json", "ab"),
    "touch": lambda fs, url: fs.touch(f"{url}/x"),
    "put": lambda fs, url: fs.put(__file__, f"{url}/x"),
    "put_file": lambda fs, url: fs.put_file(__file__, f"{url}/x"),
    "cp": lambda fs, url: fs.cp(f"{url}/zarr.json", f"{url}/x"),
    "mv": lambda fs, url: fs.mv(f"{url}/zarr.json", f"{url}/x"),
    "rm": lambda fs, url: fs.rm(url, recursive=True),
    "rm_file": lambda fs, url: fs.rm_file(f"{url}/zarr.json"),
    "mkdir": lambda fs, url: fs.mkdir(f"{url}/x"),
    "makedirs": lambda fs, url: fs.makedirs(f"{url}/x", exist_ok=True),
    "rmdir": lambda fs, url: fs.rmdir(f"{url}/daily"),
    "mapper": lambda fs, url: fs.get_mapper(url).update({"x": b"1"}),
}


def test_every_write_is_refused_with_the_next_step(fs):
    before = fs.find("al://me/ocean")
    for what, write in WRITES.items():
        with pytest.raises(
            ReadOnlyError, match=r"al:// URLs are for reading.*repo = Client\(\)\.get_repo\('me/ocean'\).*repo\.commit"
        ):
            pytest.fail(f"{what} gave {write(fs, 'al://me/ocean')}")
    assert fs.find("al://me/ocean") == before


def test_instances_are_shared_where_they_read_the_same(lake, tmp_path):
    one, two = f"sqlite:///{tmp_path}/one.db", f"sqlite:///{tmp_path}/two.db"
    assert fsspec.filesystem("al", service_uri=one) is fsspec.filesystem("al", service_uri=one)
    assert fsspec.filesystem("al", service_uri=one) != fsspec.filesystem("al", service_uri=two)
    with config.set({"service.uri": one}):
        assert fsspec.filesystem("al") is fsspec.filesystem("al", service_uri=one)
    with config.set({"service.uri": two}):
        assert fsspec.filesystem("al") is fsspec.filesystem("al", service_uri=two)
    # Two clients of one service may be two people.
    ada, bob = (Client("https://lake.example.org", token=f"ema_{name}{CANARY}") for name in ("ada", "bob"))
    assert repr(ada) == repr(bob)
    assert fsspec.filesystem("al", client=ada) != fsspec.filesystem("al", client=bob)
    assert fsspec.filesystem("al", client=ada) == fsspec.filesystem("al", client=ada)
    assert hash(fsspec.filesystem("al", client=ada)) == hash(fsspec.filesystem("al", client=ada))
    assert fsspec.filesystem("al", client=lake.client).ls("al://me", detail=False) == ["me/ocean"]
    assert fsspec.filesystem("al", service_uri=two).ls("al://me", detail=False) == []


@pytest.mark.parametrize(
    "dumps", [pickle.dumps, cloudpickle.dumps, lambda fs: fs.to_json().encode(), lambda fs: repr(fs).encode()]
)
def test_p10_p11_no_form_of_a_file_system_has_a_secret_in_it(dumps):
    with_token = fsspec.filesystem("al", client=Client("https://lake.example.org", token=f"ema_{CANARY}"))
    with_password = fsspec.filesystem("al", service_uri=f"postgresql://lake:{CANARY}@db.example.org/lake")
    for fs in (with_token, with_password, fsspec.filesystem("al", client=with_token._client, asynchronous=True)):
        assert CANARY.encode() not in dumps(fs)
        assert CANARY not in f"{fs} {fs.storage_options} {fs.fsid} {fs.__dask_tokenize__()}"


def test_it_comes_back_from_pickles_and_json(tmp_path):
    uri = f"sqlite:///{tmp_path}/catalog.db"
    with Client(uri) as client:
        repo = client.create_repo("me/ocean")
        repo.root_group.create_group("daily")
        repo.commit("A group")
        fs = fsspec.filesystem("al", client=client)
        for copy in (pickle.loads(pickle.dumps(fs)), fsspec.AbstractFileSystem.from_json(fs.to_json())):
            assert copy.find("al://me/ocean") == fs.find("al://me/ocean") != []
        script = f"import pickle; print(pickle.loads({pickle.dumps(fs.open('al://me/ocean/daily/zarr.json'))!r}).read()[:1])"
        done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("b'{'\n", "")


def test_unknown_options_are_refused_before_anything_is_asked():
    with pytest.raises(InvalidOptionError, match=r"'token' of al://: known are .*client.*Client\(uri, token=...\)"):
        fsspec.filesystem("al", token=CANARY)
    with pytest.raises(InvalidOptionError, match="either client or service_uri"):
        fsspec.filesystem("al", client=Client("memory://"), service_uri="memory://")
    with pytest.raises(InvalidOptionError, match="not a int"):
        fsspec.filesystem("al", client=3)


async def test_it_works_in_asyncio_on_any_loop(lake):
    client = AsyncClient(lake.client.service_uri)
    fs = fsspec.filesystem("al", client=client, asynchronous=True)
    assert [info["name"] for info in await fs._ls("al://me")] == ["me/ocean"]
    async with await fs.open_async("al://me/ocean/zarr.json") as file:
        data = await file.read()
    assert json.loads(data)["node_type"] == "group"
    # The same instance on another loop, as when zarr's own loop and the caller's both read.
    assert await asyncio.to_thread(asyncio.run, fs._cat_file("al://me/ocean/zarr.json")) == data
    with pytest.raises(ReadOnlyError):
        await fs.open_async("al://me/ocean/zarr.json", "wb")


def test_threads_share_an_instance(fs):
    found = []
    threads = [threading.Thread(target=lambda: found.append(fs.cat("al://me/ocean/zarr.json"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_kind_of_a_third_party_is_read_too(with_files):
    with Client("memory://", plugins=with_files) as client:
        client.create_repo("me/files", kind="files").root_group.create_array("sst", shape=(4,), dtype="f4")[:] = 7
        fs = fsspec.filesystem("al", client=client)
        assert fs.find("al://me/files") == ["me/files/sst/c/0", "me/files/sst/zarr.json", "me/files/zarr.json"]
        assert zarr.open_array("al://me/files/sst", mode="r", storage_options={"client": client})[2] == 7
        assert not fs.exists("al://me/files@v1")
        with pytest.raises(NotFoundError, match="no versions"):
            fs.cat_file("al://me/files@v1/zarr.json")


def test_fsspec_finds_it_by_its_entry_point_and_loads_nothing_before():
    assert get_protocol("al://me/ocean") == "al"
    assert fsspec.get_filesystem_class("al") is ArraylakeFileSystem
    script = """
import sys, fsspec, fsspec.registry
assert "al" in fsspec.available_protocols()
assert not [name for name in sys.modules if name.startswith("arraylake")]
fsspec.filesystem("al")
print(*{name.partition(".")[0] for name in sys.modules})
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"zarr", "icechunk", "sqlalchemy", "xarray", "numpy"} == set()
