"""Commits: a session's changes become a snapshot, the snapshot a commit, and the branch moves to it if nobody moved it first."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from itertools import count
from typing import NamedTuple

import msgspec

from arraylake_core.backends import Ref
from arraylake_core.errors import ArraylakeError, ConflictError, InvalidOptionError
from arraylake_core.models import Author, CommitInfo, utc_now
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.changes import ChangeSet, NodeChange, PutNode
from arraylake_v1_repo.format import (
    Commit,
    Node,
    Snapshot,
    commit_id,
    commit_key,
    digest_of,
    encode_document,
    encode_object,
    manifest_key,
    snapshot_key,
)
from arraylake_v1_repo.hierarchy import Encoded, Hierarchy
from arraylake_v1_repo.journal import JournalEnd
from arraylake_v1_repo.merging import OnConflict, Side, check_on_conflict, conflict_error, merge_sides
from arraylake_v1_repo.nodes import Shards, build_nodes, chunk_changes, cleared_nodes
from arraylake_v1_repo.reader import Reader
from arraylake_v1_repo.refs import commit_of, mirror, move_branch, require_branch
from arraylake_v1_repo.session import Session
from arraylake_v1_repo.upkeep.holds import hold_garbage

__all__ = ["ancestry", "commit_info", "commit_session", "first_commit", "rebase_session"]

_AT_ONCE = 32
_LONGEST_SEARCH = 10_000
_FIRST_WAIT = 0.01
_LONGEST_WAIT = 1.0


class Prepared(NamedTuple):
    """A snapshot that is to be committed, and the objects of it that are new."""

    hierarchy: Hierarchy
    objects: list[tuple[str, Encoded]]


async def first_commit(binding: Binding, message: str) -> str:
    """Write the commit of an empty hierarchy, and return its id."""
    snapshot = Snapshot(leaves=[])
    data = encode_object(snapshot)
    commit, encoded = _encode_commit(None, digest_of(data), message, binding.author, {})
    await _write(binding, [(snapshot_key(digest_of(data)), data), (commit_key(commit), encoded)])
    return commit


def _encode_commit(
    parent: str | None, snapshot: bytes, message: str, author: Author, metadata: dict[str, object]
) -> tuple[str, bytes]:
    commit = Commit(parent=parent, snapshot=snapshot.hex(), message=message, time=utc_now(), author=author, metadata=metadata)
    encoded = encode_document(commit)
    return commit_id(encoded), encoded


def commit_info(commit: str, found: Commit) -> CommitInfo:
    """Return a commit as users see it."""
    return CommitInfo(
        id=commit, parent=found.parent, message=found.message, time=found.time, author=found.author, metadata=dict(found.metadata)
    )


async def ancestry(binding: Binding, commit: str) -> AsyncIterator[CommitInfo]:
    """Give a commit and those before it, the newest first, as far as they were not expired."""
    horizon = await expired_parents(binding)
    current: str | None = commit
    while current is not None:
        found = await binding.reader.commit(current)
        yield commit_info(current, found)
        current = None if current in horizon else found.parent


async def expired_parents(binding: Binding) -> frozenset[str]:
    """Return the commits whose parents were expired."""
    found = await binding.coordination.list_refs("expired/")
    return frozenset(ref.name.partition("/")[2] for ref in found)


async def commit_session(
    session: Session, message: str, metadata: dict[str, object] | None, on_conflict: OnConflict
) -> str | None:
    """Commit what a session changed; return the id of the commit, or None where nothing changed.

    The session goes on from the new commit.
    """
    _check(message, metadata)
    check_on_conflict(on_conflict)
    binding = session.binding
    binding.require_writable()
    session.require_writable()
    journal = session.journal
    if journal is None:
        async with session.standing_still():
            await session.uploads.flush()
            return await _commit(session, message, dict(metadata or {}), on_conflict)
    await session.uploads.flush()
    seal = await journal.seal()
    try:
        return await _commit(session, message, dict(metadata or {}), on_conflict)
    except BaseException:
        await asyncio.shield(journal.unseal(seal))
        raise


async def _commit(session: Session, message: str, metadata: dict[str, object], on_conflict: OnConflict) -> str | None:
    binding = session.binding
    assert session.branch is not None
    for attempt in count():
        ref = await require_branch(binding, session.branch)
        head = commit_of(ref)
        if session.attempt is not None and await _reaches(binding, head, session.attempt, session.base):
            # An earlier try did move the branch, though it never heard of it.
            return await _done(session, session.attempt)
        if head == session.base and not session.changes and not session.shared:
            return None
        prepared = await prepare(session, head, on_conflict)
        if prepared is None:
            await _settle(session, head, None)
            return None
        commit, encoded = _encode_commit(head, prepared.hierarchy.digest, message, binding.author, metadata)
        written = [(key, found.data) for key, found in prepared.objects]
        await asyncio.gather(session.uploads.persist(), _write(binding, [*written, (commit_key(commit), encoded)]))
        session.attempt = commit
        async with hold_garbage(session):
            try:
                moved = await move_branch(binding, ref, commit)
            except ConflictError:
                # Somebody else was first. Many who commit at once, and try again at once, mostly get in each other's way.
                await asyncio.sleep(random.uniform(0, min(_FIRST_WAIT * 2**attempt, _LONGEST_WAIT)))  # noqa: S311 - nothing secret about it
                continue
        return await _done(session, commit, prepared.hierarchy, moved)
    raise AssertionError("unreachable")


async def _reaches(binding: Binding, head: str, wanted: str, base: str) -> bool:
    found = 0
    async for info in ancestry(binding, head):
        if info.id == wanted:
            return True
        found += 1
        if info.id == base or found > _LONGEST_SEARCH:
            break
    return False


async def _done(session: Session, commit: str, hierarchy: Hierarchy | None = None, moved: Ref | None = None) -> str:
    binding, branch = session.binding, session.branch
    # Last the session goes on: where the mirror fails, committing again finds that the branch has moved, and ends what is left to do.
    await mirror(binding, f"branch/{branch}", moved)
    await _settle(session, commit, hierarchy)
    return commit


async def _settle(session: Session, commit: str, hierarchy: Hierarchy | None) -> None:
    """Let the session go on from a commit, and what others write to the old one be refused."""
    binding = session.binding
    if session.journal is not None:
        await session.journal.close(JournalEnd("committed", commit))
    await session.unregister()
    if hierarchy is None:
        hierarchy = await hierarchy_of(binding.reader, commit)
    session.advance(commit, hierarchy)


async def hierarchy_of(reader: Reader, commit: str) -> Hierarchy:
    """Return the hierarchy of a commit."""
    return await Hierarchy.open(reader, bytes.fromhex((await reader.commit(commit)).snapshot))


async def prepare(session: Session, head: str, on_conflict: OnConflict) -> Prepared | None:
    """Put a session's changes on top of the head of its branch; return what to write, or None where nothing changed.

    Raises
    ------
    CommitConflictError
        The head has changes that do not go together with the session's.
    """
    reader, changes = session.binding.reader, session.changes
    base = session.hierarchy
    shards = Shards(reader)
    nodes = await build_nodes(base, changes, shards)
    cleared: Sequence[str] = sorted(changes.cleared)
    target = base
    if head != session.base:
        target = await hierarchy_of(reader, head)
        nodes = await _merged(session, target, head, nodes, changes, shards, on_conflict)
        cleared = ()
    snapshot, tables = await target.changed(cleared, nodes)
    data = encode_object(snapshot)
    digest = digest_of(data)
    if digest == target.digest:
        return None
    objects = [(snapshot_key(table.digest), table) for table in tables]
    objects.append((snapshot_key(digest), Encoded(digest, data, snapshot)))
    used = _digests(nodes)
    objects += [(manifest_key(shard.digest), shard) for shard in shards.fresh.values() if shard.digest in used]
    for _, encoded in objects:
        reader.keep(encoded.digest, encoded.value, len(encoded.data))  # type: ignore[arg-type]
    return Prepared(Hierarchy(reader, digest, snapshot), objects)


def _digests(nodes: dict[str, Node | None]) -> set[bytes]:
    found: set[bytes] = set()
    for node in nodes.values():
        if node is not None and node.grid is not None:
            data = node.grid.digests
            found.update(data[begin : begin + 32] for begin in range(0, len(data), 32))
    return found


async def _merged(
    session: Session,
    target: Hierarchy,
    head: str,
    nodes: dict[str, Node | None],
    changes: ChangeSet,
    shards: Shards,
    on_conflict: OnConflict,
) -> dict[str, Node | None]:
    base = session.hierarchy
    ours: Side = {}
    for path, after in {**await cleared_nodes(base, changes), **nodes}.items():
        before = await base.node(path)
        if before != after:
            ours[path] = (before, after)
    theirs = await base.differing(target)
    merged, conflicts = await merge_sides(base, target, ours, theirs, shards, on_conflict)
    if conflicts:
        raise conflict_error(session.binding.name, session.branch or "", session.base, head, conflicts)
    return merged


async def _write(binding: Binding, objects: Sequence[tuple[str, bytes]]) -> None:
    """Write the objects of a commit, so that they outlive a power cut; nothing points at any of them yet."""
    for begin in range(0, len(objects), _AT_ONCE):
        await asyncio.gather(*(binding.objects.put(key, data) for key, data in objects[begin : begin + _AT_ONCE]))
    await binding.objects.persist([key for key, _ in objects])


async def rebase_session(session: Session, on_conflict: OnConflict) -> str:
    """Put a session's changes on top of the head of its branch, without committing them; return the head."""
    check_on_conflict(on_conflict)
    session.require_writable()
    if session.shared:
        raise ConflictError(
            f"the session {session.key} is shared, and others write to it on top of {session.base}: commit it, which rebases it too"
        )
    async with session.standing_still():
        return await _rebase(session, on_conflict)


