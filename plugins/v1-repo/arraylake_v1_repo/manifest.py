"""Shards of a manifest: the chunk references of a block of an array's grid, in numpy columns."""

from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from arraylake_v1_repo.format import DIGEST_SIZE, Inline, Native, Ref, ShardColumns, Virtual
from arraylake_v1_repo.virtual.sources import SourceFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    type U1 = NDArray[np.uint8]
    type U4 = NDArray[np.uint32]
    type U8 = NDArray[np.uint64]
    type I8 = NDArray[np.int64]

__all__ = ["SHARD_SIZE", "Shard", "block_shape", "merge", "split_coords"]

SHARD_SIZE = 4096
"""How many references a shard may have: what a reader of one chunk loads, and what a commit of one chunk writes."""

_NATIVE, _INLINE, _VIRTUAL = 0, 1, 2


def block_shape(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Return how many chunks a shard spans along each axis: whole rows first, since arrays grow along their first axis.

    Examples
    --------
    >>> block_shape((1_000_000, 1, 1))
    (4096, 1, 1)
    >>> block_shape((10, 100, 100))
    (1, 32, 128)
    """
    left = SHARD_SIZE
    block: list[int] = []
    for extent in reversed(grid[1:]):
        size = min(left, 1 << max(extent - 1, 0).bit_length())
        block.append(size)
        left //= size
    if grid:
        block.append(left)
    return tuple(reversed(block))


def split_coords(coords: "I8", block: tuple[int, ...]) -> "tuple[I8, U4]":
    """Return, for each row of chunk coordinates, that of its block, and its place in there."""
    if not block:
        return coords, np.zeros(len(coords), "u4")
    sizes = np.array(block, "i8")
    within = coords % sizes
    strides = np.array([prod(block[axis + 1 :]) for axis in range(len(block))], "i8")
    return coords // sizes, (within @ strides).astype("u4")


class Shard:
    """The references of one block.

    Parameters
    ----------
    columns
        As they are kept.
    """

    __slots__ = ("_rank", "columns", "index", "kind", "length", "offset", "source")

    def __init__(self, columns: ShardColumns) -> None:
        self.columns = columns
        self.index: U4 = np.frombuffer(columns.index, "<u4")
        self.kind: U1 = np.frombuffer(columns.kind, "u1")
        self.offset: U8 = np.frombuffer(columns.offset, "<u8")
        self.length: U8 = np.frombuffer(columns.length, "<u8")
        self.source: U4 = np.frombuffer(columns.source, "<u4")
        self._rank: I8 | None = None

    def __len__(self) -> int:
        return len(self.index)

    @property
    def nbytes(self) -> int:
        """What it takes in memory, in bytes."""
        return len(self.index) * 25 + len(self.columns.digest) + len(self.columns.inlined) + 200 * len(self.columns.sources)

    @property
    def rank(self) -> "I8":
        """For each row, how many native ones come before it."""
        if self._rank is None:
            native = self.kind == _NATIVE
            self._rank = np.cumsum(native, dtype="i8") - native
        return self._rank

    def get(self, place: int) -> Ref | None:
        """Return the reference at a place of the block."""
        row = int(np.searchsorted(self.index, place))
        return self.row(row) if row < len(self.index) and self.index[row] == place else None

    def row(self, row: int) -> Ref:
        """Return the reference in a row."""
        kind, offset, length = int(self.kind[row]), int(self.offset[row]), int(self.length[row])
        if kind == _NATIVE:
            begin = int(self.rank[row]) * DIGEST_SIZE
            return Native(self.columns.digest[begin : begin + DIGEST_SIZE], length)
        if kind == _INLINE:
            return Inline(self.columns.inlined[offset : offset + length])
        return Virtual(self.columns.sources[int(self.source[row])], offset, length)

    def rows(self) -> Iterator[tuple[int, Ref]]:
        """Give each place of the block and its reference."""
        for row, place in enumerate(self.index.tolist()):
            yield place, self.row(row)

    def digests(self) -> Iterator[bytes]:
        """Give the digest of each native chunk."""
        data = self.columns.digest
        return (data[begin : begin + DIGEST_SIZE] for begin in range(0, len(data), DIGEST_SIZE))

    def differing(self, other: "Shard | None") -> set[int]:
        """Return the places whose references are not the same in both."""
        if other is None:
            return set(self.index.tolist())
        places = np.union1d(self.index, other.index)
        if len(self) == len(other) and np.array_equal(self.index, other.index):
            same = (self.kind == other.kind) & (self.length == other.length)
            native = same & (self.kind == _NATIVE)
            mine, theirs = self._digest_rows()[self.rank[native]], other._digest_rows()[other.rank[native]]
            same[native] = (mine == theirs).all(axis=1) if len(mine) else True
            places = self.index[~native | ~same]
        return {place for place in places.tolist() if self.get(place) != other.get(place)}

    def _digest_rows(self) -> "U1":
        return np.frombuffer(self.columns.digest, "u1").reshape(-1, DIGEST_SIZE)


class _Rows:
    """Columns that are being put together."""

    def __init__(self) -> None:
        self.parts: list[tuple[U4, U1, U8, U8, U4, U1]] = []
        self.sources: dict[SourceFile, int] = {}
        self.inlined = bytearray()

    def add_refs(self, refs: Iterable[tuple[int, Ref]]) -> None:
        index: list[int] = []
        kind: list[int] = []
        offset: list[int] = []
        length: list[int] = []
        source: list[int] = []
        digests = bytearray()
        for place, ref in refs:
            index.append(place)
            match ref:
                case Native(digest, size):
                    row = (_NATIVE, 0, size, 0)
                    digests += digest
                case Inline(data):
                    row = (_INLINE, len(self.inlined), len(data), 0)
                    self.inlined += data
                    digests += bytes(DIGEST_SIZE)
                case Virtual(file, start, size):
                    row = (_VIRTUAL, start, size, self.sources.setdefault(file, len(self.sources)))
                    digests += bytes(DIGEST_SIZE)
            for column, value in zip((kind, offset, length, source), row, strict=True):
                column.append(value)
        self.parts.append(
            (
                np.array(index, "u4"),
                np.array(kind, "u1"),
                np.array(offset, "u8"),
                np.array(length, "u8"),
                np.array(source, "u4"),
                np.frombuffer(bytes(digests), "u1").reshape(-1, DIGEST_SIZE),
            )
        )

    def add_shard(self, shard: Shard, without: "U4") -> None:
        keep = ~np.isin(shard.index, without)
        digests = np.zeros((len(shard), DIGEST_SIZE), "u1")
        digests[shard.kind == _NATIVE] = shard._digest_rows()
        numbers = np.array([self.sources.setdefault(file, len(self.sources)) for file in shard.columns.sources] or [0], "u4")
        source = np.where(shard.kind == _VIRTUAL, numbers[np.minimum(shard.source, len(numbers) - 1)], 0).astype("u4")
        offset = shard.offset.copy()
        offset[shard.kind == _INLINE] += np.uint64(len(self.inlined))
        self.inlined += shard.columns.inlined
        self.parts.append((shard.index[keep], shard.kind[keep], offset[keep], shard.length[keep], source[keep], digests[keep]))

    def add_virtual(self, index: "U4", file: "U4", offset: "U8", length: "U8", sources: list[SourceFile]) -> None:
        used, inverse = np.unique(file, return_inverse=True)
        numbers = np.array([self.sources.setdefault(sources[number], len(self.sources)) for number in used.tolist()], "u4")
        kind = np.full(len(index), _VIRTUAL, "u1")
        self.parts.append((index, kind, offset, length, numbers[inverse], np.zeros((len(index), DIGEST_SIZE), "u1")))

    def columns(self) -> ShardColumns:
        index, kind, offset, length, source, digest = (np.concatenate(column) for column in zip(*self.parts, strict=True))
        order = np.argsort(index, kind="stable")
        index, kind, offset, length, source, digest = (column[order] for column in (index, kind, offset, length, source, digest))
        # The same references must give the same bytes, whatever the order in which they came: inline bytes and sources are put in the order of the rows.
        inlined = bytearray()
        for row in np.flatnonzero(kind == _INLINE).tolist():
            begin, size = int(offset[row]), int(length[row])
            offset[row] = len(inlined)
            inlined += self.inlined[begin : begin + size]
        virtual = kind == _VIRTUAL
        files = list(self.sources)
        used, first = np.unique(source[virtual], return_index=True)
        ranked = used[np.argsort(first)].tolist()
        numbers = np.zeros(len(files) + 1, "u4")
        numbers[ranked] = np.arange(len(ranked), dtype="u4")
        source[virtual] = numbers[source[virtual]]
        return ShardColumns(
            index=index.astype("<u4").tobytes(),
            kind=kind.tobytes(),
            offset=offset.astype("<u8").tobytes(),
            length=length.astype("<u8").tobytes(),
            source=source.astype("<u4").tobytes(),
            digest=digest[kind == _NATIVE].tobytes(),
            inlined=bytes(inlined),
            sources=[files[number] for number in ranked],
        )


def merge(
    old: Shard | None,
    changes: Mapping[int, Ref | None],
    virtual: "list[tuple[U4, U4, U8, U8, list[SourceFile]]] | None" = None,
) -> ShardColumns | None:
    """Return the columns of a shard after changes, or None where nothing is left.

    Parameters
    ----------
    old
        What was there.
    changes
        References by their place in the block; None takes one away. They come after ``virtual``.
    virtual
        Columns of virtual references (index, source, offset, length, source files), the later ones over the earlier.
    """
    rows = _Rows()
    touched = np.array(sorted(changes), "u4")
    for index, file, offset, length, sources in reversed(virtual or []):
        fresh = ~np.isin(index, touched)
        rows.add_virtual(index[fresh], file[fresh], offset[fresh], length[fresh], sources)
        touched = np.union1d(touched, index).astype("u4")
    if old is not None:
        rows.add_shard(old, touched)
    rows.add_refs((place, ref) for place, ref in changes.items() if ref is not None)
    columns = rows.columns()
    return columns if columns.index else None
