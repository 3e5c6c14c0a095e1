"""What a session's changes make of the nodes of a snapshot, and the shards of manifests that are new."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from arraylake_core.errors import InvalidOptionError
from arraylake_core.names import shown
from arraylake_v1_repo.changes import ChangeSet, NodeChange, VirtualBatch
from arraylake_v1_repo.format import Grid, Node, Ref, ShardColumns, digest_of, encode_object
from arraylake_v1_repo.hierarchy import Encoded, Hierarchy, blocks, grid_of, place_in_blocks, shard_coords
from arraylake_v1_repo.keys import is_below, parse_document
from arraylake_v1_repo.manifest import Shard, block_shape, merge, split_coords
from arraylake_v1_repo.reader import Reader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from arraylake_v1_repo.virtual.sources import SourceFile

__all__ = ["Shards", "build_nodes", "chunk_changes", "with_chunks"]

type Coords = tuple[int, ...]
type Columns = "tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint64], NDArray[np.uint64], list[SourceFile]]"

_MANY_BLOCKS = 64
_SPARSE = 8


class Shards:
    """The shards of a repo, and those that are about to be written.

    Parameters
    ----------
    reader
        Of the repo.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.fresh: dict[bytes, Encoded] = {}

    async def get(self, digest: bytes) -> Shard:
        """Return a shard."""
        fresh = self.fresh.get(digest)
        return Shard(fresh.value) if fresh is not None else await self.reader.shard(digest)  # type: ignore[arg-type]

    def add(self, columns: ShardColumns) -> bytes:
        """Take in a new shard, and return its digest."""
        data = encode_object(columns)
        digest = digest_of(data)
        self.fresh[digest] = Encoded(digest, data, columns)
        return digest


class _Pending(NamedTuple):
    """What comes to one block."""

    refs: dict[int, Ref | None]
    virtual: list[Columns]


async def build_nodes(base: Hierarchy, changes: ChangeSet, shards: Shards) -> dict[str, Node | None]:
    """Return what the changes make of each path that they name; None where nothing is left. Paths that were cleared are not among them.

    Raises
    ------
    InvalidOptionError
        A metadata document is not JSON.
    """
    nodes: dict[str, Node | None] = {}
    for path, change in list(changes.nodes.items()):
        if not change.nothing:
            start = await base.node(change.origin) if change.origin is not None else None
            nodes[path] = await _node(path, start, change, shards)
    return nodes


async def _node(path: str, start: Node | None, change: NodeChange, shards: Shards) -> Node | None:
    documents = dict(start.documents) if start is not None else {}
    loose = dict(start.loose) if start is not None else {}
    for name, data in change.documents.items():
        if data is None:
            documents.pop(name, None)
        else:
            documents[name] = _checked(path, name, data)
    for name, ref in change.loose.items():
        if ref is None:
            loose.pop(name, None)
        else:
            loose[name] = ref
    grid = start.grid if start is not None else None
    named = grid_of(documents)
    if named is not None:
        if grid is not None and len(grid.block) != named.ndim:
            grid = None
        chunks = {coords: ref for coords, ref in change.chunks.items() if len(coords) == named.ndim}
        batches = [batch for batch in change.virtual if len(batch.shape) == named.ndim]
        if chunks or batches:
            grid = await _grid(grid, named.extents, chunks, batches, shards)
    elif not documents:
        grid = None
    if not documents and not loose and grid is None:
        return None
    return Node(path, dict(sorted(documents.items())), grid, dict(sorted(loose.items())))


def _checked(path: str, name: str, data: bytes) -> bytes:
    try:
        parse_document(data)
    except ValueError as error:
        raise InvalidOptionError(
            f"{shown(f'{path}/{name}'.lstrip('/'))} is no JSON, and metadata documents are ({error}): nothing was committed; write it again, or delete it"
        ) from None
    return data


async def with_chunks(node: Node, chunks: Mapping[Coords, Ref | None], shards: Shards) -> Node:
    """Return a node with some of its chunks changed."""
    named = grid_of(node.documents)
    if not chunks or named is None:
        return node
    return msgspec.structs.replace(node, grid=await _grid(node.grid, named.extents, chunks, [], shards))


