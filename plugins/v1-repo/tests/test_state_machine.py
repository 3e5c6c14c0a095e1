"""Random lives of a V1 repo with several writers, held against a plain model: dicts of nodes per commit, and the conflict rules once more.

``V1_LIVES`` sets how many lives there are on each platform, ``V1_STEPS`` how long they are.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from arraylake_core import Client
from arraylake_core.errors import AlreadyExistsError, ArraylakeError, CommitConflictError, ConflictError, ReadOnlyError

LIVES, STEPS = int(os.environ.get("V1_LIVES", "12")), int(os.environ.get("V1_STEPS", "25"))

WRITERS = st.integers(0, 2)
PATHS = st.sampled_from(["a", "b", "g", "g/a", "g/h", "g/h/b"])
BRANCHES = st.sampled_from(["main", "x", "y/z"])
TAGS = st.sampled_from(["v1", "v2"])
CHUNK = 2
LENGTHS = st.sampled_from([2, 4, 6])
NUMBERS = st.integers(0, 3)  # zero is the fill value
CHOICES = st.sampled_from(["raise", "raise", "ours", "theirs"])

type Side = Literal["ours", "theirs"]


@dataclass(frozen=True)
class Node:
    """A group, or an array whose length is given; its chunks are full of one number each, and those of zeros are not there."""

    attributes: Mapping[str, int] = field(default_factory=dict)
    length: int | None = None
    chunks: Mapping[int, int] = field(default_factory=dict)

    @property
    def document(self) -> tuple[object, ...]:
        return sorted(self.attributes.items()), self.length

    def with_chunk(self, index: int, number: int) -> "Node":
        chunks = {key: value for key, value in self.chunks.items() if key != index}
        return replace(self, chunks={**chunks, index: number} if number else chunks)

    def resized(self, length: int) -> "Node":
        return replace(self, length=length, chunks={key: value for key, value in self.chunks.items() if key * CHUNK < length})


type Tree = Mapping[str, Node]


def parent(path: str) -> str:
    return path.rpartition("/")[0]


def below(path: str, top: str) -> bool:
    return path.startswith(f"{top}/") if top else bool(path)


def merged(base: Tree, ours: Tree, theirs: Tree, choose: Mapping[str, Side] | Side | None) -> tuple[dict[str, Node], set[str]]:
    """Merge what two sides made of a base, by the rules of the format: the tree, and the paths that nobody decided."""
    found: dict[str, Node | None] = {}
    undecided: set[str] = set()

    def decide(path: str) -> Side:
        side = choose.get(path) if isinstance(choose, Mapping) else choose
        if side is None:
            undecided.add(path)
        return side or "ours"

    for path in {*base, *ours, *theirs}:
        was, mine, other = base.get(path), ours.get(path), theirs.get(path)
        if mine == other or other == was:
            found[path] = mine
        elif mine == was:
            found[path] = other
        elif mine is None or other is None or (mine.length is None) != (other.length is None) or reshaped(was, mine, other):
            found[path] = mine if decide(path) == "ours" else other
        else:
            found[path] = both(was, mine, other, lambda path=path: decide(path))
    for top in closed(base, ours, theirs) | closed(base, theirs, ours):
        # One has no group there any more, the other changed what is below: the one that is chosen gives all of it.
        side = ours if decide(top) == "ours" else theirs
        found = {path: node for path, node in found.items() if path != top and not below(path, top)}
        found |= {path: node for path, node in side.items() if path == top or below(path, top)}
    return {path: node for path, node in found.items() if node is not None}, undecided


def closed(base: Tree, one: Tree, other: Tree) -> set[str]:
    """Return the topmost paths where one side did away with a group, or never had one, and the other changed something below."""
    is_group = {path for path, node in other.items() if node.length is None}
    tops = {
        path
        for path in is_group
        if one.get(path) != base.get(path)
        and (path not in one or one[path].length is not None)
        and any(below(inner, path) and node != base.get(inner) for inner, node in other.items())
    }
    return {path for path in tops if not any(below(path, up) for up in tops)}


def reshaped(was: Node | None, mine: Node, other: Node) -> bool:
    """Tell whether one changed the shape, and the other wrote chunks, or the documents of both can't be merged."""
    if was is None or was.length is None or mine.length == other.length:
        return mine.length != other.length
    if was.document not in (mine.document, other.document):
        return True
    return (mine.length != was.length and other.chunks != was.chunks) or (
        other.length != was.length and mine.chunks != was.chunks
    )


