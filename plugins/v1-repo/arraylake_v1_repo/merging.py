"""Conflicts: what two sides did to one base, path by path, and which of it goes together."""

import json
from collections.abc import Mapping
from typing import Literal, NamedTuple

import msgspec

from arraylake_core.errors import CommitConflictError, InvalidOptionError
from arraylake_v1_repo.format import Node, Ref
from arraylake_v1_repo.hierarchy import Hierarchy, grid_of
from arraylake_v1_repo.keys import is_below, structure
from arraylake_v1_repo.nodes import Shards, chunk_changes, is_container, with_chunks

__all__ = ["Conflicts", "OnConflict", "Side", "check_on_conflict", "conflict_error", "merge_sides"]

type Choice = Literal["ours", "theirs"]
type OnConflict = Literal["raise", "ours", "theirs"] | Mapping[str, Choice]
type Side = dict[str, tuple[Node | None, Node | None]]
"""Each path that a side changed, with what was there before and what is there now."""

_SHOWN_KEYS = 10


class Conflict(NamedTuple):
    """What two sides did to a path that does not go together.

    Parameters
    ----------
    what
        In words, for the message.
    whole
        Whether one side must win with all that is at the path and below it.
    documents, loose, chunks
        Otherwise: what can be chosen by itself.
    """

    what: list[str]
    whole: bool
    documents: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    chunks: frozenset[tuple[int, ...]] = frozenset()


type Conflicts = dict[str, Conflict]


def check_on_conflict(on_conflict: OnConflict) -> None:
    """Refuse what says nothing about conflicts."""
    values = on_conflict.values() if isinstance(on_conflict, Mapping) else [on_conflict]
    allowed = {"ours", "theirs"} if isinstance(on_conflict, Mapping) else {"raise", "ours", "theirs"}
    if not allowed.issuperset(values):
        raise InvalidOptionError('on_conflict is "raise", "ours", "theirs", or a mapping from paths to "ours" or "theirs"')


def _choice(path: str, on_conflict: OnConflict) -> Choice | None:
    if isinstance(on_conflict, Mapping):
        for known, choice in on_conflict.items():
            if known.strip("/") == path:
                return choice
        return None
    return None if on_conflict == "raise" else on_conflict


def _did(before: Node | None, after: Node | None) -> str:
    if after is None:
        return "deleted or moved it"
    return "created it" if before is None else "changed it"


async def merge_sides(
    base: Hierarchy, head: Hierarchy, ours: Side, theirs: Side, shards: Shards, on_conflict: OnConflict
) -> tuple[dict[str, Node | None], Conflicts]:
    """Return what comes to each path of the head, and the conflicts that ``on_conflict`` leaves open.

    Parameters
    ----------
    base, head
        The snapshot that both sides started from, and that of the other side.
    ours, theirs
        What each side changed.
    shards
        Where their chunk references are.
    on_conflict
        Who wins where.
    """
    conflicts = _below_nothing(ours, theirs)
    both = [path for path in ours if path in theirs and not any(is_below(path, above) for above in conflicts)]
    deltas: dict[str, dict[tuple[int, ...], Ref | None]] = {}
    ours = {**ours, **{path: _spelled_as_before(*ours[path]) for path in both}}
    for path in both:
        conflict, deltas[path] = await _compare(path, ours[path], theirs[path], shards)
        if conflict is not None:
            conflicts[path] = conflict
    open_ = {path: conflict for path, conflict in conflicts.items() if _choice(path, on_conflict) is None}
    if open_:
        return {}, open_
    merged: dict[str, Node | None] = {}
    whole = [path for path, conflict in conflicts.items() if conflict.whole]
    for path, (_, after) in ours.items():
        if any(is_below(path, above) for above in whole):
            continue
        if path not in theirs:
            merged[path] = after
        else:
            merged[path] = await _together(ours[path], theirs[path], deltas[path], conflicts.get(path), path, on_conflict, shards)
    for path in whole:
        if _choice(path, on_conflict) == "ours":
            async for node in head.nodes(path):
                merged[node.path] = None
            async for node in base.nodes(path):
                merged[node.path] = node
            merged |= {below: after for below, (_, after) in ours.items() if is_below(below, path)}
            # A node needs the groups above it, which the other side may have deleted.
            parent = path
            while parent:
                parent = parent.rpartition("/")[0]
                kept = ours[parent][1] if parent in ours else await base.node(parent)
                if kept is not None and await head.node(parent) is None and parent not in merged:
                    merged[parent] = kept
        else:
            for below in [known for known in merged if is_below(known, path)]:
                del merged[below]
            parent = path
            while parent:
                parent = parent.rpartition("/")[0]
                if merged.get(parent, parent) is None:
                    del merged[parent]
    return merged, {}


