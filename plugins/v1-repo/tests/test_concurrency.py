"""Many processes and handles at once: nothing that was acknowledged is lost, and nothing that is reachable is collected.

The catalogs that the suite runs on are those of ``V1_TEST_CATALOGS``, URIs with spaces between, and always an embedded one.
"""

import multiprocessing
import os
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from threading import Barrier
from typing import NamedTuple
from uuid import uuid4

import numpy as np
import pytest

from arraylake_core import Client
from arraylake_core.errors import AlreadyExistsError, ArraylakeError, ConflictError, RefNotFoundError, ServiceError

CATALOGS = ["sqlite", *os.environ.get("V1_TEST_CATALOGS", "").split()]
SPAWN = multiprocessing.get_context("spawn")
COLUMNS = 200  # of four bytes: more than what is kept in the manifest


class Ocean(NamedTuple):
    """A repo with one array, each row a chunk."""

    uri: str
    name: str

    def open(self):
        return Client(self.uri).get_repo(self.name)


@pytest.fixture(params=CATALOGS)
def ocean(request, tmp_path) -> Iterator[Ocean]:
    uri = f"sqlite:///{tmp_path}/catalog.db" if request.param == "sqlite" else request.param
    suffix = uuid4().hex[:8]
    (tmp_path / "bucket").mkdir()
    with Client(uri) as client:
        client.create_bucket_config(org="me", nickname=f"disk-{suffix}", uri=f"file://{tmp_path}/bucket")
        repo = client.create_repo(f"me/ocean-{suffix}", kind="v1", bucket_config_nickname=f"disk-{suffix}", prefix="ocean")
        repo.root_group.create_array("rows", shape=(400, COLUMNS), chunks=(1, COLUMNS), dtype="<i4", compressors=None)
        repo.commit("An empty ocean")
        yield Ocean(uri, f"me/ocean-{suffix}")
        client.delete_repo(f"me/ocean-{suffix}", imsure=True, imreallysure=True, immediate=True)


def rows(repo, count: int = 400) -> list[int]:
    """Return the number that each row is full of."""
    found = np.asarray(repo.root_group["rows"][:count])
    assert (found == found[:, :1]).all(), "a chunk is torn"
    return found[:, 0].tolist()


def messages(repo) -> list[str]:
    return [commit.message for commit in repo.commit_log]


def run_all(*processes) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * len(processes)


def commit_often(uri: str, name: str, worker: int, commits: int) -> None:
    with Client(uri) as client:
        repo = client.get_repo(name)
        for number in range(worker * commits, (worker + 1) * commits):
            repo.checkout("main")
            repo.root_group["rows"][number] = number + 1
            assert repo.commit(f"number {number}")


def test_p21_320_commits_of_16_processes_on_one_branch_are_all_kept(ocean):
    run_all(*(SPAWN.Process(target=commit_often, args=(*ocean, worker, 20)) for worker in range(16)))
    repo = ocean.open()
    assert rows(repo, 320) == list(range(1, 321))
    log = repo.commit_log
    assert sorted(messages(repo)[:320]) == sorted(f"number {number}" for number in range(320))
    assert [commit.parent for commit in log[:320]] == [commit.id for commit in log[1:321]]
    assert not problems(repo.verify())


def problems(report: object) -> object:
    """Return what verify() found wrong."""
    return getattr(report, "problems", report)


@pytest.mark.parametrize("kind", ["branch", "tag"])
def test_p21_of_two_that_make_one_name_exactly_one_wins(ocean, kind):
    first, second = ocean.open(), ocean.open()
    base = first.branches["main"]
    second.root_group["rows"][0] = 1
    later = second.commit("One more")
    for number in range(8):
        barrier = Barrier(2)

        def make(repo, commit: str, name=f"name-{number}", barrier=barrier) -> str | None:
            barrier.wait()
            try:
                if kind == "branch":
                    repo.new_branch(name, commit, checkout=False)
                else:
                    repo.new_tag(name, commit)
            except AlreadyExistsError:
                return None
            return commit

        with ThreadPoolExecutor(2) as pool:
            made = list(pool.map(make, (first, second), (base, later)))
        assert made.count(None) == 1
        names = ocean.open().branches if kind == "branch" else ocean.open().tags
        assert names[f"name-{number}"] in made


