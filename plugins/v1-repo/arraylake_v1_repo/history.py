"""All versions of a repo, for a migration to another kind."""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from arraylake_core.backends.history import Chunk, NodeChange, StoredChunk, VirtualChunk
from arraylake_core.errors import InvalidOptionError
from arraylake_core.models import CommitInfo
from arraylake_core.names import shown
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.commits import ancestry, hierarchy_of
from arraylake_v1_repo.content import fetch
from arraylake_v1_repo.format import Inline, Node, Ref, Virtual
from arraylake_v1_repo.hierarchy import grid_of, node_refs
from arraylake_v1_repo.keys import structure
from arraylake_v1_repo.nodes import Shards, chunk_changes
from arraylake_v1_repo.refs import list_refs
from arraylake_v1_repo.session import Session
from arraylake_v1_repo.store import V1Store

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["V1History"]


class V1History:
    """The history of a V1 repo.

    Parameters
    ----------
    binding
        The repo.
    """

    kind = "v1"

    def __init__(self, binding: Binding) -> None:
        self._binding = binding

    async def branches(self) -> Mapping[str, str]:
        """Return each branch and the id of its last commit."""
        return await list_refs(self._binding, "branch")

    async def tags(self) -> Mapping[str, str]:
        """Return each tag and the id of its commit."""
        return await list_refs(self._binding, "tag")

    def ancestry(self, commit: str) -> AsyncIterator[CommitInfo]:
        """Give a commit and those before it, the newest first."""
        return ancestry(self._binding, commit)

    async def changes(self, commit: str, since: str | None) -> AsyncIterator[NodeChange]:
        """Give what differs between two commits, or between nothing and one."""
        after = await hierarchy_of(self._binding.reader, commit)
        if since is None:
            async for node in after.nodes():
                if node.documents or node.loose:
                    yield self._change(None, node)
            return
        before = await hierarchy_of(self._binding.reader, since)
        differing = await before.differing(after)
        for path, (old, new) in reversed(differing.items()):
            if old is not None and (new is None or not (new.documents or new.loose)):
                yield NodeChange(path, {}, False, (), _nothing)
        for old, new in differing.values():
            if new is not None and (new.documents or new.loose):
                yield self._change(old, new)

    async def store(self, commit: str) -> "Store":
        """Return a read-only zarr Store of a commit."""
        hierarchy = await hierarchy_of(self._binding.reader, commit)
        return V1Store(Session(self._binding, base=commit, hierarchy=hierarchy, branch=None, expires=None))

    def _change(self, old: Node | None, new: Node) -> NodeChange:
        anew = old is not None and bool(old.documents) and _layout(old) != _layout(new)
        return NodeChange(new.path, new.documents, anew, tuple(new.loose), partial(self._chunks, None if anew else old, new))

    async def _chunks(self, old: Node | None, new: Node) -> AsyncIterator[tuple[str, Chunk | None]]:
        grid = grid_of(new.documents)
        if grid is not None:
            if old is None:
                async for coords, ref in node_refs(self._binding.reader, new):
                    if len(coords) == grid.ndim:
                        self._require_inside(new.path, coords, grid.extents)
                        yield grid.key(coords), self._chunk(ref)
            else:
                for coords, changed in sorted((await chunk_changes(old, new, Shards(self._binding.reader))).items()):
                    if changed is not None:
                        self._require_inside(new.path, coords, grid.extents)
                    if len(coords) == grid.ndim:
                        yield grid.key(coords), self._chunk(changed) if changed is not None else None
        before = old.loose if old is not None else {}
        for name in {**before, **new.loose}:
            if before.get(name) != new.loose.get(name):
                yield name, self._chunk(new.loose[name]) if name in new.loose else None

    def _chunk(self, ref: Ref) -> Chunk:
        if isinstance(ref, Virtual):
            source = ref.source
            return VirtualChunk(url=source.url, offset=ref.offset, length=ref.length, etag=source.etag, modified=source.modified)
        length = len(ref.data) if isinstance(ref, Inline) else ref.length
        return StoredChunk(length, partial(fetch, self._binding, None, ref))

    def _require_inside(self, path: str, coords: tuple[int, ...], extents: tuple[int, ...] | None) -> None:
        if extents is not None and any(number >= extent for number, extent in zip(coords, extents, strict=True)):
            raise InvalidOptionError(
                f"the array {shown(f'/{path}')} of {self._binding.name} has the chunk {coords} outside of its shape, which no other kind can keep: "
                "nothing was written; array.resize(array.shape) deletes such chunks"
            )


async def _nothing() -> AsyncIterator[tuple[str, Chunk | None]]:
    none: tuple[str, ...] = ()
    for key in none:
        yield key, None


def _layout(node: Node) -> object:
    """Return what chunks depend on; an array that was resized has the same ones."""
    found = {name: structure(name, document) for name, document in node.documents.items()}
    return {
        name: {key: value for key, value in fields.items() if key != "shape"} if isinstance(fields, dict) else None
        for name, fields in found.items()
        if name not in (".zattrs", ".zmetadata")
    }
