"""The power goes right after the catalog has said yes: whatever it points at is on the disk."""

import json
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
import zarr
from arraylake_v1_repo import uploads
from arraylake_v1_repo.export import steps
from arraylake_v1_repo.export.destination import Destination, Marker, Progress
from arraylake_v1_repo.files import FileObjects

from arraylake_core import Client
from arraylake_core.catalog.sql_coordination import SqlCoordination
from arraylake_core.errors import StorageError

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="sees what is synced through /proc")


class Disk:
    """Watches os.fsync, and knows what it has brought below a directory to the disk: the bytes of each file, and which names each directory has.

    Parameters
    ----------
    root
        The directory.
    patch
        To watch with.
    """

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self._root, self._fsync = root, os.fsync
        self._files: dict[int, bytes] = {}
        self._directories: dict[int, dict[str, os.DirEntry[str]]] = {}
        patch.setattr(os, "fsync", self._watched)

    def after_a_cut(self, to: Path) -> None:
        """Write what would be there: of a file that was never synced its name at most, and nothing in it."""
        self._restore(self._root.stat().st_ino, to)

    def _watched(self, descriptor: int) -> None:
        where = Path(f"/proc/self/fd/{descriptor}").readlink()
        if where.is_relative_to(self._root) and where.exists():
            found = os.fstat(descriptor)
            if where.is_dir():
                self._directories[found.st_ino] = {entry.name: entry for entry in os.scandir(where)}
            else:
                self._files[found.st_ino] = where.read_bytes()
        self._fsync(descriptor)

    def _restore(self, directory: int, to: Path) -> None:
        to.mkdir()
        for name, entry in self._directories.get(directory, {}).items():
            if entry.is_dir():
                self._restore(entry.inode(), to / name)
            else:
                (to / name).write_bytes(self._files.get(entry.inode(), b""))


def put_in_place(found: Path, place: Path) -> None:
    """Let a directory be what it was after a cut."""
    with suppress(FileNotFoundError):
        shutil.rmtree(place)
    shutil.copytree(found, place)