async def _grid(
    old: Grid | None, extents: Coords | None, chunks: Mapping[Coords, Ref | None], batches: list[VirtualBatch], shards: Shards
) -> Grid | None:
    block = old.block if old is not None else block_shape(_spanned(extents, chunks, batches))
    known = blocks(old) if old is not None else {}
    pending = _by_block(block, chunks, batches)
    if old is not None and extents is not None and len(known.keys() | pending.keys()) > _MANY_BLOCKS:
        better = block_shape(_spanned(extents, chunks, batches))
        ideal = -(-int(np.prod(extents, dtype=float)) // int(np.prod(better)))
        if better != block and len(known.keys() | pending.keys()) > _SPARSE * max(ideal, 1):
            # The array has outgrown the blocks that were chosen when it was small: they are drawn anew, once.
            everything: dict[Coords, Ref | None] = {}
            for outer, digest in known.items():
                shard = await shards.get(digest)
                everything |= zip(shard_coords(shard, outer, block), (shard.row(row) for row in range(len(shard))), strict=True)
            block, known = better, {}
            pending = _by_block(block, chunks, batches)
            for outer, earlier in _by_block(block, everything, []).items():
                mine = pending.setdefault(outer, _Pending({}, []))
                covered = {int(place) for columns in mine.virtual for place in columns[0].tolist()}
                for place, ref in earlier.refs.items():
                    if place not in covered:
                        mine.refs.setdefault(place, ref)
    digests = dict(known)
    order = list(pending)
    for begin in range(0, len(order), 32):
        batch = order[begin : begin + 32]
        loaded = await asyncio.gather(*(_maybe(shards, known.get(outer)) for outer in batch))
        for outer, before in zip(batch, loaded, strict=True):
            columns = merge(before, pending[outer].refs, pending[outer].virtual)
            del pending[outer]
            if columns is None:
                digests.pop(outer, None)
            elif before is None or columns != before.columns:
                digests[outer] = shards.add(columns)
    if not digests:
        return None
    places = sorted(digests)
    coords = np.array(places, "<i8").reshape(len(places), len(block)).tobytes()
    return Grid(block, coords, b"".join(digests[place] for place in places))


async def _maybe(shards: Shards, digest: bytes | None) -> Shard | None:
    return await shards.get(digest) if digest is not None else None


def _spanned(extents: Coords | None, chunks: Iterable[Coords], batches: list[VirtualBatch]) -> Coords:
    """Return how many chunks there are along each axis, for a grid that does not say so itself, or that says too few."""
    ends = [tuple(number + 1 for number in coords) for coords in chunks] if extents is None else []
    ends += [tuple(at + size for at, size in zip(batch.at, batch.shape, strict=True)) for batch in batches]
    if extents is not None:
        ends.append(extents)
    return tuple(max(axis) for axis in zip(*ends, strict=True)) if ends else ()


def _by_block(block: Coords, chunks: Mapping[Coords, Ref | None], batches: list[VirtualBatch]) -> dict[Coords, _Pending]:
    pending: dict[Coords, _Pending] = defaultdict(lambda: _Pending({}, []))
    for batch in batches:
        coords, rows = batch.places()
        outer, index = split_coords(coords, block)
        source, offset, length = batch.numbers()
        unique, inverse = np.unique(outer, axis=0, return_inverse=True)
        order = np.argsort(inverse.reshape(-1), kind="stable")
        ends = np.cumsum(np.bincount(inverse.reshape(-1), minlength=len(unique)))
        for number, place in enumerate(map(tuple, unique.tolist())):
            part = order[ends[number - 1] if number else 0 : ends[number]]
            here = rows[part]
            pending[place].virtual.append((index[part], source[here], offset[here], length[here], batch.sources))
    touched = list(chunks)
    for chunk, (outer_place, within) in zip(touched, place_in_blocks(touched, block), strict=True):
        pending[outer_place].refs[within] = chunks[chunk]
    return dict(pending)


async def chunk_changes(before: Node | None, after: Node | None, shards: Shards) -> dict[Coords, Ref | None]:
    """Return each chunk whose reference is not the same in both nodes, with that of the second; None where it was taken away."""
    one, two = (node.grid if node is not None else None for node in (before, after))
    if one == two:
        return {}
    if one is not None and two is not None and one.block != two.block:
        old, new = await _all(one, shards), await _all(two, shards)
        return {coords: new.get(coords) for coords in old.keys() | new.keys() if old.get(coords) != new.get(coords)}
    block = (one or two).block  # type: ignore[union-attr]  # one of them is there
    mine, theirs = (blocks(grid) if grid is not None else {} for grid in (one, two))
    found: dict[Coords, Ref | None] = {}
    for outer in mine.keys() | theirs.keys():
        old_digest, new_digest = mine.get(outer), theirs.get(outer)
        if old_digest == new_digest:
            continue
        was, now = await _maybe(shards, old_digest), await _maybe(shards, new_digest)
        places = (now if was is None else was).differing(now if was is not None else None)  # type: ignore[union-attr]
        size = np.array(block, "i8")
        for place in places:
            inner = np.array(np.unravel_index(place, block), "i8") if block else np.zeros(0, "i8")
            coords = tuple((inner + np.array(outer, "i8") * size).tolist())
            found[coords] = now.get(place) if now is not None else None
    return found


async def _all(grid: Grid, shards: Shards) -> dict[Coords, Ref]:
    found: dict[Coords, Ref] = {}
    for outer, digest in blocks(grid).items():
        shard = await shards.get(digest)
        found |= zip(shard_coords(shard, outer, grid.block), (shard.row(row) for row in range(len(shard))), strict=True)
    return found


def is_container(node: Node | None) -> bool:
    """Tell whether other nodes may be below a node: not below an array, and not below nothing."""
    return node is not None and grid_of(node.documents) is None and bool(node.documents or node.loose)


async def cleared_nodes(base: Hierarchy, changes: ChangeSet) -> dict[str, None]:
    """Return the paths of the base that were cleared and have nothing new."""
    gone: dict[str, None] = {}
    for above in changes.cleared:
        async for node in base.nodes(above):
            if is_below(node.path, above) and node.path not in changes.nodes:
                gone[node.path] = None
    return gone
