"""All of Icechunk works on the handle, and what Icechunk alone lacks is there."""

import asyncio
import inspect
import multiprocessing
import os
import pickle
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import icechunk
import numpy as np
import pytest
import zarr
from arraylake_icechunk.repo import IcechunkRepo
from arraylake_icechunk.session import RepoSession, RepoStore

import arraylake_core.errors as ours
from arraylake_core import Client


@pytest.fixture
def client(tmp_path):
    with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
        yield client


@pytest.fixture
def repo(client) -> IcechunkRepo:
    repo = client.create_repo("me/ocean")
    repo.root_group.create_array("t", shape=(100,), chunks=(1,), dtype="i4")
    repo.commit("An empty ocean")
    return repo


def directory(client, name="me/ocean") -> Path:
    record = client.get_repo_object(name)
    return Path(record.bucket.name) / record.prefix


# What icechunk.Repository offers, sorted by whether it writes refs or the repo object. A new release that adds a method fails the test below, so that
# somebody decides whether it needs the lock.
WRITES = {
    "create_branch", "create_tag", "delete_branch", "delete_tag", "expire_snapshots", "garbage_collect", "reset_branch", "rewrite_manifests",
    "save_config", "set_feature_flag", "set_metadata", "set_status", "update_metadata",
}  # fmt: skip
SESSIONS = {"readonly_session", "writable_session", "rearrange_session", "transaction", "reopen", "set_default_commit_metadata"}
READS = {
    "ancestry", "ancestry_graph", "async_ancestry", "attribution", "authorized_virtual_container_prefixes", "chunk_storage_stats", "config",
    "default_commit_metadata", "diff", "disabled_feature_flags", "enabled_feature_flags", "exists", "feature_flags", "fetch_config",
    "fetch_spec_version", "get_metadata", "get_status", "inspect_manifest", "inspect_repo_info", "inspect_snapshot", "inspect_transaction_log",
    "list_branches", "list_manifest_files", "list_tags", "lookup_branch", "lookup_snapshot", "lookup_tag", "metadata", "ops_log", "spec_version",
    "status", "storage", "total_chunks_storage", "create", "open", "open_or_create",
}  # fmt: skip


def test_every_method_of_icechunk_is_known_and_every_write_is_locked():
    names = {name.removesuffix("_async") for name in dir(icechunk.Repository) if not name.startswith("_")}
    assert names == WRITES | SESSIONS | READS
    for name in WRITES | (SESSIONS - {"transaction"}):
        assert name in vars(IcechunkRepo), f"{name} is not overridden"
        if hasattr(icechunk.Repository, f"{name}_async"):
            assert f"{name}_async" in vars(IcechunkRepo)


def test_overrides_keep_icechunk_s_signatures():
    for theirs, mine in ((icechunk.Repository, IcechunkRepo), (icechunk.Session, RepoSession)):
        for name in (WRITES | SESSIONS | {"commit", "amend", "flush"}) & vars(mine).keys() & vars(theirs).keys():
            expected = list(inspect.signature(getattr(theirs, name)).parameters.values())
            found = list(inspect.signature(getattr(mine, name)).parameters.values())
            assert [(p.name, p.kind, p.default) for p in found] == [
                (p.name, p.kind, p.default) for p in expected
            ] or name == "commit"


def test_the_handle_is_an_icechunk_repository(repo):
    assert isinstance(repo, icechunk.Repository)
    assert isinstance(repo.store, icechunk.IcechunkStore)
    with repo.transaction("main", message="A transaction") as store:
        zarr.open_group(store)["t"][0] = 1
    snapshot = repo.lookup_branch("main")
    repo.create_tag("v1", snapshot)
    repo.create_branch("dev", snapshot)
    session = repo.writable_session("dev")
    zarr.open_group(session.store)["t"][1] = 2
    session.commit("On dev")
    assert repo.tags == {"v1": snapshot}
    assert set(repo.branches) == {"main", "dev"}
    assert repo.diff(from_branch="main", to_branch="dev").updated_chunks == {"/t": [[1]]}
    assert repo.status.availability == repo.get_status().availability
    repo.delete_branch("dev")
    assert repo.commit_log[0].author.name


async def test_async_twins_of_icechunk_work_too(repo):
    session = await repo.writable_session_async("main")
    assert isinstance(session, RepoSession)
    group = await zarr.api.asynchronous.open_group(session.store)
    array = await group.getitem("t")
    await array.setitem(slice(0, 3), np.array([1, 2, 3]))
    await session.commit_async("Three")
    await repo.create_tag_async("three", await repo.lookup_branch_async("main"))
    reader = await repo.readonly_session_async(tag="three")
    assert zarr.open_group(reader.store, mode="r")["t"][:3].tolist() == [1, 2, 3]
    await repo.checkout_async("main")
    repo.root_group["t"][5] = 5
    assert await repo.commit_async("Five")
    assert await repo.commit_async("Nothing") is None


