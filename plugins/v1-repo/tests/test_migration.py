"""Migrations to Icechunk: the whole history is there afterwards, byte for byte, wherever the first try ended."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pytest
import zarr
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from arraylake_core import AsyncClient, Client, config
from arraylake_core.errors import AlreadyExistsError, ConflictError, InvalidOptionError, RepoNotFoundError, StorageError

DIES = Path(__file__).parent / "dies_migrating.py"


def name() -> str:
    return f"me/old-{uuid4().hex[:8]}"


def keys(repo, ref: str) -> dict[str, bytes]:
    """Return every key of a version."""
    repo.checkout(ref)
    store = repo.store

    async def read() -> dict[str, bytes]:
        return {key: (await store.get(key, default_buffer_prototype())).to_bytes() async for key in store.list()}

    return sync(read())


def live(client: Client, repo_name: str) -> None:
    """Make a repo with three branches, two tags, moves, deletions, resizings, arrays made anew, shards and inline chunks."""
    repo = client.create_repo(repo_name, kind="v1", description="Old", metadata={"age": 7})
    random = np.random.default_rng(3)
    root = repo.root_group
    root.attrs["title"] = "Ocean 🌊"
    ocean = root.create_group("ocean")
    ocean.create_array("numbers", shape=(8, 256), chunks=(1, 256), dtype="i4", compressors=None)[:] = random.integers(
        0, 9**9, (8, 256)
    )
    ocean.create_array("small", shape=(9,), chunks=(2,), dtype="i2", fill_value=-1)[2:5] = 3
    ocean.create_array("shards", shape=(40, 40), chunks=(5, 5), shards=(20, 20), dtype="f8")[:25] = 1
    ocean.create_array("scalar", shape=(), dtype="f4")[...] = 4
    ocean.create_array("text", shape=(2,), dtype=str)[:] = np.array(["ß", "x" * 3000], dtype=object)
    repo.commit("Made\n\nin two lines", metadata={"source": {"run": 7, "models": ["a", "b"]}, "v1_time": "mine"})
    repo.new_tag("first")
    repo.new_branch("team/dev")
    repo.root_group["ocean/small"].resize((3,))
    repo.commit("Shrunk")
    repo.root_group["ocean/small"].resize((12,))
    repo.root_group["ocean/small"][11] = 11
    repo.commit("Grown")
    repo.move("ocean/numbers", "moved/deep/numbers")
    repo.delete("ocean/text")
    repo.commit("Moved")
    repo.new_branch("side", "first")
    repo.root_group.create_array("ocean/scalar", shape=(3,), chunks=(2,), dtype="u1", overwrite=True)[:] = 1
    repo.delete("ocean/numbers")
    repo.root_group.create_group("ocean/numbers/now/groups", attributes={"a": 1})
    repo.commit("Made anew")
    repo.checkout("main")
    with config_as("Ada", "ada@example.org"):
        other = client.get_repo(repo_name)
        other.root_group["ocean/numbers"][3:5] = 0
        other.commit("Rewritten")
    repo.checkout("main")
    repo.new_tag("second")
    repo.root_group.attrs["title"] = "Sea"
    repo.commit("Renamed")


class config_as:  # noqa: N801 - reads as a function
    """Let somebody else be the author."""

    def __init__(self, who: str, email: str) -> None:
        self._set = config.set({"user.name": who, "user.email": email})

    def __enter__(self) -> None:
        self._set.__enter__()

    def __exit__(self, *failure: object) -> None:
        self._set.__exit__(*failure)


def assert_migrated(client: Client, repo_name: str, copy_name: str) -> None:
    """Hold a copy to the repo: branches, tags, and each commit's message, author, time, metadata and keys."""
    repo, copy = client.get_repo(repo_name, read_only=True), client.get_repo(copy_name)
    assert copy.kind == "icechunk"
    assert copy.branches.keys() == repo.branches.keys()
    assert copy.tags.keys() == repo.tags.keys()
    for ref in [*repo.branches, *repo.tags]:
        repo.checkout(ref)
        copy.checkout(ref)
        mine, theirs = repo.commit_log, copy.commit_log
        # Icechunk begins each repository with a commit of its own.
        assert len(theirs) == len(mine) + 1
        for one, two in zip(mine, theirs, strict=False):
            assert (two.message, two.author) == (one.message, one.author)
            assert two.metadata["v1_commit"] == one.id
            assert two.metadata["v1_time"] == one.time.isoformat()
            for key, value in one.metadata.items():
                kept = two.metadata["v1_metadata"] if key.startswith(("v1_", "author_")) else two.metadata
                assert kept[key] == value
        for one, two in zip(mine, theirs, strict=False):
            assert keys(copy, two.id) == keys(repo, one.id), one.message