async def _rebase(session: Session, on_conflict: OnConflict) -> str:
    binding = session.binding
    head = commit_of(await require_branch(binding, session.branch or ""))
    if head == session.base:
        return head
    await session.uploads.flush()
    prepared = await prepare(session, head, on_conflict)
    target = await hierarchy_of(binding.reader, head)
    changes = ChangeSet()
    if prepared is not None:
        await _write(binding, [(key, found.data) for key, found in prepared.objects])
        changes = await _difference(target, prepared.hierarchy)
    session.rebased(head, target, changes)
    await session.change_base(head)
    return head


async def _difference(before: Hierarchy, after: Hierarchy) -> ChangeSet:
    """Return the changes that make one snapshot of another."""
    changes, shards = ChangeSet(), Shards(after.reader)
    for path, (old, new) in (await before.differing(after)).items():
        old_documents, old_loose = (old.documents, old.loose) if old is not None else ({}, {})
        documents = {
            name: new.documents.get(name) if new else None for name in {**old_documents, **(new.documents if new else {})}
        }
        loose = {name: new.loose.get(name) if new else None for name in {**old_loose, **(new.loose if new else {})}}
        change = NodeChange(
            path,
            True,
            {name: data for name, data in documents.items() if data != old_documents.get(name)},
            {name: ref for name, ref in loose.items() if ref != old_loose.get(name)},
            dict(await chunk_changes(old, new, shards)),
            [],
        )
        changes.apply(PutNode(path, change))
    return changes


def _check(message: str, metadata: dict[str, object] | None) -> None:
    if not isinstance(message, str):
        raise InvalidOptionError(f"a commit message is text, not a {type(message).__name__}")
    try:
        message.encode()
        same = metadata is None or (
            isinstance(metadata, dict) and msgspec.json.decode(msgspec.json.encode(metadata), type=dict[str, object]) == metadata
        )
    except (ValueError, TypeError, ArraylakeError):
        same = False
    if not same:
        raise InvalidOptionError(
            "commit metadata is a JSON object, and messages are valid Unicode: no dates, tuples, NaN or half surrogates"
        )