async def test_tasks_of_one_loop_commit_at_once_and_none_is_lost(client, repo):
    async def commit(number: int) -> None:
        session = await repo.writable_session_async("main")
        group = await zarr.api.asynchronous.open_group(session.store)
        await (await group.getitem("t")).setitem(number, number + 1)
        await session.commit_async(f"number {number}", rebase_with=icechunk.ConflictDetector())

    await asyncio.gather(*(commit(number) for number in range(40)))
    assert client_total(repo) == sum(range(1, 41))


def client_total(repo) -> int:
    return int(zarr.open_group(repo.readonly_session("main").store, mode="r")["t"][:].sum())


def test_a_session_taken_from_a_store_still_commits_under_the_lock(repo):
    store = repo.writable_session("main").store
    assert isinstance(store, RepoStore)
    assert isinstance(store.session, RepoSession)
    assert isinstance(store.with_read_only(True).session, RepoSession)


def _hold_session_open(pipe, client) -> None:
    """Hold the repo's lock until told to let go."""
    repo = client.get_repo("me/ocean")
    with repo.binding.lock.hold():
        pipe.send("held")
        pipe.recv()


def test_a_reader_never_waits_for_a_writer_and_a_dead_writer_holds_nothing(client, repo):
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    writer = context.Process(target=_hold_session_open, args=(there, client))
    writer.start()
    assert here.recv() == "held"
    reader = client.get_repo("me/ocean", read_only=True)
    assert reader.root_group["t"][0] == 0
    assert reader.commit_log
    assert client.get_repo("me/ocean").branches
    writer.kill()
    writer.join()
    repo.root_group["t"][0] = 1
    assert repo.commit("After the writer died")


def _fork_and_open(client, answers) -> None:
    try:
        client.get_repo("me/ocean")
    except Exception as error:
        answers.put((type(error).__name__, str(error), [repo.name for repo in client.list_repos("me")]))


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_p27_a_forked_child_uses_the_catalog_and_is_told_that_icechunk_can_not_be_forked(client, repo):
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=_fork_and_open, args=(client, answers))
    child.start()
    name, text, listed = answers.get(timeout=60)
    child.join(60)
    assert name == "StorageError"
    assert "spawn" in text
    assert listed == ["ocean"]


def test_p11_pickles_of_sessions_and_stores_keep_the_lock(repo):
    for thing in (repo.readonly_session("main"), repo.readonly_session("main").store, repo.writable_session("main").fork()):
        again = pickle.loads(pickle.dumps(thing))
        assert type(again) is type(thing)
    again = pickle.loads(pickle.dumps(repo))
    assert again.binding == repo.binding
    assert again.default_commit_metadata()["author_name"]


def test_a_handle_with_uncommitted_changes_refuses_to_be_pickled(repo):
    repo.root_group["t"][0] = 1
    with pytest.raises(ours.ConflictError, match="uncommitted"):
        pickle.dumps(repo)


def test_every_write_of_a_read_only_repo_is_refused(client, repo):
    reader = client.get_repo("me/ocean", read_only=True)
    snapshot = reader.lookup_branch("main")
    for write in (
        lambda: reader.writable_session("main"),
        lambda: reader.create_branch("x", snapshot),
        lambda: reader.create_tag("x", snapshot),
        lambda: reader.reset_branch("main", snapshot),
        lambda: reader.set_metadata({"a": 1}),
        lambda: reader.garbage_collect(repo.commit_log[0].time),
    ):
        with pytest.raises(ours.ReadOnlyError, match="was opened read-only"):
            write()
    assert reader.branches == repo.branches


def test_a_repo_whose_storage_vanished_says_so_and_makes_nothing(client, repo):
    place = directory(client)
    place.rename(place.with_name("moved"))
    with pytest.raises(ours.StorageError, match=r"me/ocean is in the catalog, but there is no Icechunk repository at file://"):
        client.get_repo("me/ocean")
    repo.root_group["t"][0] = 1
    with pytest.raises(ours.StorageError, match="is gone"):
        repo.commit("Into nowhere")
    assert not (place / ".arraylake.lock").exists()
    place.with_name("moved").rename(place)
    assert client.get_repo("me/ocean").branches


def test_a_read_only_directory_refuses_a_commit_and_nothing_changes(tmp_path):
    """In a process of its own, without root's right to write anywhere."""
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    child = context.Process(target=_commit_into_read_only, args=(str(tmp_path), answers))
    child.start()
    name, text, same = answers.get(timeout=120)
    child.join(60)
    assert name == "StorageError"
    assert "nothing was" in text
    assert same


