"""Repos that earlier releases wrote are read, and one that is newer or damaged is refused with an error that names the object."""

import json
import runpy
import shutil
from pathlib import Path
from uuid import uuid4

import blake3
import msgspec
import numpy as np
import pytest
import zarr
from numcodecs import zstd

from arraylake_core.errors import RefNotFoundError, StorageError

DATA = Path(__file__).parent / "data"
GOLDEN = DATA / "v1-format-1"
MADE_BY = runpy.run_path(str(DATA / "make_golden.py"))
EXPECTED = json.loads((GOLDEN / "golden.json").read_text())
ON_MAIN = MADE_BY["arrays"]()


@pytest.fixture
def lake(tmp_path) -> Path:
    """Return a directory with a copy of the golden repo in it, and put the file that it refers to where it was."""
    MADE_BY["put_source"](GOLDEN / MADE_BY["SOURCE"])
    shutil.copytree(GOLDEN / "repo", tmp_path / "repo")
    return tmp_path


@pytest.fixture
def import_it(client_on):
    """Return a function that takes the repo in a directory into a catalog that knows nothing of it, and opens it."""

    def take(lake: Path):
        client, name = client_on("file"), f"golden-{uuid4().hex[:8]}"
        client.create_bucket_config(org="me", nickname=name, uri=lake.as_uri())
        if "sources" not in [config.nickname for config in client.list_bucket_configs("me")]:
            client.create_bucket_config(org="me", nickname="sources", uri=MADE_BY["PLACE"].as_uri())
        grants = {f"{MADE_BY['PLACE'].as_uri()}/": "sources"}
        return client.import_repo(f"me/{name}", name, "repo", kind="v1", authorize_virtual_chunk_access=grants)

    return take


def array(repo, path: str) -> zarr.Array:
    return zarr.open_array(repo.store, path=path, mode="r")


def read_all(repo) -> None:
    for path, values in ON_MAIN.items():
        np.testing.assert_array_equal(array(repo, path)[...], values)


def test_p24_a_repo_of_format_1_is_read_as_it_was(lake, import_it):
    repo = import_it(lake)
    repo.checkout("main")
    assert repo.branches == EXPECTED["branches"]
    assert repo.tags == EXPECTED["tags"]
    log = [{"id": commit.id, "message": commit.message, "metadata": commit.metadata} for commit in repo.commit_log]
    assert log == EXPECTED["log"]
    assert {(commit.author.name, commit.author.email) for commit in repo.commit_log} == {("Golden", "golden@example.org")}
    read_all(repo)
    assert dict(repo.root_group["ocean"].attrs) == {"title": "An ocean", "depth": 4000.5, "missing": None}
    assert dict(array(repo, "old/v2").attrs) == {"is": "Zarr 2"}
    assert array(repo, "deep/er/sharded").shards == (48, 48)
    paths = set(repo.filter_metadata("zarr_format"))
    assert {f"/{path}" for path in ON_MAIN} <= {f"/{path.strip('/')}" for path in paths}
    assert not [path for path in paths if "gone" in path or "before" in path]

    repo.checkout("team/ocean")
    assert array(repo, "ocean/inline")[:2].tolist() == [-77, 2]
    assert array(repo, "gone/array")[999] == 999
    repo.checkout(EXPECTED["log"][-2]["id"])
    assert array(repo, "ocean/native")[:].tolist() == [[0.5] * 64] * 64
    assert array(repo, "ocean/inline").shape == (4,)
    repo.checkout(EXPECTED["log"][-1]["id"])
    assert repo.filter_metadata("zarr_format") == []


def test_p24_a_repo_of_format_1_verifies_and_is_written_on(lake, import_it):
    repo = import_it(lake)
    repo.checkout("main")
    assert repo.verify().problems == []
    zarr.open_array(repo.store, path="ocean/many", mode="r+")[4_999] = 7
    before = EXPECTED["branches"]["main"]
    assert repo.diff(before, repo.commit("More")).keys() == {"/ocean/many"}
    assert array(repo, "ocean/many")[4_995:].tolist() == [*ON_MAIN["ocean/many"][4_995:4_999].tolist(), 7]
    assert repo.verify().problems == []


# A newer format


def decode(data: bytes):
    return msgspec.msgpack.decode(zstd.decompress(data[8:]))


def put(lake: Path, family: str, kind: int, version: int, value) -> bytes:
    """Write an object, and return its digest."""
    data = b"ALV1" + bytes([kind, version, 0, 0]) + zstd.compress(msgspec.msgpack.encode(value, order="deterministic"), 1)
    digest = blake3.blake3(data).digest()
    (lake / "repo" / family / digest.hex()).write_bytes(data)
    return digest


