"""What a session changed: operations, which are what a journal keeps, and their sum, which is what a commit is made of."""

from collections.abc import Iterator
from math import prod
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from arraylake_v1_repo.format import Ref, Virtual
from arraylake_v1_repo.keys import is_below
from arraylake_v1_repo.virtual.sources import SourceFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MISSING",
    "ChangeSet",
    "Clear",
    "NodeChange",
    "Operation",
    "PutNode",
    "SetChunk",
    "SetDocument",
    "SetLoose",
    "SetVirtual",
    "VirtualBatch",
]

MISSING = 0xFFFFFFFF
"""The source number of a chunk that a virtual array leaves out."""

type Coords = tuple[int, ...]


class VirtualBatch(msgspec.Struct, frozen=True, array_like=True):
    """Virtual references for a box of an array's chunk grid, column-wise.

    Parameters
    ----------
    at
        The place of the box's first chunk in the grid.
    shape
        Its shape.
    sources
        The source files.
    source, offset, length
        uint32, uint64, uint64 in C order of the box; source is MISSING where there is no chunk.
    """

    at: Coords
    shape: Coords
    sources: list[SourceFile]
    source: bytes
    offset: bytes
    length: bytes

    def numbers(self) -> "tuple[NDArray[np.uint32], NDArray[np.uint64], NDArray[np.uint64]]":
        """Return the columns."""
        return np.frombuffer(self.source, "<u4"), np.frombuffer(self.offset, "<u8"), np.frombuffer(self.length, "<u8")

    def row(self, coords: Coords) -> int | None:
        """Return the row of a chunk, or None where the batch has none."""
        place = 0
        for number, begin, extent in zip(coords, self.at, self.shape, strict=True):
            if not begin <= number < begin + extent:
                return None
            place = place * extent + number - begin
        return place if place < prod(self.shape) and self.numbers()[0][place] != MISSING else None

    def ref(self, coords: Coords) -> Ref | None:
        """Return the reference to a chunk, or None where the batch has none."""
        row = self.row(coords)
        if row is None:
            return None
        source, offset, length = self.numbers()
        return Virtual(self.sources[int(source[row])], int(offset[row]), int(length[row]))

    def places(self) -> "tuple[NDArray[np.int64], NDArray[np.intp]]":
        """Return the coordinates of the chunks that are there, and their rows."""
        rows = np.flatnonzero(self.numbers()[0] != MISSING)
        if not self.shape:
            return np.zeros((len(rows), 0), "i8"), rows
        coords = np.stack(np.unravel_index(rows, self.shape), axis=1) + np.array(self.at, "i8")
        return coords, rows


class NodeChange(msgspec.Struct):
    """What happened to one path.

    Parameters
    ----------
    origin
        The path in the base snapshot that it starts from; None: from nothing.
    edited
        Whether it stays where it was, so that what others do to it meanwhile is merged.
    documents, loose
        New content by name; None where it is taken away.
    chunks
        New references by place in the grid; None where one is taken away. They come after ``virtual``.
    virtual
        Batches of virtual references, in order.
    """

    origin: str | None
    edited: bool
    documents: dict[str, bytes | None] = {}
    loose: dict[str, Ref | None] = {}
    chunks: dict[Coords, Ref | None] = {}
    virtual: list[VirtualBatch] = []

    def copy(self) -> "NodeChange":
        """Return one that changes by itself."""
        return NodeChange(self.origin, self.edited, dict(self.documents), dict(self.loose), dict(self.chunks), list(self.virtual))

    def chunk(self, coords: Coords) -> "tuple[bool, Ref | None]":
        """Tell whether a chunk was changed, and return its reference."""
        if coords in self.chunks:
            return True, self.chunks[coords]
        for batch in reversed(self.virtual):
            if len(batch.shape) == len(coords) and (ref := batch.ref(coords)) is not None:
                return True, ref
        return False, None

    @property
    def nothing(self) -> bool:
        """Whether it changes nothing."""
        return self.edited and not (self.documents or self.loose or self.chunks or self.virtual)


class SetDocument(msgspec.Struct, frozen=True, array_like=True, tag="d"):
    """A metadata document was written, or deleted (None)."""

    path: str
    name: str
    data: bytes | None


class SetLoose(msgspec.Struct, frozen=True, array_like=True, tag="l"):
    """Something that is no chunk of an array was written, or deleted (None)."""

    path: str
    name: str
    ref: Ref | None


class SetChunk(msgspec.Struct, frozen=True, array_like=True, tag="c"):
    """A chunk was written, or deleted (None)."""

    path: str
    coords: Coords
    ref: Ref | None


class SetVirtual(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    """Virtual references were set."""

    path: str
    batch: VirtualBatch


class Clear(msgspec.Struct, frozen=True, array_like=True, tag="x"):
    """A path was deleted with all below it."""

    path: str


class PutNode(msgspec.Struct, frozen=True, array_like=True, tag="p"):
    """A node came to a path, as it is said here."""

    path: str
    change: NodeChange


type Operation = SetDocument | SetLoose | SetChunk | SetVirtual | Clear | PutNode


class ChangeSet:
    """The sum of operations."""

    def __init__(self) -> None:
        self.cleared: set[str] = set()
        self.nodes: dict[str, NodeChange] = {}

    def __bool__(self) -> bool:
        return bool(self.cleared or self.nodes)

    def is_cleared(self, path: str) -> bool:
        """Tell whether what the base has at a path was deleted."""
        return bool(self.cleared) and any(is_below(path, above) for above in self.cleared)

    def origin(self, path: str) -> str | None:
        """Return the path in the base that a path's content comes from, or None where it is all new."""
        change = self.nodes.get(path)
        if change is not None:
            return change.origin
        return None if self.is_cleared(path) else path

    def apply(self, operation: Operation) -> None:
        """Add an operation."""
        match operation:
            case SetDocument(path, name, data):
                self._node(path).documents[name] = data
            case SetLoose(path, name, ref):
                self._node(path).loose[name] = ref
            case SetChunk(path, coords, ref):
                self._node(path).chunks[coords] = ref
            case SetVirtual(path, batch):
                node = self._node(path)
                if node.chunks:
                    for coords in [coords for coords in node.chunks if batch.row(coords) is not None]:
                        del node.chunks[coords]
                node.virtual.append(batch)
            case Clear(path):
                for below in [known for known in self.nodes if is_below(known, path)]:
                    del self.nodes[below]
                if not self.is_cleared(path):
                    self.cleared = {known for known in self.cleared if not is_below(known, path)} | {path}
            case PutNode(path, change):
                self.nodes[path] = change.copy()

    def operations(self) -> Iterator[Operation]:
        """Give operations with the same sum."""
        for path in sorted(self.cleared):
            yield Clear(path)
        for path, change in list(self.nodes.items()):
            yield PutNode(path, change)

    def _node(self, path: str) -> NodeChange:
        node = self.nodes.get(path)
        if node is None:
            fresh = self.is_cleared(path)
            node = self.nodes[path] = NodeChange(None if fresh else path, not fresh, {}, {}, {}, [])
        return node