def test_p21_a_branch_that_two_move_at_once_has_both_commits(ocean):
    def move(worker: int) -> list[str]:
        repo = ocean.open()
        made = []
        for number in range(10):
            repo.root_group["rows"][worker * 10 + number] = worker + 1
            made.append(repo.commit(f"{worker}, {number}"))
        return made

    with ThreadPoolExecutor(2) as pool:
        made = [commit for commits in pool.map(move, range(2)) for commit in commits]
    repo = ocean.open()
    assert rows(repo, 20) == [1] * 10 + [2] * 10
    assert sorted(commit.id for commit in repo.commit_log[:20]) == sorted(made)


def test_the_same_group_made_by_two_is_no_difference(ocean):
    """One has made it by the way, as what another group is in."""
    first, second = ocean.open(), ocean.open()
    first.create_group("deep/deeper")
    second.create_group("deep")
    assert first.commit("Deeper")
    assert second.commit("The same group") is None
    assert "deeper" in ocean.open().root_group["deep"]


def test_p21_a_commit_whose_answer_was_cut_off_is_not_made_twice(ocean, monkeypatch):
    from arraylake_core.catalog.sql_coordination import SqlCoordination

    whole = SqlCoordination.put_ref
    cut = []

    async def cut_off(self, name, value, *, expected):
        ref = await whole(self, name, value, expected=expected)
        if name.startswith("branch/") and not cut:
            cut.append(name)
            raise ServiceError("the connection was lost")
        return ref

    repo = ocean.open()
    repo.root_group["rows"][0] = 1
    monkeypatch.setattr(SqlCoordination, "put_ref", cut_off)
    try:
        made = repo.commit("Once")
    except ServiceError:
        made = repo.commit("Once")
    assert cut == ["branch/main"]
    assert made == ocean.open().branches["main"]
    assert messages(ocean.open()).count("Once") == 1
    repo.root_group["rows"][1] = 2
    repo.commit("Twice")
    assert rows(ocean.open(), 2) == [1, 2]


# Collecting


def write_beside_gc(uri: str, name: str, worker: int, commits: int) -> None:
    """Commit to main and to branches that come and go; few different numbers, so that chunks become garbage and are wanted again."""
    random = np.random.default_rng(worker)
    with Client(uri) as client:
        repo = client.get_repo(name)
        for number in range(commits):
            row = worker * commits + number
            branch = f"w{worker}/{number}"
            repo.checkout("main")
            repo.new_branch(branch)
            repo.root_group["rows"][300 + worker] = int(random.integers(1, 4))
            repo.commit(f"on {branch}")
            if number % 3 == 0:
                repo.new_tag(f"t{branch}", branch)
            repo.checkout("main")
            if number % 3 != 1:
                repo.delete_branch(branch)
            repo.root_group["rows"][row] = int(random.integers(1, 4)) * 10 + 1
            repo.root_group["rows"][row] = row % 3 + 1
            assert repo.commit(f"number {row}")


def collect_beside(uri: str, name: str, stop) -> None:
    with Client(uri) as client:
        repo = client.get_repo(name)
        while not stop.is_set():
            # Of two at once, one goes on.
            with suppress(ConflictError):
                repo.gc(grace=timedelta(0))


def test_p23_nothing_reachable_is_lost_with_commits_branches_and_two_gcs_at_once(ocean):
    stop = SPAWN.Event()
    writers = [SPAWN.Process(target=write_beside_gc, args=(*ocean, worker, 8)) for worker in range(3)]
    collectors = [SPAWN.Process(target=collect_beside, args=(*ocean, stop)) for _ in range(2)]
    for process in (*collectors, *writers):
        process.start()
    for process in writers:
        process.join()
    stop.set()
    for process in collectors:
        process.join()
    assert [process.exitcode for process in (*writers, *collectors)] == [0] * 5
    repo = ocean.open()
    assert not problems(repo.verify())
    assert rows(repo, 24) == [row % 3 + 1 for row in range(24)]
    assert sorted(messages(repo)[:24]) == sorted(f"number {row}" for row in range(24))
    for names, kept, start in ((repo.tags, {0, 3, 6}, "t"), (repo.branches, {1, 4, 7}, "")):
        expected = {f"w{worker}/{number}" for worker in range(3) for number in kept}
        assert set(names) - {"main"} == {start + name for name in expected}
        for name in expected:
            repo.checkout(start + name)
            assert rows(repo)[300 + int(name[1])] in (1, 2, 3)
            assert messages(repo)[0] == f"on {name}"