def _below_nothing(ours: Side, theirs: Side) -> Conflicts:
    """Find the paths that one side took away, or made an array, while the other worked below them."""
    found: Conflicts = {}
    for mine, other, who in ((ours, theirs, "ours"), (theirs, ours, "theirs")):
        ends = {path for path, (_, after) in mine.items() if not is_container(after)}
        if not ends:
            continue
        for path, (before, after) in other.items():
            if after is None:
                continue
            parent = path
            while parent:
                parent = parent.rpartition("/")[0]
                if parent in ends:
                    one = f"{who}: {_did(*mine[parent])}" + (" as an array" if mine[parent][1] is not None else "")
                    two = f"{'theirs' if who == 'ours' else 'ours'}: {_did(before, after)} ({path})"
                    found[parent] = Conflict(sorted([one, two]), whole=True)
    return {
        path: conflict for path, conflict in found.items() if not any(path != above and is_below(path, above) for above in found)
    }


async def _compare(
    path: str, ours: tuple[Node | None, Node | None], theirs: tuple[Node | None, Node | None], shards: Shards
) -> tuple[Conflict | None, dict[tuple[int, ...], Ref | None]]:
    """Compare what both sides did to one path; return the conflict, and the chunks that our side changed."""
    (before, mine), (_, other) = ours, theirs
    if mine is None or other is None:
        if mine is other:
            return None, {}
        return Conflict([f"ours: {_did(before, mine)}", f"theirs: {_did(before, other)}"], whole=True), {}
    if is_container(mine) != is_container(other):
        return Conflict(
            [f"ours: {_did(before, mine)}", f"theirs: {_did(before, other)}, as another kind of node"], whole=True
        ), {}
    my_chunks, other_chunks = await chunk_changes(before, mine, shards), await chunk_changes(before, other, shards)
    was, now, then = (_structure(node) for node in (before, mine, other))
    if before is not None and now != then and ((now != was and other_chunks) or (then != was and my_chunks)):
        shaped, wrote = ("ours", "theirs") if now != was and other_chunks else ("theirs", "ours")
        keys = _keys(mine if shaped == "theirs" else other, other_chunks if shaped == "ours" else my_chunks)
        what = [f"{shaped}: changed its shape, type, grid, codecs or fill value", f"{wrote}: wrote chunks {keys}"]
        return Conflict(sorted(what), whole=True), my_chunks
    documents = _both(*(_meaning(node.documents) if node is not None else None for node in (before, mine, other)))
    loose = _both(before.loose if before is not None else None, mine.loose, other.loose)
    chunks = frozenset(coords for coords in my_chunks.keys() & other_chunks.keys() if my_chunks[coords] != other_chunks[coords])
    what = [f"both: changed {name}" for name in sorted(documents)] + [f"both: wrote {name}" for name in sorted(loose)]
    if chunks:
        what.append(f"both: wrote chunks {_keys(mine, chunks)}")
    return (Conflict(what, False, documents, loose, chunks) if what else None), my_chunks


def _structure(node: Node | None) -> object:
    if node is None:
        return None
    return [structure(name, node.documents.get(name)) for name in ("zarr.json", ".zarray")]


def _meaning(documents: Mapping[str, bytes]) -> dict[str, str]:
    """Return documents in one spelling: a group that zarr made is the same as one that was made along with what lies below it."""
    found = {}
    for name, data in documents.items():
        try:
            found[name] = json.dumps(json.loads(data), sort_keys=True)
        except ValueError:
            found[name] = data.hex()
    return found