@pytest.mark.parametrize("place", ["file", "s3"])
def test_the_whole_history_is_there(client_on, place):
    client = client_on(place)
    old = name()
    live(client, old)
    seen: list[tuple[str, int, int]] = []
    report = client.migrate_repo(old, progress=lambda *how_far: seen.append(how_far))
    assert (report.repo, report.kind, report.migrated_from, report.commits) == (f"{old}-icechunk", "icechunk", old, 8)
    assert seen[-1][0] == "Comparing versions"
    assert_migrated(client, old, report.repo)
    copy = client.get_repo(report.repo)
    assert (report.branches, report.tags) == (copy.branches, copy.tags)
    assert report.digests.keys() == {*copy.branches.values(), *copy.tags.values()}
    # Branches branch where they branched.
    repo = client.get_repo(old)
    commits = {
        info.metadata["v1_commit"]: info.id for ref in copy.branches for info in at(copy, ref) if "v1_commit" in info.metadata
    }
    assert commits.keys() == repo.commit_data().commits.keys()
    for ref in repo.branches:
        assert [commits[info.id] for info in at(repo, ref)] == [info.id for info in at(copy, ref)][:-1]
    record = client.get_repo_object(report.repo)
    assert (record.description, record.metadata) == ("Old", {"age": 7})
    np.testing.assert_array_equal(zarr.open_array(at_store(copy, "side"), path="ocean/scalar", mode="r")[:], [1, 1, 1])


def at(repo, ref: str):
    repo.checkout(ref)
    return repo.commit_log


def at_store(repo, ref: str):
    repo.checkout(ref, writable=False)
    return repo.store


def test_doing_it_again_does_nothing_and_later_only_what_is_new(client_on):
    client = client_on("file")
    old = name()
    live(client, old)
    first = client.migrate_repo(old, new_name=f"{old}-copy")
    again = client.migrate_repo(old, new_name=f"{old}-copy")
    assert (again.commits, again.verified_keys, again.branches, again.tags) == (0, 0, first.branches, first.tags)
    repo = client.get_repo(old)
    repo.root_group.attrs["later"] = 1
    repo.commit("Later")
    repo.new_tag("third")
    later = client.migrate_repo(old, new_name=f"{old}-copy")
    assert later.commits == 1
    assert_migrated(client, old, f"{old}-copy")
    # Commits of the copy's own stay, and where both went on, nothing is overwritten.
    copy = client.get_repo(f"{old}-copy")
    copy.checkout("main")
    copy.root_group.attrs["mine"] = 1
    head = copy.commit("Mine")
    assert client.migrate_repo(old, new_name=f"{old}-copy").commits == 0
    assert client.get_repo(f"{old}-copy").branches["main"] == head
    repo.root_group.attrs["later"] = 2
    repo.commit("Both went on")
    with pytest.raises(ConflictError, match="branch 'main' .* has commits of its own"):
        client.migrate_repo(old, new_name=f"{old}-copy")
    assert client.get_repo(f"{old}-copy").branches["main"] == head


def test_virtual_chunks_stay_virtual(client_on, tmp_path):
    client = client_on("file")
    written = zarr.create_group(tmp_path / "source.zarr", zarr_format=3)
    written.create_array("a", shape=(8, 8), chunks=(4, 4), dtype="f4", compressors=None)[:] = np.arange(64).reshape(8, 8)
    nickname = f"outside-{uuid4().hex[:6]}"
    client.create_bucket_config(org="me", nickname=nickname, uri=f"file://{tmp_path}")
    old = name()
    repo = client.create_repo(old, kind="v1", authorize_virtual_chunk_access={f"file://{tmp_path}/": nickname})
    repo.add_virtual_zarr("virtual", f"file://{tmp_path}/source.zarr")
    repo.commit("Virtual")
    client.migrate_repo(old)
    copy = client.get_repo(f"{old}-icechunk")
    assert len(copy.readonly_session("main").all_virtual_chunk_locations()) == 4
    np.testing.assert_array_equal(copy.root_group["virtual/a"][:], np.arange(64).reshape(8, 8))
    # Without the container, nothing is made.
    client.update_virtual_chunk_containers(old, remove=[f"file://{tmp_path}/"])
    with pytest.raises(InvalidOptionError, match="no virtual chunk container of the repo covers any more"):
        client.migrate_repo(old, new_name=f"{old}-2")
    with pytest.raises(RepoNotFoundError):
        client.get_repo_object(f"{old}-2")


def test_virtual_chunks_on_s3_stay_virtual_and_know_the_version_of_their_file(client_on, seaweedfs, bucket, s3_bucket_config):
    client = client_on("s3")
    key, secret = seaweedfs.admin
    s3 = fsspec.filesystem("s3", key=key, secret=secret, endpoint_url=seaweedfs.endpoint, skip_instance_cache=True)
    data = np.random.default_rng(5).random((2, 400)).astype("f4")
    source = s3.get_mapper(f"{bucket}/lake/source.zarr")
    written = zarr.create_group(source, zarr_format=3)
    written.create_array("a", shape=(2, 400), chunks=(1, 400), dtype="f4", compressors=None)[:] = data
    container = f"s3://{bucket}/lake/"
    nickname = f"outside-{uuid4().hex[:6]}"
    client.create_bucket_config(org="me", **{**s3_bucket_config, "nickname": nickname})
    old = name()
    repo = client.create_repo(old, kind="v1", authorize_virtual_chunk_access={container: nickname})
    repo.add_virtual_zarr("virtual", f"s3://{bucket}/lake/source.zarr")
    repo.commit("Virtual")
    client.migrate_repo(old)
    copy = client.get_repo(f"{old}-icechunk")
    assert len(copy.readonly_session("main").all_virtual_chunk_locations()) == 2
    np.testing.assert_array_equal(copy.root_group["virtual/a"][:], data)
    written["a"][0] = 1
    with pytest.raises(Exception, match=r"(?i)modified|changed|etag|precondition"):
        client.get_repo(f"{old}-icechunk").root_group["virtual/a"][:]