def both(was: Node | None, mine: Node, other: Node, decide) -> Node:
    """Merge two versions of one node that differ, chunk by chunk."""
    result = mine
    before = None if was is None else was.document
    if mine.document != other.document and other.document != before:
        result = other if mine.document == before or decide() == "theirs" else mine
    chunks: dict[int, int] = {}
    was = was or Node()
    for index in {*was.chunks, *mine.chunks, *other.chunks}:
        first, left, right = was.chunks.get(index, 0), mine.chunks.get(index, 0), other.chunks.get(index, 0)
        if left in (right, first) or right == first:
            chunks[index] = right if left == first else left
        else:
            chunks[index] = left if decide() == "ours" else right
    return replace(result, chunks={index: number for index, number in chunks.items() if number})


class Writer:
    """A handle, and what its session must hold."""

    def __init__(self, repo, branch: str | None, base: str, tree: Tree) -> None:
        self.repo, self.branch, self.base, self.tree = repo, branch, base, dict(tree)
        self.shared = False

    @property
    def root(self) -> zarr.Group:
        return self.repo.root_group


def content(root: zarr.Group) -> dict[str, Node]:
    """Read a hierarchy into the model's form."""
    found = {"": Node(dict(root.attrs))}
    for path, member in root.members(max_depth=None):
        if isinstance(member, zarr.Group):
            found[path] = Node(dict(member.attrs))
        else:
            numbers = np.asarray(member[:]).reshape(-1, CHUNK)
            assert (numbers == numbers[:, :1]).all()
            chunks = {index: int(number) for index, number in enumerate(numbers[:, 0]) if number}
            found[path] = Node(dict(member.attrs), member.shape[0], chunks)
    return found


