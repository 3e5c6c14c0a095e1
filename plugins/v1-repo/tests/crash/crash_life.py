"""The life of a repo that the crash tests interrupt: what each step does, and what must be there after it."""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import numpy as np
import zarr

from arraylake_core import Client
from arraylake_core.errors import AlreadyExistsError

NAME = "me/ocean"
ROWS, COLUMNS = 32, 256
STEPS_AT_ONCE = 3


def step(root: zarr.Group, seed: int, number: int) -> None:
    """Change the hierarchy as the step of this number does; on any zarr store, so that the same lines make what is expected."""
    random = np.random.default_rng([seed, number])
    if number == 0:
        root.create_array("ocean/numbers", shape=(ROWS, COLUMNS), chunks=(1, COLUMNS), dtype="<i4", compressors=None)
        root.create_array("ocean/small", shape=(16,), chunks=(1,), dtype="<i4", compressors=None)
        root.create_array("ocean/series", shape=(1,), chunks=(8,), dtype="<i8")
    for row in random.choice(ROWS, random.integers(2, 10), replace=False):
        root["ocean/numbers"][row] = random.integers(1, 2**31 - 1, COLUMNS, dtype="<i4")
    root["ocean/small"][number % 16] = number
    root["ocean/series"].resize((number + 1,))
    root["ocean/series"][number] = number * number
    root["ocean"].attrs["step"] = number
    if number % 4 == 1:
        made = root.create_array(f"extra/a{number}", shape=(4, 200), chunks=(2, 200), dtype="<f8", attributes={"made": number})
        made[:] = number
    if number % 4 == 3:
        del root[f"extra/a{number - 2}"]


def content(root: zarr.Group) -> dict[str, object]:
    """Return all of a hierarchy: attributes of groups, attributes and numbers of arrays."""
    found: dict[str, object] = {}
    for path, member in root.members(max_depth=None):
        attributes = dict(member.attrs)
        if isinstance(member, zarr.Array):
            found[path] = (attributes, member.shape, np.asarray(member[...]).tolist())
        else:
            found[path] = attributes
    return found


class Expected:
    """What the hierarchy holds after each step."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._root = zarr.open_group({}, mode="w")
        self._after: list[dict[str, object]] = []

    def after(self, number: int) -> dict[str, object]:
        """Return the content after a step."""
        while len(self._after) <= number:
            step(self._root, self._seed, len(self._after))
            self._after.append(content(self._root))
        return self._after[number]


def steps(repo) -> dict[str, int]:
    """Return the commits that lead to the checkout, oldest first, and the step that each holds."""
    log = [commit for commit in repo.commit_log if commit.message.startswith("step ")]
    return {commit.id: int(commit.message.removeprefix("step ")) for commit in reversed(log)}


def say(acknowledged: Path, **what: object) -> None:
    """Note what was acknowledged; the file outlives the process."""
    file = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, json.dumps(what).encode() + b"\n")
    os.close(file)


def said(acknowledged: Path) -> Iterator[dict[str, object]]:
    """Return what was acknowledged."""
    if acknowledged.exists():
        yield from map(json.loads, acknowledged.read_text().splitlines())


# The tasks. Each can be run again after it was interrupted anywhere.


def write(uri: str, seed: int, acknowledged: Path, *, count: int = STEPS_AT_ONCE, shared: bool = False) -> None:
    """Take the next steps, each a commit."""
    with Client(uri) as client:
        repo = client.get_repo(NAME)
        begin = max(steps(repo).values(), default=-1) + 1
        for number in range(begin, begin + count):
            if shared:
                assert repo.session.id  # from here on every write is journaled before it returns
            step(repo.root_group, seed, number)
            commit = repo.commit(f"step {number}")
            say(acknowledged, commit=commit, step=number)


def write_shared(uri: str, seed: int, acknowledged: Path) -> None:
    """Take the next steps, in sessions that others could join."""
    write(uri, seed, acknowledged, shared=True)


def write_one(uri: str, seed: int, acknowledged: Path) -> None:
    """Take the next step."""
    write(uri, seed, acknowledged, count=1)


def write_one_shared(uri: str, seed: int, acknowledged: Path) -> None:
    """Take the next step, in a session that others could join."""
    write(uri, seed, acknowledged, count=1, shared=True)


def name_commits(uri: str, seed: int, acknowledged: Path) -> None:
    """Make a branch and a tag at the head, and delete a branch."""
    with Client(uri) as client:
        repo = client.get_repo(NAME)
        head, number = list(steps(repo).items())[-1]
        with suppress(AlreadyExistsError):
            repo.new_tag(f"tag-{number}", head)
            say(acknowledged, tag=f"tag-{number}", commit=head)
        with suppress(AlreadyExistsError):
            repo.new_branch(f"branch/{number}", head, checkout=False)
        for old in sorted(set(repo.branches) - {"main", f"branch/{number}"}):
            repo.delete_branch(old)


def litter(uri: str, seed: int, acknowledged: Path) -> None:
    """Leave garbage: a session that is abandoned, and commits of a branch that is deleted."""
    random = np.random.default_rng()
    with Client(uri) as client:
        repo = client.get_repo(NAME)
        repo.root_group["ocean/numbers"][:4] = random.integers(0, 2**31 - 1, (4, COLUMNS), dtype="<i4")
        assert repo.session.id
        repo.session.abandon()
        other = client.get_repo(NAME)
        if "garbage" in other.branches:
            other.delete_branch("garbage")
        other.new_branch("garbage")
        other.root_group["ocean/numbers"][4:8] = random.integers(0, 2**31 - 1, (4, COLUMNS), dtype="<i4")
        other.commit("Garbage")
        other.checkout("main")
        other.delete_branch("garbage")


def collect(uri: str, seed: int, acknowledged: Path) -> None:
    """Collect garbage."""
    with Client(uri) as client:
        client.get_repo(NAME).gc(grace=timedelta(0))


def litter_and_collect(uri: str, seed: int, acknowledged: Path) -> None:
    """Leave garbage, and collect it."""
    litter(uri, seed, acknowledged)
    collect(uri, seed, acknowledged)


def export(uri: str, seed: int, acknowledged: Path) -> None:
    """Export the head to a directory beside the catalog, whose name holds the step."""
    with Client(uri) as client:
        repo = client.get_repo(NAME)
        number = max(steps(repo).values())
        repo.export(str(exported(acknowledged, number)), concurrency=4)
        say(acknowledged, exported=number)


def exported(acknowledged: Path, number: int) -> Path:
    """Return where a step is exported to."""
    return acknowledged.parent / "exports" / f"step-{number}.zarr"


def migrate(uri: str, seed: int, acknowledged: Path) -> None:
    """Copy the repo to Icechunk, or bring the copy up to date."""
    with Client(uri) as client:
        client.repair_repos("me", older_than=timedelta(0))  # a copy whose creation was interrupted
        number = max(steps(client.get_repo(NAME)).values())
        client.migrate_repo(NAME)
        say(acknowledged, migrated=number)


TASKS = {
    task.__name__: task
    for task in (
        write,
        write_shared,
        write_one,
        write_one_shared,
        name_commits,
        litter,
        collect,
        litter_and_collect,
        export,
        migrate,
    )
}