def test_what_was_expired_is_not_migrated(client_on):
    client = client_on("file")
    old = name()
    live(client, old)
    repo = client.get_repo(old)
    assert repo.expire(datetime(2999, 1, 1, tzinfo=UTC)) > 0
    left = repo.commit_data(refresh=True).commits
    assert client.migrate_repo(old).commits == len(left)
    assert_migrated(client, old, f"{old}-icechunk")


def test_what_icechunk_has_no_place_for_is_refused_before_anything_is_made(client_on):
    client = client_on("file")

    def old_format(repo) -> None:
        zarr.create_group(repo.store, zarr_format=2).create_array("a", shape=(2,), dtype="i4")[:] = 1

    def loose(repo) -> None:
        sync(repo.store.set("notes.txt", default_buffer_prototype().buffer.from_bytes(b"read me")))

    def names(repo) -> None:
        dots = {"name": "default", "separator": "."}
        repo.root_group.create_array("a", shape=(2,), dtype="i4", chunk_key_encoding=dots)[:] = 1

    for make, match in ((old_format, "Zarr 3 only"), (loose, "'notes.txt', which is no chunk"), (names, "not those of Icechunk")):
        old = name()
        repo = client.create_repo(old, kind="v1")
        repo.root_group  # noqa: B018 - made
        if make is old_format:
            repo.delete("")
        make(repo)
        repo.commit("Not for others")
        with pytest.raises(InvalidOptionError, match=match):
            client.migrate_repo(old)
        with pytest.raises(RepoNotFoundError):
            client.get_repo_object(f"{old}-icechunk")


def test_bad_input_is_refused(client_on):
    client = client_on("file")
    old, other = name(), name()
    live(client, old)
    copy = client.create_repo(other, kind="icechunk")
    copy.root_group.attrs["other"] = True
    copy.commit("Of another's")
    client.create_repo(f"{other}-v1", kind="v1")
    for options, error, match in (
        ({"new_name": other}, AlreadyExistsError, "is another repo, no copy of"),
        ({"new_name": f"{other}-v1"}, AlreadyExistsError, "is a repo of the kind v1"),
        ({"new_name": "them/old"}, InvalidOptionError, "stays in the organization"),
        ({"to": "v1"}, InvalidOptionError, "is of the kind v1 already"),
    ):
        with pytest.raises(error, match=match):
            client.migrate_repo(old, **options)
    with pytest.raises(InvalidOptionError, match="can't be migrated: the kind does not give its history"):
        client.migrate_repo(other, to="v1")
    with pytest.raises(RepoNotFoundError):
        client.migrate_repo("me/nowhere")
    client.get_repo(other).checkout("main")
    assert client.get_repo(other).commit_log[0].message == "Of another's"


def test_a_source_that_is_damaged_is_never_said_to_be_migrated(client_on):
    client = client_on("file")
    old = name()
    live(client, old)
    place = Path(client.get_repo(old)._aio.binding.objects.place.removeprefix("file://"))
    chunk = max((path for path in (place / "chunks").rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    data = chunk.read_bytes()
    chunk.unlink()
    with pytest.raises(StorageError, match="is missing"):
        client.migrate_repo(old)
    chunk.write_bytes(data)
    client.migrate_repo(old)
    assert_migrated(client, old, f"{old}-icechunk")


async def test_the_async_client_migrates(client_on):
    client = client_on("file")
    old = name()
    client.create_repo(old, kind="v1")
    async with AsyncClient(client.service_uri) as aio:
        report = await aio.migrate_repo(old)
    assert report.commits == 1


def test_p22_a_migration_that_was_killed_is_finished_by_a_second_try(client_on):
    client = client_on("file")
    old = name()
    live(client, old)
    expected = client.migrate_repo(old, new_name=f"{old}-whole")
    at_write, killed = 1, 0
    while at_write < 200:
        asked = json.dumps({"uri": client.service_uri, "repo": old, "at_write": at_write})
        code = subprocess.run([sys.executable, str(DIES), asked], env=dict(os.environ), check=False).returncode
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed += 1
        # The next try goes on where this one stopped, and is killed later: the copy is not made anew.
        at_write += 9
    report = client.migrate_repo(old)
    assert killed > 3
    assert (report.commits, report.branches.keys()) == (0, expected.branches.keys())
    assert_migrated(client, old, f"{old}-icechunk")