class Machine:
    """A catalog and a bucket, and what was left of both at each moment at which the catalog had written something."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self.bucket, self.cuts = directory / "bucket", directory / "cuts"
        self.bucket.mkdir()
        self.cuts.mkdir()
        self.catalog = directory / "catalog.db"
        self.disk = Disk(self.bucket, patch)
        self._taken: list[Path] = []
        for name in ("put_ref", "append_journal"):
            patch.setattr(SqlCoordination, name, self._cutting(getattr(SqlCoordination, name)))
        with self.client() as client:
            client.create_bucket_config(org="me", nickname="disk", uri=f"file://{self.bucket}")

    def client(self, catalog: Path | None = None) -> Client:
        return Client(f"sqlite:///{catalog or self.catalog}")

    def _cutting(self, method: Callable[..., object]) -> Callable[..., object]:
        async def wrapped(*args: object, **kwargs: object) -> object:
            done = await method(*args, **kwargs)
            self.cut()
            return done

        return wrapped

    def cut(self) -> None:
        """Keep what would be there had the power gone now; SQLite syncs its own file."""
        where = self.cuts / f"{len(self._taken)}"
        where.mkdir()
        shutil.copy(self.catalog.with_name("catalog.key"), where / "catalog.key")
        with sqlite3.connect(self.catalog) as source, sqlite3.connect(where / "catalog.db") as copy:
            source.backup(copy)
        source.close()
        copy.close()
        (where / "catalog.db").chmod(0o600)
        self.disk.after_a_cut(where / "bucket")
        self._taken.append(where)

    def after_each_cut(self) -> Iterator[Client]:
        """Give a client of what was there after each."""
        for where in self._taken:
            yield self._after(where)

    def after_the_last_cut(self) -> Client:
        """Give a client of what was there after the last one."""
        return self._after(self._taken[-1])

    def _after(self, where: Path) -> Client:
        put_in_place(where / "bucket", self.bucket)
        return self.client(where / "catalog.db")


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Machine:
    monkeypatch.setattr(uploads, "_known", {})
    return Machine(tmp_path, monkeypatch)


def written(repo, name: str, value: int) -> None:
    zarr.create_array(repo.store, name=name, shape=(6, 400), chunks=(1, 400), dtype="<i4", compressors=None)[:] = np.arange(
        value, value + 2400, dtype="<i4"
    ).reshape(6, 400)


def test_p22_power_that_goes_at_any_moment_leaves_every_branch_and_tag_whole(machine):
    with machine.client() as client:
        repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname="disk", prefix="deep/ocean")
        for number in range(2):
            written(repo, f"a{number}", number * 10_000)
            commit = repo.commit(f"step {number}")
        other = client.get_repo("me/ocean")
        written(other, "by-another", 77_777)
        written(repo, "b", 55_555)
        repo.commit("first")
        other.commit("merged")
        repo.new_tag("v1", commit)
        repo.new_branch("more")
        repo.move("a0", "moved")
        repo.commit("moved")
    seen = []
    for restarted in machine.after_each_cut():
        with restarted as client:
            if not client.list_repos("me"):  # it was being made
                continue
            repo = client.get_repo("me/ocean")
            assert repo.verify().ok, repo.verify()
            seen.append(len(repo.commit_log))
            for mirror in machine.bucket.rglob("refs/*/*"):
                assert json.loads(mirror.read_bytes())["commit"]
    assert max(seen) == 5


def test_p22_what_a_shared_session_acknowledged_outlives_a_power_cut(machine):
    with machine.client() as client:
        repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname="disk")
        written(repo, "before", 10_000)
        session = repo.session.id
        written(repo, "shared", 20_000)
        repo.root_group["shared"].attrs["long"] = "x" * 600_000  # more than a journal takes: it is spilled
        machine.cut()
    with machine.after_the_last_cut() as client:
        repo = client.get_repo("me/ocean")
        repo.join_session(session)
        assert repo.commit("after the cut")
        assert repo.verify().ok
        assert repo.root_group["shared"][5, 399] == 22_399
        assert repo.root_group["before"][5, 399] == 12_399
        assert len(repo.root_group["shared"].attrs["long"]) == 600_000


def test_p22_bytes_that_are_written_again_never_take_a_committed_chunk_off_the_disk(machine, monkeypatch):
    with machine.client() as client:
        repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname="disk")
        written(repo, "a", 10_000)
        repo.commit("committed")
    monkeypatch.setattr(uploads, "_known", {})  # as another process, which knows nothing of the first
    with machine.client() as client:
        repo = client.get_repo("me/ocean")
        written(repo, "again", 10_000)
        machine.cut()
    for restarted in machine.after_each_cut():
        with restarted as client:
            assert not client.list_repos("me") or client.get_repo("me/ocean").verify().ok
    with machine.client() as client:
        # They count as young: a collection spares what is about to be committed.
        assert client.get_repo("me/ocean").gc(grace=timedelta(0)).deleted == 0


def test_a_damaged_chunk_is_replaced_when_its_bytes_are_written_again(machine, monkeypatch):
    with machine.client() as client:
        repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname="disk")
        written(repo, "a", 10_000)
        repo.commit("committed")
        chunk = next(path for path in machine.bucket.rglob("chunks/*/*"))
        chunk.write_bytes(b"\0" * chunk.stat().st_size)
        assert not repo.verify().ok
        monkeypatch.setattr(uploads, "_known", {})
        written(client.get_repo("me/ocean"), "again", 10_000)
        assert repo.verify().ok


def test_a_disk_that_fails_is_no_commit_until_what_it_lost_is_written_again(machine, monkeypatch):
    with machine.client() as client:
        repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname="disk")
        before = repo.branches["main"]
        synced = os.fsync

        def failing(descriptor: int) -> None:
            if "/chunks/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
                raise OSError(5, "Input/output error")
            synced(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing)
            written(repo, "a", 10_000)
            with pytest.raises(StorageError, match="the disk did not take chunks/"):
                repo.commit("lost")
        # The system may say yes the next time, without having the bytes any more.
        with pytest.raises(StorageError, match="write it again"):
            repo.commit("still lost")
        assert repo.branches["main"] == before
        repo.root_group["a"][:] = np.arange(10_000, 12_400, dtype="<i4").reshape(6, 400)
        assert repo.commit("written again") == repo.branches["main"]
        assert repo.verify().ok


def test_p22_an_export_goes_on_after_a_power_cut_from_what_is_on_the_disk(machine, tmp_path, monkeypatch):
    dest, cuts = tmp_path / "exports", tmp_path / "exports-after-cuts"
    dest.mkdir()
    cuts.mkdir()
    disk, write, taken = Disk(dest, monkeypatch), Destination.write, []

    async def cutting(self: Destination, key: str, value: Marker | Progress) -> None:
        await write(self, key, value)
        taken.append(cuts / f"{len(taken)}")
        disk.after_a_cut(taken[-1])
        # The system brings files to the disk in any order: the markers may be there first.
        for marker in dest.rglob(".arraylake-export*"):
            there = taken[-1] / marker.relative_to(dest)
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(marker, there)

    monkeypatch.setattr(steps, "_SAVE_EVERY", 4)
    with machine.client() as client:
        repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname="disk")
        for number in range(3):
            written(repo, f"a{number}", number * 10_000)
        repo.commit("three arrays")
        with monkeypatch.context() as patch:
            patch.setattr(Destination, "write", cutting)
            repo.export(dest / "ocean.zarr")
        assert len(taken) > 3
        for found in taken:
            put_in_place(found, dest)
            repo.export(dest / "ocean.zarr")
            for number in range(3):
                array = zarr.open_array(dest / "ocean.zarr" / f"a{number}", mode="r")
                assert array[...].ravel().tolist() == list(range(number * 10_000, number * 10_000 + 2400))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_syncs_what_its_parent_was_about_to(tmp_path):
    objects = FileObjects(str(tmp_path), "here")
    for number in range(50):
        objects.put_blocking(f"a/{number}", b"x" * 1000)
    child = os.fork()
    if not child:
        import asyncio

        code = 1
        try:
            asyncio.run(asyncio.wait_for(objects.persist([f"a/{number}" for number in range(50)]), 60))
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