def _spelled_as_before(before: Node | None, after: Node | None) -> tuple[Node | None, Node | None]:
    """Return what is there now with documents that only changed their spelling as they were: they must not hide what the other changed."""
    if before is None or after is None:
        return before, after
    was, now = _meaning(before.documents), _meaning(after.documents)
    documents = {
        name: before.documents[name] if name in was and was[name] == now[name] else data for name, data in after.documents.items()
    }
    return before, msgspec.structs.replace(after, documents=documents)


def _both[T](before: Mapping[str, T] | None, mine: Mapping[str, T] | None, other: Mapping[str, T] | None) -> frozenset[str]:
    old, ours, theirs = before or {}, mine or {}, other or {}
    return frozenset(
        name
        for name in ours.keys() | theirs.keys() | old.keys()
        if old.get(name) != ours.get(name) != theirs.get(name) != old.get(name)
    )


def _keys(node: Node, chunks: "Mapping[tuple[int, ...], Ref | None] | frozenset[tuple[int, ...]]") -> str:
    grid = grid_of(node.documents)
    names = [grid.key(coords) if grid is not None and len(coords) == grid.ndim else str(coords) for coords in sorted(chunks)]
    more = len(names) - _SHOWN_KEYS
    return ", ".join(names[:_SHOWN_KEYS]) + (f" and {more} more" if more > 0 else "")


async def _together(
    ours: tuple[Node | None, Node | None],
    theirs: tuple[Node | None, Node | None],
    my_chunks: dict[tuple[int, ...], Ref | None],
    conflict: Conflict | None,
    path: str,
    on_conflict: OnConflict,
    shards: Shards,
) -> Node | None:
    """Put our changes of a node on top of theirs."""
    (before, mine), (_, other) = ours, theirs
    if mine is None or other is None:
        return mine
    skip = conflict if conflict is not None and _choice(path, on_conflict) == "theirs" else None
    meant, meant_by_them = _meaning(mine.documents), _meaning(other.documents)
    # What means the same keeps the other side's spelling: a commit that only spelled it anew would be one of nothing.
    same = frozenset(name for name in meant if meant[name] == meant_by_them.get(name))
    documents = _over(
        before.documents if before is not None else None,
        mine.documents,
        other.documents,
        same | (skip.documents if skip else frozenset()),
    )
    loose = _over(before.loose if before is not None else None, mine.loose, other.loose, skip.loose if skip else frozenset())
    node = msgspec.structs.replace(other, documents=documents, loose=loose)
    chunks = {coords: ref for coords, ref in my_chunks.items() if skip is None or coords not in skip.chunks}
    return await with_chunks(node, chunks, shards)


def _over[T](before: Mapping[str, T] | None, mine: Mapping[str, T], other: Mapping[str, T], skip: frozenset[str]) -> dict[str, T]:
    old, found = before or {}, dict(other)
    for name in mine.keys() | old.keys():
        if name not in skip and mine.get(name) != old.get(name):
            if name in mine:
                found[name] = mine[name]
            else:
                found.pop(name, None)
    return dict(sorted(found.items()))


def conflict_error(repo: str, branch: str, base: str, head: str, conflicts: Conflicts) -> CommitConflictError:
    """Return the error that lists conflicts."""
    paths = {
        f"/{path}": [*conflict.what, f"ours: on top of {base}", f"theirs: {head}"] for path, conflict in sorted(conflicts.items())
    }
    listed = "; ".join(f"{path} ({', '.join(what[:-2])})" for path, what in list(paths.items())[:5])
    more = f" and {len(paths) - 5} more paths" if len(paths) > 5 else ""
    return CommitConflictError(
        f"{repo}: the branch {branch} went from {base} to {head} with changes that do not go together with yours: {listed}{more}. Nothing was "
        'committed, and your changes are still in the session: commit(..., on_conflict="ours") or "theirs" decides, also path by path with a '
        "mapping, or repo.checkout() drops them",
        paths,
    )
