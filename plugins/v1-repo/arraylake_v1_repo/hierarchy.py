"""A snapshot as a hierarchy: look-up by path, what is below a path, and how two snapshots differ; only the parts that are touched are read."""

from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np

from arraylake_v1_repo.format import (
    DIGEST_SIZE,
    Grid,
    LeafEntry,
    Node,
    NodeTable,
    Ref,
    Snapshot,
    digest_of,
    encode_object,
)
from arraylake_v1_repo.keys import ArrayGrid, array_grid, is_below, sort_key
from arraylake_v1_repo.manifest import Shard, split_coords
from arraylake_v1_repo.reader import Reader

__all__ = ["EMPTY_SNAPSHOT", "Encoded", "Hierarchy", "blocks", "grid_of", "node_ref", "node_refs"]

_LEAF_NODES = 512
_LEAF_BYTES = 512 * 1024
EMPTY_SNAPSHOT = encode_object(Snapshot(leaves=[]))

type Documents = Mapping[str, bytes]


class Encoded(NamedTuple):
    """An object that is to be written."""

    digest: bytes
    data: bytes
    value: msgspec.Struct


def grid_of(documents: Documents) -> ArrayGrid | None:
    """Return the grid of the array that documents describe, or None where they describe none."""
    for name in ("zarr.json", ".zarray"):
        document = documents.get(name)
        if document is not None and (grid := array_grid(name, document)) is not None:
            return grid
    return None


def blocks(grid: Grid) -> dict[tuple[int, ...], bytes]:
    """Return the digest of the shard of each block."""
    count = len(grid.digests) // DIGEST_SIZE
    coords = np.frombuffer(grid.coords, "<i8").reshape(count, len(grid.block)).tolist()
    return {tuple(place): grid.digests[row * DIGEST_SIZE : (row + 1) * DIGEST_SIZE] for row, place in enumerate(coords)}


class _Blocks(NamedTuple):
    block: tuple[int, ...]
    digests: dict[tuple[int, ...], bytes]


_block_maps: dict[int, tuple[Grid, _Blocks]] = {}


def _blocks_of(grid: Grid) -> _Blocks:
    """Return the blocks of a grid, made once for the grids that were used last."""
    found = _block_maps.get(id(grid))
    if found is None or found[0] is not grid:
        if len(_block_maps) >= 64:
            _block_maps.clear()
        found = _block_maps[id(grid)] = (grid, _Blocks(grid.block, blocks(grid)))
    return found[1]