def test_p23_gc_leaves_what_a_live_session_has_written_and_what_it_reads(ocean):
    writer, collector = ocean.open(), ocean.open()
    shared, past = ocean.open(), ocean.open()
    shared.root_group["rows"][1] = 2
    assert shared.session.id
    writer.root_group["rows"][0] = 1
    past.new_branch("doomed")
    past.root_group["rows"][2] = 3
    past.commit("On a branch that goes")
    collector.delete_branch("doomed")
    collector.gc(grace=timedelta(0))
    collector.gc(grace=timedelta(0))
    assert rows(past, 3) == [0, 0, 3]
    writer.commit("Written before")
    shared.commit("Shared before")
    assert rows(ocean.open(), 3) == [1, 2, 0]
    assert not problems(ocean.open().verify())


def test_p23_a_chunk_that_was_garbage_is_there_when_it_is_written_again(ocean):
    repo, collector = ocean.open(), ocean.open()
    repo.new_branch("doomed")
    repo.root_group["rows"][0] = 77
    repo.commit("Garbage soon")
    repo.checkout("main")
    repo.delete_branch("doomed")
    repo.root_group["rows"][5] = 77
    collector.gc(grace=timedelta(0))
    repo.commit("The same bytes")
    assert rows(ocean.open(), 6) == [0, 0, 0, 0, 0, 77]
    assert not problems(ocean.open().verify())


# Writing together


def write_rows(pickled: bytes, worker: int) -> None:
    import zarr

    array = zarr.open_array(pickle.loads(pickled), path="rows", mode="r+")
    for row in range(worker * 25, (worker + 1) * 25):
        array[row] = row + 1


def test_p21_four_processes_fill_one_session_and_the_driver_commits_once(ocean):
    repo = ocean.open()
    repo.root_group.attrs["filled"] = True
    pickled = pickle.dumps(repo.store)
    run_all(*(SPAWN.Process(target=write_rows, args=(pickled, worker)) for worker in range(4)))
    repo.root_group["rows"][100] = 101
    assert rows(ocean.open(), 2) == [0, 0]
    commit = repo.commit("Filled together")
    after = ocean.open()
    assert rows(after, 102) == [*range(1, 102), 0]
    assert after.root_group.attrs["filled"] is True
    assert [after.commit_log[0].id, messages(after)[1]] == [commit, "An empty ocean"]


def test_p21_of_two_workers_on_one_chunk_the_later_one_wins(ocean):
    repo = ocean.open()
    one, other = (pickle.loads(pickle.dumps(repo)) for _ in range(2))
    one.root_group["rows"][0] = 1
    other.root_group["rows"][0] = 2
    one.root_group["rows"][1] = 3
    other.root_group["rows"][2] = 4
    one.root_group["rows"][2] = 5
    repo.commit("Both")
    assert rows(ocean.open(), 3) == [2, 3, 5]


def end_by_commit(repo) -> str:
    repo.root_group["rows"][1] = 1
    repo.commit("The end")
    return "commit"


def end_by_abandoning(repo) -> str:
    repo.session.abandon()
    return "abandon"


def end_by_expiry(repo) -> str:
    repo.session.update_expiration(timedelta(microseconds=1))
    return "expire"


@pytest.mark.parametrize("end", [end_by_commit, end_by_abandoning, end_by_expiry])
def test_p21_who_writes_after_the_end_of_a_session_hears_of_it(ocean, end):
    repo = ocean.open()
    worker = pickle.loads(pickle.dumps(repo.root_group["rows"]))
    worker[0] = 1
    says = end(repo)
    before = ocean.open().branches["main"]
    with pytest.raises(ArraylakeError, match=says):
        worker[2] = 2
    assert ocean.open().branches["main"] == before
    assert rows(ocean.open(), 3) == ([1, 1, 0] if end is end_by_commit else [0, 0, 0])


@pytest.mark.parametrize("end", [end_by_abandoning, end_by_expiry])
def test_p21_nobody_commits_or_joins_what_has_ended(ocean, end):
    repo = ocean.open()
    repo.root_group["rows"][0] = 1
    session = repo.session.id
    says = end(repo)
    with pytest.raises(ArraylakeError, match=says):
        repo.commit("Too late")
    with pytest.raises(ArraylakeError):
        ocean.open().join_session(session)
    assert session not in [active.id for active in ocean.open().list_active_sessions()]
    assert rows(ocean.open(), 1) == [0]


def test_p21_a_commit_to_a_branch_that_is_gone_is_refused_and_keeps_the_changes(ocean):
    repo, other = ocean.open(), ocean.open()
    repo.new_branch("short")
    repo.root_group["rows"][0] = 1
    other.delete_branch("short")
    with pytest.raises(RefNotFoundError, match="short"):
        repo.commit("Where to?")
    assert rows(repo, 1) == [1]
    assert "short" not in other.branches
