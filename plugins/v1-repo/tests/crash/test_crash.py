"""A process is killed anywhere: whatever was committed is there and right, no branch is broken, and a second try succeeds.

``V1_CRASH_KILLS`` and ``V1_CRASH_SEED`` set how many kills at random times there are, and from which seed; any time is a right time. ``V1_CRASH_TASKS`` names
what is killed.
"""

import os
import random
import signal
from pathlib import Path
from uuid import uuid4

import crash_life
import pytest
import zarr

from arraylake_core import Client

KILLS = int(os.environ.get("V1_CRASH_KILLS", "30"))
SEED = int(os.environ.get("V1_CRASH_SEED", "1"))
KILLS_A_LIFE = 10
AT_RANDOM = os.environ.get("V1_CRASH_TASKS", "write write write_shared name_commits litter_and_collect export migrate").split()
AT_EVERY_WRITE = ("write_one", "write_one_shared", "name_commits", "litter", "collect")
STRIDES = {"write_one_shared": 4}
"""Of those with the most writes, the usual run takes one in so many, beginning anywhere; --thorough takes each."""


class Life:
    """A repo, what was acknowledged of it, and what it must hold."""

    def __init__(self, directory: Path, seed: int, worker) -> None:
        self.seed, self.worker = seed, worker
        self.uri = f"sqlite:///{directory}/catalog.db"
        self.acknowledged = directory / "acknowledged"
        self.expected = crash_life.Expected(seed)
        self.right: set[str] = set()
        with Client(self.uri) as client:
            bucket = directory / "bucket"
            bucket.mkdir()
            client.create_bucket_config(org="me", nickname="disk", uri=f"file://{bucket}")
            client.create_repo(crash_life.NAME, kind="v1", bucket_config_nickname="disk", prefix="ocean")
        self.bytes = bucket / "ocean"
        self.again("write")

    def run(self, task: str, **kill: object) -> dict[str, object]:
        return self.worker.run(task, self.uri, self.seed, self.acknowledged, **kill)

    def again(self, task: str, hours_later: float = 0.1) -> float:
        """Run a task to its end, when leases of the dead are over, and check all; return how long it took."""
        answer = self.run(task, hours_later=hours_later)
        assert answer["code"] == 0
        self.check(task)
        return float(answer["seconds"])

    def check(self, task: str) -> None:
        """Hold the repo to what it must be, wherever the task ended."""
        with Client(self.uri) as client:
            repo = client.get_repo(crash_life.NAME)
            assert not problems(repo.verify())
            log = crash_life.steps(repo)
            assert list(log.values()) == list(range(len(log))), "the history has a gap, or a step twice"
            acknowledged = {str(note["commit"]): note["step"] for note in crash_life.said(self.acknowledged) if "step" in note}
            assert acknowledged.items() <= log.items(), "an acknowledged commit is lost"
            tags = repo.tags
            for note in crash_life.said(self.acknowledged):
                assert "tag" not in note or tags[str(note["tag"])] == note["commit"]
            heads = {"main": repo.branches["main"], **tags}
            heads |= {name: head for name, head in repo.branches.items() if name != "garbage"}
            assert set(heads.values()) <= set(log), "a branch or tag leads elsewhere"
            # Commits never change: those that were right stay so, as far as verify() looks at digests; the head is read each time.
            for commit in ({*log} - self.right) | {repo.branches["main"]}:
                repo.checkout(commit)
                assert crash_life.content(repo.root_group) == self.expected.after(log[commit])
                self.right.add(commit)
            last = max(log.values())
        if task == "export" and any(note.get("exported") == last for note in crash_life.said(self.acknowledged)):
            found = zarr.open_group(str(crash_life.exported(self.acknowledged, last)), mode="r")
            assert crash_life.content(found) == self.expected.after(last)

        if task == "migrate" and any(note.get("migrated") == last for note in crash_life.said(self.acknowledged)):
            with Client(self.uri) as client:
                copy = client.get_repo(f"{crash_life.NAME}-icechunk")
                copy.checkout("main")
                assert crash_life.content(copy.root_group) == self.expected.after(last)

    def check_all(self) -> None:
        """Read every commit once more; collecting garbage twice leaves nothing for the second time."""
        self.right.clear()
        self.check("all")
        self.again("collect", hours_later=48)
        before = self.objects()
        assert not [path for path in before if path.endswith(".part")], "what the killed were writing is left"
        self.again("collect", hours_later=48)
        assert self.objects() == before

    def objects(self) -> set[str]:
        return {str(path.relative_to(self.bytes)) for path in self.bytes.rglob("*") if path.is_file()}


def problems(report: object) -> object:
    """Return what verify() found wrong."""
    return getattr(report, "problems", report)


@pytest.mark.parametrize("life", range(-(-KILLS // KILLS_A_LIFE)))
def test_p22_a_process_killed_at_any_time_loses_nothing_that_was_committed(life, worker, tmp_path, record_property):
    seed = SEED * 1000 + life
    print(f"seed {SEED}, life {life}")
    chosen = random.Random(seed)
    this = Life(tmp_path, seed, worker)
    # How long each takes when nobody disturbs it, after a first one that imports.
    whole = {task: this.again(task) for task in sorted(set(AT_RANDOM))}
    kills = 0
    while kills < min(KILLS_A_LIFE, KILLS - life * KILLS_A_LIFE):
        task = chosen.choice(AT_RANDOM)
        answer = this.run(task, seconds=chosen.uniform(0, whole[task]))
        this.check(task)
        if answer["code"] == 0:  # it was faster than before
            continue
        assert answer["code"] == -signal.SIGKILL
        kills += 1
        record_property(f"crash: kills during {task}", 1)
        this.again(task)
    record_property("crash: kills at random times", kills)
    this.check_all()


@pytest.mark.parametrize("task", AT_EVERY_WRITE)
def test_p22_a_process_killed_before_every_single_write_is_run_again(task, worker, tmp_path, record_property, pytestconfig):
    this = Life(tmp_path, uuid4().int % 2**32, worker)
    stride = 1 if pytestconfig.getoption("--thorough") else STRIDES.get(task, 1)
    number, kills, code = random.randrange(1, stride + 1), 0, None
    while code != 0:
        if task == "collect":
            this.run("litter")
        elif task == "name_commits":
            this.run("write_one")
        code = this.run(task, at_write=number)["code"]
        assert code in (0, -signal.SIGKILL), f"before write {number}"
        this.check(task)
        this.again(task)
        kills += code != 0
        number += stride
    assert number > 6, "writes to the storage or to the catalog were not counted"
    record_property("crash: kills before a write", kills)
    this.check_all()