class Lives(RuleBasedStateMachine):
    """Every rule does something to the repo and to the model, and expects the same of both."""

    uri: str

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.client = Client(self.uri.format(self.directory))
        self.commits: dict[str, Tree] = {}
        self.parents: dict[str, str | None] = {}
        self.tags: dict[str, str] = {}
        self.made = 0

    @initialize()
    def start(self) -> None:
        if self.uri.startswith("sqlite"):
            (self.directory / "bucket").mkdir()
            self.client.create_bucket_config(org="me", nickname="here", uri=f"file://{self.directory}/bucket")
        else:
            self.client.create_bucket_config(org="me", nickname="here", uri=f"memory://{self.directory.name}")
        repo = self.client.create_repo("me/ocean", kind="v1", bucket_config_nickname="here")
        repo.root_group.create_array("a", shape=(4,), chunks=(CHUNK,), dtype="i4")
        first = repo.commit("First")
        self.commits[first] = {"": Node(), "a": Node(length=4)}
        self.parents[first] = None
        self.branches = {"main": first}
        self.writers = [self.opened() for _ in range(3)]

    def teardown(self) -> None:
        self.client.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def opened(self) -> Writer:
        head = self.branches["main"]
        return Writer(self.client.get_repo("me/ocean"), "main", head, self.commits[head])

    def changed(self, writer: Writer) -> bool:
        return writer.tree != self.commits[writer.base]

    # Changes in a session

    def writable(self, number: int) -> Writer | None:
        writer = self.writers[number]
        return writer if writer.branch else None

    @rule(number=WRITERS, path=PATHS, length=LENGTHS)
    def create_array(self, number: int, path: str, length: int) -> None:
        writer = self.writable(number)
        if writer is None or path in writer.tree or self.blocked(writer.tree, path):
            return
        writer.root.create_array(path, shape=(length,), chunks=(CHUNK,), dtype="i4")
        self.add_parents(writer.tree, path)
        writer.tree[path] = Node(length=length)

    @rule(number=WRITERS, path=PATHS)
    def create_group(self, number: int, path: str) -> None:
        writer = self.writable(number)
        if writer is None or path in writer.tree or self.blocked(writer.tree, path):
            return
        writer.repo.create_group(path)
        self.add_parents(writer.tree, path)
        writer.tree[path] = Node()

    @staticmethod
    def blocked(tree: Tree, path: str) -> bool:
        return any(below(path, up) and node.length is not None for up, node in tree.items())

    @staticmethod
    def add_parents(tree: dict[str, Node], path: str) -> None:
        while path := parent(path):
            tree.setdefault(path, Node())

    @rule(number=WRITERS, data=st.data(), index=st.integers(0, 2), value=NUMBERS)
    def write_chunk(self, number: int, data: st.DataObject, index: int, value: int) -> None:
        writer = self.writable(number)
        path = self.drawn(data, writer, array=True)
        if path is None:
            return
        length = writer.tree[path].length
        index %= length // CHUNK
        writer.root[path][index * CHUNK : (index + 1) * CHUNK] = value
        writer.tree[path] = writer.tree[path].with_chunk(index, value)

    @rule(number=WRITERS, data=st.data(), length=LENGTHS)
    def resize(self, number: int, data: st.DataObject, length: int) -> None:
        writer = self.writable(number)
        path = self.drawn(data, writer, array=True)
        if path is not None:
            writer.root[path].resize((length,))
            writer.tree[path] = writer.tree[path].resized(length)

    @rule(number=WRITERS, data=st.data(), key=st.sampled_from("kl"), value=NUMBERS)
    def set_attribute(self, number: int, data: st.DataObject, key: str, value: int) -> None:
        writer = self.writable(number)
        path = self.drawn(data, writer, root=True)
        if path is None:
            return
        (writer.root[path] if path else writer.root).attrs[key] = value
        writer.tree[path] = replace(writer.tree[path], attributes={**writer.tree[path].attributes, key: value})

    @rule(number=WRITERS, data=st.data(), by_zarr=st.booleans())
    def delete(self, number: int, data: st.DataObject, by_zarr: bool) -> None:
        writer = self.writable(number)
        path = self.drawn(data, writer)
        if path is None:
            return
        if by_zarr:
            del writer.root[path]
        else:
            writer.repo.delete(path)
        writer.tree = {other: node for other, node in writer.tree.items() if other != path and not below(other, path)}

    @rule(number=WRITERS, data=st.data(), goal=PATHS, keep=st.booleans())
    def move_or_copy(self, number: int, data: st.DataObject, goal: str, keep: bool) -> None:
        writer = self.writable(number)
        source = self.drawn(data, writer)
        if source is None or goal in writer.tree or below(goal, source) or self.blocked(writer.tree, goal):
            return
        if parent(goal) not in writer.tree:
            return
        moved = {path: node for path, node in writer.tree.items() if path == source or below(path, source)}
        if keep:
            writer.repo.copy(source, goal)
        else:
            writer.repo.move(source, goal)
            writer.tree = {path: node for path, node in writer.tree.items() if path not in moved}
        writer.tree |= {goal + path.removeprefix(source): node for path, node in moved.items()}

    @staticmethod
    def drawn(data: st.DataObject, writer: Writer | None, *, array: bool = False, root: bool = False) -> str | None:
        """Draw a path that the writer's session has."""
        if writer is None:
            return None
        paths = sorted(path for path, node in writer.tree.items() if (path or root) and (node.length is not None or not array))
        return data.draw(st.sampled_from(paths)) if paths else None

    # Sessions

    @rule(number=WRITERS)
    def look(self, number: int) -> None:
        writer = self.writers[number]
        assert content(writer.root) == writer.tree
        if self.changed(writer):
            assert writer.repo.status(0).modified

    @rule(number=WRITERS)
    def share(self, number: int) -> None:
        writer = self.writers[number]
        writer.shared = writer.branch is not None
        assert bool(writer.repo.session.id) == writer.shared

    @rule(number=WRITERS)
    def reopen(self, number: int) -> None:
        self.writers[number] = self.opened()

    @rule(number=WRITERS, data=st.data())
    def checkout(self, number: int, data: st.DataObject) -> None:
        writer = self.writers[number]
        if self.changed(writer):
            return
        ref = data.draw(st.sampled_from([*sorted(self.branches), *sorted(self.tags), *self.commits]))
        writer.repo.checkout(ref)
        writer.branch = ref if ref in self.branches else None
        writer.base = self.branches.get(ref) or self.tags.get(ref) or ref
        writer.tree, writer.shared = dict(self.commits[writer.base]), False

    # Commits

    @rule(number=WRITERS, on_conflict=CHOICES)
    def commit(self, number: int, on_conflict: str) -> None:
        writer = self.writers[number]
        if writer.branch is None:
            with pytest.raises(ReadOnlyError):
                writer.repo.commit("No")
            return
        if writer.branch not in self.branches:
            if self.changed(writer):
                with pytest.raises(ArraylakeError, match=writer.branch):
                    writer.repo.commit("No")
            self.writers[number] = self.opened()
            return
        head = self.branches[writer.branch]
        tree, undecided = self.merge(writer, on_conflict)
        self.made += 1
        if undecided:
            with pytest.raises(CommitConflictError) as caught:
                writer.repo.commit(f"Commit {self.made}", on_conflict=on_conflict)
            self.same_paths(caught.value.paths, undecided)
            assert content(writer.root) == writer.tree
            assert self.fresh(writer.branch) == self.commits[head]
            return
        commit = writer.repo.commit(f"Commit {self.made}", on_conflict=on_conflict)
        if commit is None:
            assert tree == self.commits[head]
            commit = head
        else:
            assert tree != self.commits[head]
            assert commit not in self.commits
            self.commits[commit] = tree
            self.parents[commit] = head
            self.branches[writer.branch] = commit
        writer.base, writer.tree, writer.shared = commit, dict(tree), False
        assert self.fresh(writer.branch) == tree
        assert content(writer.root) == tree

    def merge(self, writer: Writer, on_conflict: str) -> tuple[dict[str, Node], set[str]]:
        theirs = self.commits[self.branches[writer.branch]]
        return merged(self.commits[writer.base], writer.tree, theirs, None if on_conflict == "raise" else on_conflict)

    @staticmethod
    def same_paths(found, expected: set[str]) -> None:
        assert {f"/{path}".rstrip("/") or "/" for path in expected} == set(found)

    def fresh(self, branch: str) -> dict[str, Node]:
        """Read a branch through a newly opened repo."""
        repo = self.client.get_repo("me/ocean", read_only=True)
        repo.checkout(branch)
        return content(repo.root_group)

    @rule(number=WRITERS, on_conflict=CHOICES)
    def rebase(self, number: int, on_conflict: str) -> None:
        writer = self.writable(number)
        if writer is None or writer.branch not in self.branches:
            return
        if writer.shared:
            with pytest.raises(ConflictError, match="shared"):
                writer.repo.rebase(on_conflict=on_conflict)
            return
        tree, undecided = self.merge(writer, on_conflict)
        if undecided:
            with pytest.raises(CommitConflictError) as caught:
                writer.repo.rebase(on_conflict=on_conflict)
            self.same_paths(caught.value.paths, undecided)
        else:
            writer.repo.rebase(on_conflict=on_conflict)
            writer.base, writer.tree = self.branches[writer.branch], tree
        assert content(writer.root) == writer.tree

    @rule(number=WRITERS)
    def fast_forward(self, number: int) -> None:
        writer = self.writable(number)
        if writer is None or writer.branch not in self.branches or self.changed(writer):
            return
        try:
            writer.repo.fast_forward()
        except ConflictError:
            # Changes that add up to nothing are changes here.
            assert content(writer.root) == writer.tree
            return
        if writer.base != self.branches[writer.branch]:
            writer.shared = False
        writer.base = self.branches[writer.branch]
        writer.tree = dict(self.commits[writer.base])
        assert content(writer.root) == writer.tree

    # Names

    @rule(number=WRITERS, name=BRANCHES, checkout=st.booleans())
    def new_branch(self, number: int, name: str, checkout: bool) -> None:
        writer = self.writers[number]
        if self.changed(writer):
            return
        if name in self.branches:
            with pytest.raises(AlreadyExistsError):
                writer.repo.new_branch(name, checkout=checkout)
            return
        try:
            writer.repo.new_branch(name, checkout=checkout)
        except ConflictError:
            # Others write to the session, and changes that add up to nothing are changes here.
            assert writer.shared
            assert checkout
            return
        self.branches[name] = writer.base
        if checkout:
            # A session that others write to stays where it was.
            writer.branch, writer.shared = name, False

    @rule(number=WRITERS, name=BRANCHES)
    def delete_branch(self, number: int, name: str) -> None:
        if name == "main" or name not in self.branches or self.writers[number].branch == name:
            return
        self.writers[number].repo.delete_branch(name)
        del self.branches[name]

    @rule(number=WRITERS, name=TAGS, data=st.data())
    def new_tag(self, number: int, name: str, data: st.DataObject) -> None:
        ref = data.draw(st.sampled_from(sorted(self.branches)))
        if name in self.tags:
            with pytest.raises(AlreadyExistsError):
                self.writers[number].repo.new_tag(name, ref)
        else:
            self.writers[number].repo.new_tag(name, ref)
            self.tags[name] = self.branches[ref]

    @rule(number=WRITERS, name=TAGS)
    def delete_tag(self, number: int, name: str) -> None:
        if name in self.tags:
            self.writers[number].repo.delete_tag(name)
            del self.tags[name]

    @rule(number=WRITERS)
    def names(self, number: int) -> None:
        self.writers[number].repo.fetch()
        assert dict(self.writers[number].repo.branches) == self.branches
        assert dict(self.writers[number].repo.tags) == self.tags

    @rule(number=WRITERS)
    def history(self, number: int) -> None:
        log = self.writers[number].repo.commit_log
        commit: str | None = self.writers[number].base
        for entry in log:
            if commit is None:
                break
            assert entry.id == commit
            commit = self.parents[commit]

    # Upkeep

    @rule(number=WRITERS)
    def collect(self, number: int) -> None:
        self.writers[number].repo.gc(grace=timedelta(0))
        self.forget(commit for ref in (*self.branches.values(), *self.tags.values()) for commit in self.ancestors(ref))

    def ancestors(self, commit: str | None):
        while commit is not None:
            yield commit
            commit = self.parents[commit]

    def forget(self, kept) -> None:
        """Forget the commits that nothing leads to; sessions still read theirs."""
        alive = {*kept, *(writer.base for writer in self.writers)}
        self.commits = {commit: tree for commit, tree in self.commits.items() if commit in alive}

    @rule(number=WRITERS)
    def verify(self, number: int) -> None:
        report = self.writers[number].repo.verify()
        assert not getattr(report, "problems", report)


class OnLocalDisk(Lives):
    uri = "sqlite:///{}/catalog.db"


class InMemory(Lives):
    uri = "memory://"


TestOnLocalDisk, TestInMemory = OnLocalDisk.TestCase, InMemory.TestCase
TestOnLocalDisk.settings = TestInMemory.settings = settings(
    max_examples=LIVES,
    stateful_step_count=STEPS,
    deadline=None,
    # The usual run lives the same lives each time; new ones are for those who can look into what they find.
    derandomize="V1_LIVES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