def _commit_into_read_only(tmp_path: str, answers) -> None:
    place = Path(tmp_path) / "own"
    place.mkdir()
    if os.geteuid() == 0:
        # What is imported later might not be readable without root's rights.
        Client("memory://").create_repo("me/warm").root_group.create_array("t", shape=(4,), dtype="i4")
        for parent in (place, *place.parents):
            if parent == Path("/"):
                break
            parent.chmod(parent.stat().st_mode | 0o755)
        os.chown(place, 65534, 65534)
        os.setgid(65534)
        os.setuid(65534)
    with Client(f"sqlite:///{place}/catalog.db") as client:
        repo = client.create_repo("me/ocean")
        repo.root_group.create_array("t", shape=(4,), dtype="i4")
        repo.commit("Written")
        repo.root_group["t"][:] = 1
        head, held = dict(repo.branches), directory(client)
        for path in [held, *held.rglob("*")]:
            path.chmod(stat.S_IREAD | (stat.S_IEXEC if path.is_dir() else 0))
        try:
            repo.commit("Refused")
        except Exception as error:
            answer = (type(error).__name__, str(error))
        else:
            answer = ("none", "")
        for path in [held, *held.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        answers.put((*answer, dict(client.get_repo("me/ocean").branches) == head))


def test_options_of_other_kinds_are_refused_before_anything_is_recorded(client):
    with pytest.raises(ours.InvalidOptionError, match="RepositoryConfig"):
        client.create_repo("me/ocean", config={"inline": 3})
    with pytest.raises(ours.InvalidOptionError, match="spec_version"):
        client.create_repo("me/ocean", spec_version=7)
    assert client.list_repos("me") == []


def test_config_and_spec_version_reach_icechunk(client):
    chosen = icechunk.RepositoryConfig(inline_chunk_threshold_bytes=17)
    repo = client.create_repo("me/ocean", config=chosen, spec_version=1)
    assert int(repo.spec_version) == 1
    assert client.get_repo("me/ocean", config=chosen).config.inline_chunk_threshold_bytes == 17


def test_virtual_chunks_are_read_through_a_bucket_config_and_from_nowhere_else(client, tmp_path):
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "raw.bin").write_bytes(np.arange(4, dtype="<i4").tobytes())
    (tmp_path / "secret.bin").write_bytes(b"0123456789abcdef")
    client.create_bucket_config(org="me", nickname="archive", uri=f"file://{archive}")
    url = f"file://{archive}/"
    repo = client.create_repo("me/virtual", authorize_virtual_chunk_access={url: "archive"})
    repo.root_group.create_array("t", shape=(4,), chunks=(4,), dtype="<i4", compressors=None, filters=None)
    repo.store.set_virtual_ref("t/c/0", f"{url}raw.bin", offset=0, length=16)
    repo.commit("By reference")
    assert client.get_repo("me/virtual").root_group["t"][:].tolist() == [0, 1, 2, 3]
    assert client.get_virtual_chunk_containers("me/virtual") == {url: "archive"}
    with pytest.raises(icechunk.IcechunkError):
        repo.store.set_virtual_ref("t/c/0", f"file://{tmp_path}/secret.bin", offset=0, length=16, validate_container=True)
    with pytest.raises(ours.InvalidNameError, match="lies outside"):
        client.update_virtual_chunk_containers("me/virtual", add={f"file://{tmp_path}/": "archive"})
    assert client.update_virtual_chunk_containers("me/virtual", remove=[url]) == {}
    with pytest.raises(icechunk.IcechunkError):
        client.get_repo("me/virtual").root_group["t"][:]


@pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's own")
def test_a_full_disk_refuses_a_commit_and_nothing_changes(tmp_path):
    """On a file system of 4 MB, in a mount namespace of its own."""
    (tmp_path / "small").mkdir()
    script = f"""
        import numpy as np
        from arraylake_core import Client, errors
        with Client("sqlite:///{tmp_path}/catalog.db") as client:
            client.create_bucket_config(org="me", nickname="small", uri="file://{tmp_path}/small")
            repo = client.create_repo("me/ocean", bucket_config_nickname="small")
            array = repo.root_group.create_array("t", shape=(64, 1 << 17), chunks=(1, 1 << 17), dtype="i1", compressors=None)
            repo.commit("Empty")
            head = dict(repo.branches)
            try:
                repo.root_group["t"][:] = np.random.default_rng(0).integers(0, 100, (64, 1 << 17), dtype="i1")
                repo.commit("Too much")
            except Exception as error:
                print("space" in str(error), dict(client.get_repo("me/ocean").branches) == head)
            repo.checkout("main", discard=True)
            print(client.get_repo("me/ocean").root_group["t"][0, :3].tolist())
    """
    (tmp_path / "script.py").write_text(textwrap.dedent(script))
    mount = f"mount -t tmpfs -o size=4m tmpfs {tmp_path}/small && exec {sys.executable} {tmp_path}/script.py"
    run = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount], capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines() == ["True True", "[0, 0, 0]"], run.stderr