def make_newer(lake: Path, what: str) -> str:
    """Let one object on the way to every chunk of main be of version 2; return its key."""
    repo = lake / "repo"
    ref = repo / "refs/branch/main"
    mirror = json.loads(ref.read_bytes())
    commit = json.loads((repo / "commits" / mirror["commit"]).read_bytes())
    snapshot = decode((repo / "snapshots" / commit["snapshot"]).read_bytes())
    key = ""
    for leaf in snapshot["leaves"]:
        table = decode((repo / "snapshots" / leaf[1].hex()).read_bytes())
        for node in table["nodes"]:
            if what == "manifest" and node[2] is not None:
                shards = [node[2][2][begin : begin + 32] for begin in range(0, len(node[2][2]), 32)]
                fresh = [
                    put(lake, "manifests", 3, 2, decode((repo / "manifests" / shard.hex()).read_bytes())) for shard in shards
                ]
                node[2][2] = b"".join(fresh)
                if node[0] == "ocean/native":
                    key = f"manifests/{fresh[0].hex()}"
        leaf[1] = put(lake, "snapshots", 2, 2 if what == "node table" else 1, table)
        if what == "node table":
            key = key or f"snapshots/{leaf[1].hex()}"
    commit["snapshot"] = put(lake, "snapshots", 1, 2 if what == "snapshot" else 1, snapshot).hex()
    if what == "snapshot":
        key = f"snapshots/{commit['snapshot']}"
    commit["format"] = 2 if what == "commit" else 1
    data = json.dumps(commit).encode()
    mirror["commit"] = blake3.blake3(data).digest()[:12].hex()
    (repo / "commits" / mirror["commit"]).write_bytes(data)
    if what == "commit":
        key = f"commits/{mirror['commit']}"
    if what == "ref":
        mirror["format"], key = 2, "refs/branch/main"
    ref.write_text(json.dumps(mirror))
    if what == "repo":
        marker = json.loads((repo / "repo.json").read_bytes())
        (repo / "repo.json").write_text(json.dumps(marker | {"format": 2}))
        key = "repo.json"
    return key


@pytest.mark.parametrize("what", ["repo", "ref", "commit", "snapshot", "node table", "manifest"])
def test_p24_a_newer_format_is_refused_with_what_to_upgrade(lake, import_it, what):
    key = make_newer(lake, what)

    def read() -> None:
        repo = import_it(lake)
        repo.checkout("main")
        array(repo, "ocean/native")[...]

    with pytest.raises(StorageError) as refused:
        read()
    assert key in str(refused.value)
    assert "has version 2 of the V1 format, and this release reads up to 1" in str(refused.value)
    assert "pip install --upgrade arraylake-v1-repo" in str(refused.value)


# Damage


def objects_of_main() -> dict[str, str]:
    """Return a key of each kind of object that main needs."""
    repo = GOLDEN / "repo"
    commit = EXPECTED["branches"]["main"]
    snapshot = json.loads((repo / "commits" / commit).read_bytes())["snapshot"]
    leaf = decode((repo / "snapshots" / snapshot).read_bytes())["leaves"][0][1].hex()
    nodes = {node[0]: node for node in decode((repo / "snapshots" / leaf).read_bytes())["nodes"]}
    shard = nodes["ocean/native"][2][2][:32].hex()
    chunk = decode((repo / "manifests" / shard).read_bytes())["digest"][:32].hex()
    return {
        "chunk": f"chunks/{chunk[:2]}/{chunk}",
        "manifest": f"manifests/{shard}",
        "node table": f"snapshots/{leaf}",
        "snapshot": f"snapshots/{snapshot}",
        "commit": f"commits/{commit}",
    }


DAMAGE = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "emptied": lambda file: file.write_bytes(b""),
    "moved": lambda file: file.rename(file.with_name("elsewhere")),
    "overwritten": lambda file: file.write_bytes(bytes(file.stat().st_size)),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize(("what", "key"), objects_of_main().items(), ids=objects_of_main())
def test_p24_a_damaged_object_is_named(lake, import_it, client_on, what, key, damage):
    name = import_it(lake).name
    DAMAGE[damage](lake / "repo" / key)
    repo = client_on("file").get_repo(name, checkout=False)

    def read() -> None:
        repo.checkout("main")
        array(repo, "ocean/native")[...]

    if (what, damage) != ("chunk", "overwritten"):
        with pytest.raises((StorageError, RefNotFoundError)) as refused:
            read()
        assert key.rpartition("/")[2] in str(refused.value)
    # A chunk of the same length is checked by its codecs when it is read, and against its digest by verify().
    problems = repo.verify().problems
    assert any(key.rpartition("/")[2] in problem for problem in problems)


@pytest.mark.parametrize("damage", ["truncated", "emptied", "overwritten"])
@pytest.mark.parametrize("key", ["repo.json", "refs/branch/main", "refs/tag/v1.0"])
def test_p24_a_damaged_document_is_named_when_a_repo_is_imported(lake, import_it, key, damage):
    DAMAGE[damage](lake / "repo" / key)
    with pytest.raises(StorageError, match=f"{key}.* is damaged: restore it from a backup"):
        import_it(lake)


def test_p24_a_repo_without_its_main_is_not_imported(lake, import_it):
    (lake / "repo/refs/branch/main").unlink()
    with pytest.raises(StorageError, match="has no branch main in refs/: restore it from a backup"):
        import_it(lake)