def _place(coords: tuple[int, ...], block: tuple[int, ...]) -> tuple[tuple[int, ...], int]:
    outer, place = [], 0
    for number, size in zip(coords, block, strict=True):
        outer.append(number // size)
        place = place * size + number % size
    return tuple(outer), place


async def node_ref(reader: Reader, node: Node, coords: tuple[int, ...]) -> Ref | None:
    """Return the reference to a chunk of an array."""
    if node.grid is None or len(node.grid.block) != len(coords):
        return None
    found = _blocks_of(node.grid)
    outer, place = _place(coords, found.block)
    digest = found.digests.get(outer)
    return (await reader.shard(digest)).get(place) if digest is not None else None


def shard_coords(shard: Shard, outer: tuple[int, ...], block: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the place in the array's grid of each row of a shard."""
    if not block:
        return [()] * len(shard)
    within = np.stack(np.unravel_index(shard.index.astype("i8"), block), axis=1)
    return [tuple(row) for row in (within + np.array(outer, "i8") * np.array(block, "i8")).tolist()]


async def node_refs(reader: Reader, node: Node) -> AsyncIterator[tuple[tuple[int, ...], Ref]]:
    """Give each chunk of an array, and its reference."""
    if node.grid is None:
        return
    for outer, digest in blocks(node.grid).items():
        shard = await reader.shard(digest)
        for row, coords in enumerate(shard_coords(shard, outer, node.grid.block)):
            yield coords, shard.row(row)


class Hierarchy:
    """The nodes of a snapshot.

    Parameters
    ----------
    reader
        Of the repo.
    digest
        Of the snapshot.
    snapshot
        The snapshot itself.
    """

    def __init__(self, reader: Reader, digest: bytes, snapshot: Snapshot) -> None:
        self.reader, self.digest, self.snapshot = reader, digest, snapshot
        self._firsts = [leaf.first for leaf in snapshot.leaves]

    @classmethod
    async def open(cls, reader: Reader, digest: bytes) -> "Hierarchy":
        """Return the hierarchy of a snapshot."""
        return cls(reader, digest, await reader.snapshot(digest))

    async def node(self, path: str) -> Node | None:
        """Return a node, or None where there is none at the path."""
        number = bisect_right(self._firsts, sort_key(path)) - 1
        if number < 0:
            return None
        return (await self.reader.table(self.snapshot.leaves[number].digest)).by_path.get(path)

    async def nodes(self, path: str = "") -> AsyncIterator[Node]:
        """Give a node and all below it, in order."""
        begin = sort_key(path)
        end = f"{begin}\1" if path else "\U0010ffff\U0010ffff"
        first = max(bisect_right(self._firsts, begin) - 1, 0)
        for leaf in self.snapshot.leaves[first:]:
            if leaf.first >= end:
                break
            for node in (await self.reader.table(leaf.digest)).nodes:
                if is_below(node.path, path):
                    yield node

    async def children(self, path: str) -> AsyncIterator[str]:
        """Give the names right below a path; parts of the table that lie inside one child are not read."""
        depth = path.count("/") + 1 if path else 0
        begin = sort_key(path)
        end = f"{begin}\1" if path else "\U0010ffff\U0010ffff"
        first = max(bisect_right(self._firsts, begin) - 1, 0)
        leaves, seen = self.snapshot.leaves, ""
        for number in range(first, len(leaves)):
            if leaves[number].first >= end:
                break
            if number + 1 < len(leaves) and number > first:
                here, after = (leaves[place].first.split("\0")[: depth + 1] for place in (number, number + 1))
                if here == after and len(here) > depth and here[depth] == seen:
                    continue
            for node in (await self.reader.table(leaves[number].digest)).nodes:
                if node.path != path and is_below(node.path, path):
                    name = node.path.split("/")[depth]
                    if name != seen:
                        seen = name
                        yield name

    async def differing(self, other: "Hierarchy") -> dict[str, tuple[Node | None, Node | None]]:
        """Return each path whose nodes are not the same in both, with this one's and the other's."""
        mine, theirs = ({leaf.digest for leaf in side.snapshot.leaves} for side in (self, other))
        before = {node.path: node for leaf in self._only(theirs) for node in (await self.reader.table(leaf)).nodes}
        after = {node.path: node for leaf in other._only(mine) for node in (await self.reader.table(leaf)).nodes}
        paths = sorted(before.keys() | after.keys(), key=sort_key)
        # A node whose part of the table is the same in both by chance of the cuts is looked up.
        found: dict[str, tuple[Node | None, Node | None]] = {}
        for path in paths:
            one = before.get(path) or await self.node(path)
            two = after.get(path) or await other.node(path)
            if one != two:
                found[path] = (one, two)
        return found

    def _only(self, others: set[bytes]) -> list[bytes]:
        return [leaf.digest for leaf in self.snapshot.leaves if leaf.digest not in others]

    async def changed(self, cleared: Iterable[str], nodes: Mapping[str, Node | None]) -> tuple[Snapshot, list[Encoded]]:
        """Return the snapshot after changes, and the parts of its table that are new.

        Parameters
        ----------
        cleared
            Paths that are taken away with all below them, first.
        nodes
            What comes to each path; None takes the path away, without what is below it.
        """
        gone = tuple(cleared)
        pending = dict(sorted(nodes.items(), key=lambda item: sort_key(item[0])))
        leaves: list[LeafEntry] = []
        fresh: list[Encoded] = []
        entries = self.snapshot.leaves or [LeafEntry("", b"", 0)]
        for number, leaf in enumerate(entries):
            end = entries[number + 1].first if number + 1 < len(entries) else None
            here = {path: node for path, node in pending.items() if end is None or sort_key(path) < end}
            for path in here:
                del pending[path]
            if leaf.count and not here and not any(_overlaps(above, leaf.first, end) for above in gone):
                leaves.append(leaf)
                continue
            old = (await self.reader.table(leaf.digest)).nodes if leaf.count else []
            kept = {node.path: node for node in old if not any(is_below(node.path, above) for above in gone)}
            for path, node in here.items():
                if node is None:
                    kept.pop(path, None)
                else:
                    kept[path] = node
            if list(kept.values()) == old and leaf.count:
                leaves.append(leaf)
                continue
            for part in _cut(sorted(kept.values(), key=lambda node: sort_key(node.path))):
                table = NodeTable(nodes=part)
                data = encode_object(table)
                fresh.append(Encoded(digest_of(data), data, table))
                leaves.append(LeafEntry(sort_key(part[0].path), fresh[-1].digest, len(part)))
        return Snapshot(leaves=leaves), fresh


def _overlaps(above: str, first: str, end: str | None) -> bool:
    begin = sort_key(above)
    return not above or (f"{begin}\1" > first and (end is None or begin < end))


def _cut(nodes: list[Node]) -> list[list[Node]]:
    """Cut a part of the table where it has grown too large, into parts of about one size."""
    weights = [sum(map(len, node.documents.values())) + _references(node) for node in nodes]
    count = max(-(-len(nodes) // _LEAF_NODES), -(-sum(weights) // _LEAF_BYTES))
    if count <= 1:
        return [nodes] if nodes else []
    size, weight = -(-len(nodes) // count), -(-sum(weights) // count)
    parts: list[list[Node]] = [[]]
    filled = 0
    for node, heavy in zip(nodes, weights, strict=True):
        if parts[-1] and (len(parts[-1]) >= size or filled + heavy > max(weight, _LEAF_BYTES // 2)):
            parts.append([])
            filled = 0
        parts[-1].append(node)
        filled += heavy
    return parts


def _references(node: Node) -> int:
    return len(node.grid.coords) + len(node.grid.digests) if node.grid is not None else 0


def place_in_blocks(coords: list[tuple[int, ...]], block: tuple[int, ...]) -> list[tuple[tuple[int, ...], int]]:
    """Return the block and the place in it of each chunk."""
    if not coords:
        return []
    outer, place = split_coords(np.array(coords, "i8").reshape(len(coords), len(block)), block)
    return list(zip(map(tuple, outer.tolist()), place.tolist(), strict=True))
