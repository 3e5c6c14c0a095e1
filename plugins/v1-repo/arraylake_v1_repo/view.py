"""A hierarchy as a session sees it: a snapshot, with what was changed on top."""

from collections.abc import AsyncIterator
from typing import NamedTuple, cast

from arraylake_v1_repo.changes import ChangeSet, Clear, NodeChange, Operation, PutNode, SetDocument
from arraylake_v1_repo.format import Native, Node, Ref
from arraylake_v1_repo.hierarchy import Hierarchy, grid_of, node_ref, node_refs
from arraylake_v1_repo.keys import DOCUMENTS, ArrayGrid, check_key, is_below, sort_key

__all__ = ["Chunk", "Document", "Loose", "NodeView", "View"]

_MOST_GRIDS = 10_000


class Document(NamedTuple):
    """A key of a metadata document."""

    path: str
    name: str


class Chunk(NamedTuple):
    """A key of a chunk of an array."""

    path: str
    coords: tuple[int, ...]


class Loose(NamedTuple):
    """A key that is neither."""

    path: str
    name: str


class NodeView(NamedTuple):
    """A node as a session sees it."""

    path: str
    documents: dict[str, bytes]
    loose: dict[str, Ref]
    node: Node | None
    change: NodeChange | None


class View:
    """A snapshot and the changes on top of it.

    Parameters
    ----------
    hierarchy
        The snapshot.
    changes
        The changes.
    """

    def __init__(self, hierarchy: Hierarchy, changes: ChangeSet | None = None) -> None:
        self.hierarchy = hierarchy
        self.changes = changes if changes is not None else ChangeSet()
        self.version = 0
        self._grids: dict[str, ArrayGrid | None] = {}

    def take(self, operation: Operation) -> None:
        """Add an operation to the changes."""
        self.version += 1
        self.changes.apply(operation)
        match operation:
            case SetDocument(path, "zarr.json" | ".zarray"):
                self._grids.pop(path, None)
            case Clear() | PutNode():
                self._grids.clear()

    async def locate(self, key: str) -> Document | Chunk | Loose:
        """Return what a key of the zarr store names."""
        check_key(key)
        parts = key.split("/")
        if parts[-1] in DOCUMENTS:
            return Document("/".join(parts[:-1]), parts[-1])
        begin = len(parts)
        while begin and _may_be_chunk(parts[begin - 1]):
            begin -= 1
        for split in range(begin, len(parts)):
            path = "/".join(parts[:split])
            grid = await self.grid(path)
            if grid is not None and (coords := grid.parse("/".join(parts[split:]))) is not None:
                return Chunk(path, coords)
        return Loose("/".join(parts[:-1]), parts[-1])

    async def grid(self, path: str) -> ArrayGrid | None:
        """Return the grid of the array at a path, or None where there is no array."""
        try:
            return self._grids[path]
        except KeyError:
            version = self.version
            grid = grid_of(await self.documents(path))
            if len(self._grids) > _MOST_GRIDS:
                self._grids.clear()
            if version == self.version:
                self._grids[path] = grid
            return grid

    async def _base(self, path: str) -> tuple[Node | None, NodeChange | None]:
        change = self.changes.nodes.get(path)
        origin = self.changes.origin(path)
        return (await self.hierarchy.node(origin) if origin is not None else None), change

    async def documents(self, path: str) -> dict[str, bytes]:
        """Return the metadata documents at a path, by name."""
        return (await self.node(path)).documents

    async def node(self, path: str) -> NodeView:
        """Return the node at a path, which may have nothing in it."""
        node, change = await self._base(path)
        return _merged(path, node, change)

    async def ref(self, place: Chunk | Loose) -> Ref | None:
        """Return the reference to a chunk, or to something loose."""
        node, change = await self._base(place.path)
        if isinstance(place, Loose):
            if change is not None and place.name in change.loose:
                return change.loose[place.name]
            return node.loose.get(place.name) if node is not None else None
        if change is not None:
            changed, ref = change.chunk(place.coords)
            if changed:
                return ref
        if node is None:
            return None
        ref = await node_ref(self.hierarchy.reader, node, place.coords)
        if ref is None and (loose := await self._loose(place)) is not None:
            return loose
        return ref

    async def _loose(self, place: Chunk) -> Ref | None:
        """Return what was written under a chunk's key before its array was there."""
        grid = await self.grid(place.path)
        if grid is None:
            return None
        path, _, name = f"{place.path}/{grid.key(place.coords)}".strip("/").rpartition("/")
        node, change = await self._base(path)
        if change is not None and name in change.loose:
            return change.loose[name]
        return node.loose.get(name) if node is not None else None

    async def refs(self, path: str) -> AsyncIterator[tuple[tuple[int, ...], Ref]]:
        """Give each chunk of the array at a path, and its reference."""
        node, change = await self._base(path)
        grid = await self.grid(path)
        if grid is None:
            return
        seen: set[tuple[int, ...]] = set()
        if change is not None:
            for coords, ref in list(change.chunks.items()):
                seen.add(coords)
                if ref is not None and len(coords) == grid.ndim:
                    yield coords, ref
            for batch in reversed(change.virtual):
                if len(batch.shape) == grid.ndim:
                    for coords in map(tuple, batch.places()[0].tolist()):
                        if coords not in seen:
                            seen.add(coords)
                            yield coords, cast("Ref", batch.ref(coords))
        if node is not None and node.grid is not None and len(node.grid.block) == grid.ndim:
            async for coords, ref in node_refs(self.hierarchy.reader, node):
                if coords not in seen:
                    yield coords, ref

    async def nodes(self, path: str = "") -> AsyncIterator[NodeView]:
        """Give what is at a path and below it, in order; without what is empty."""
        changed = sorted((known for known in list(self.changes.nodes) if is_below(known, path)), key=sort_key)
        waiting = list(reversed(changed))
        names = set(changed)
        if not self.changes.cleared or not any(is_below(path, above) for above in self.changes.cleared):
            async for node in self.hierarchy.nodes(path):
                while waiting and sort_key(waiting[-1]) <= sort_key(node.path):
                    view = await self.node(waiting.pop())
                    if view.documents or view.loose:
                        yield view
                if node.path not in names and not self.changes.is_cleared(node.path):
                    yield _merged(node.path, node, None)
        while waiting:
            view = await self.node(waiting.pop())
            if view.documents or view.loose:
                yield view

    async def native_digests(self) -> AsyncIterator[bytes]:
        """Give the digest of each chunk that it wrote to the bucket."""
        for change in list(self.changes.nodes.values()):
            for ref in (*list(change.chunks.values()), *list(change.loose.values())):
                if isinstance(ref, Native):
                    yield ref.digest

    async def has_node(self, path: str) -> bool:
        """Tell whether there is a node right at a path."""
        return bool((await self.node(path)).documents)

    async def exists_below(self, path: str) -> bool:
        """Tell whether there is anything at a path or below it."""
        async for _ in self.nodes(path):
            return True
        return False

    async def children(self, path: str) -> AsyncIterator[str]:
        """Give the names of documents, chunks, loose keys and nodes right below a path."""
        names: set[str] = set()
        array = await self.array_above(path)
        grid = await self.grid(array) if array is not None else None
        if array is not None and grid is not None:
            inside = path.removeprefix(array).strip("/")
            inside = f"{inside}/" if inside else ""
            async for coords, _ in self.refs(array):
                key = grid.key(coords)
                if key.startswith(inside):
                    names.add(key[len(inside) :].partition("/")[0])
                    if not inside and grid.prefix and grid.separator == "/":
                        break
        view = await self.node(path)
        names.update(view.documents, view.loose)
        if not self.changes.is_cleared(path):
            async for name in self.hierarchy.children(path):
                below = f"{path}/{name}" if path else name
                if name not in names and (not self._touches(below) or await self.exists_below(below)):
                    names.add(name)
        start = len(path) + 1 if path else 0
        for known in list(self.changes.nodes):
            if known != path and is_below(known, path):
                name = known[start:].partition("/")[0]
                if name not in names and await self.exists_below(f"{path}/{name}" if path else name):
                    names.add(name)
        for name in sorted(names):
            yield name

    def _touches(self, path: str) -> bool:
        return any(is_below(known, path) or is_below(path, known) for known in self.changes.cleared) or any(
            is_below(known, path) for known in list(self.changes.nodes)
        )

    async def keys(self, path: str = "") -> AsyncIterator[str]:
        """Give every key at a path and below it."""
        array = await self.array_above(path)
        if array is not None and array != path:
            async for key in self.keys(array):
                if is_below(key, path):
                    yield key
            return
        async for view in self.nodes(path):
            start = f"{view.path}/" if view.path else ""
            for name in (*view.documents, *view.loose):
                yield start + name
            grid = grid_of(view.documents)
            if grid is not None:
                async for coords, _ in self.refs(view.path):
                    yield start + grid.key(coords)
        parent, _, name = path.rpartition("/")
        if path:
            above = await self.node(parent)
            if name in above.documents or name in above.loose:
                yield path

    async def array_above(self, path: str) -> str | None:
        """Return the path of the array that a path is, or lies in."""
        parts = path.split("/") if path else []
        for end in range(len(parts) + 1):
            above = "/".join(parts[:end])
            if await self.grid(above) is not None:
                return above
        return None


def _may_be_chunk(part: str) -> bool:
    return part == "c" or part[0].isdigit() or part.startswith("c.")


def _merged(path: str, node: Node | None, change: NodeChange | None) -> NodeView:
    documents = node.documents if node is not None else {}
    loose = node.loose if node is not None else {}
    if change is not None:
        documents = {name: data for name, data in {**documents, **change.documents}.items() if data is not None}
        loose = {name: ref for name, ref in {**loose, **change.loose}.items() if ref is not None}
    return NodeView(path, dict(documents), dict(loose), node, change)
