"""What an export does, step by step, in an order that depends on nothing but the versions: so a second try knows what the first one has done."""

from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

from arraylake_v1_repo.export.forms import Form, Recoding, form_of, format_of
from arraylake_v1_repo.format import Inline, Node, Ref
from arraylake_v1_repo.hierarchy import Hierarchy, grid_of, node_refs
from arraylake_v1_repo.nodes import Shards, chunk_changes

if TYPE_CHECKING:
    from arraylake_v1_repo.reader import Reader

__all__ = ["CopyChunk", "DeleteKey", "Plan", "PutDocument", "RecodeChunk", "Step", "weight"]

type Coords = tuple[int, ...]


class DeleteKey(NamedTuple):
    """A key goes away."""

    key: str


class PutDocument(NamedTuple):
    """A metadata document is written."""

    key: str
    data: bytes


class CopyChunk(NamedTuple):
    """A chunk is copied byte for byte."""

    key: str
    ref: Ref


class RecodeChunk(NamedTuple):
    """A chunk is decoded, and encoded anew."""

    path: str
    coords: Coords
    ref: Ref
    recoding: Recoding


type Step = DeleteKey | PutDocument | CopyChunk | RecodeChunk


class Plan:
    """The steps from one version, or from nothing, to another.

    Parameters
    ----------
    reader
        Of the repo.
    before
        What the destination holds; None where it is empty.
    after
        What it is to hold.
    zarr_format
        2 or 3.
    """

    def __init__(self, reader: "Reader", before: Hierarchy | None, after: Hierarchy, zarr_format: Literal[2, 3]) -> None:
        self._reader, self._before, self._after, self._zarr_format = reader, before, after, zarr_format
        self._differing: dict[str, tuple[Node | None, Node | None]] = {}
        self._consolidated: dict[str, bytes] = {}

    async def check(self) -> str | None:
        """Look at every node, before anything is written; return the path of the first array, where there is one.

        Raises
        ------
        InvalidOptionError
            The format can't express one of them.
        """
        if self._before is not None:
            self._differing = await self._before.differing(self._after)
        first: str | None = None
        root = await self._after.node("")
        # In Zarr 2, xarray looks for all documents in one; a hierarchy of Zarr 3 has them where its owner wanted them.
        consolidates = self._zarr_format == 2 and root is not None and format_of(root.documents) == 3
        everything: dict[str, bytes] = {}
        async for node in self._after.nodes():
            form = form_of(node, self._zarr_format)
            if first is None and form.grid is not None:
                first = node.path
            if consolidates:
                everything |= {_below(node.path, name): data for name, data in form.documents.items() if name.startswith(".z")}
        if consolidates and first != "":
            listed = ",".join(
                f"{_quoted(key)}:{data.decode()}" for key, data in sorted(everything.items()) if not key.endswith(".zmetadata")
            )
            self._consolidated = {".zmetadata": f'{{"metadata":{{{listed}}},"zarr_consolidated_format":1}}'.encode()}
        return first

    async def deletions(self) -> AsyncIterator[DeleteKey]:
        """Give what goes away first: the documents of the root, without which nothing looks finished, and what is not in the new version."""
        if self._before is None:
            return
        root = await self._before.node("")
        if root is not None:
            for name in self._root_documents(form_of(root, self._zarr_format)):
                yield DeleteKey(name)
            if self._zarr_format == 2 and not self._consolidated:
                yield DeleteKey(".zmetadata")
        for path, (old, new) in self._differing.items():
            if old is None:
                continue
            before, after = form_of(old, self._zarr_format), self._form(new)
            if self._in_place(before, after):
                for coords, ref in await self._changes(old, new):
                    if ref is None:
                        for key in before.keys(coords):
                            yield DeleteKey(_below(path, key))
            else:
                kept = {key async for coords, _ in self._refs(new) for key in after.keys(coords)} if after is not None else set()
                async for coords, _ in self._refs(old):
                    for key in before.keys(coords):
                        if key not in kept:
                            yield DeleteKey(_below(path, key))
            names = {*(after.documents if after is not None else {}), *(new.loose if new is not None else {})}
            for name in (*before.documents, *old.loose):
                if name not in names and (path or name not in before.documents):
                    yield DeleteKey(_below(path, name))

    async def writes(self) -> AsyncIterator[Step]:
        """Give what is written, but for the documents of the root."""
        if self._before is None:
            async for node in self._after.nodes():
                async for step in self._whole(node):
                    yield step
        else:
            for path, (old, new) in self._differing.items():
                after = self._form(new)
                if new is None or after is None:
                    continue
                before = form_of(old, self._zarr_format) if old is not None else None
                if old is None or before is None or not self._in_place(before, after):
                    async for step in self._whole(new):
                        yield step
                    continue
                for coords, ref in await self._changes(old, new):
                    if ref is not None:
                        for step in self._chunk(path, after, coords, ref):
                            yield step
                for step in self._rest(new, after, {name: ref for name, ref in new.loose.items() if ref != old.loose.get(name)}):
                    yield step

    async def ending(self) -> list[PutDocument]:
        """Return the documents of the root, which are written when all else is there."""
        root = await self._after.node("")
        return (
            [PutDocument(name, data) for name, data in self._root_documents(form_of(root, self._zarr_format)).items()]
            if root
            else []
        )

    async def count(self) -> int:
        """Return how many chunks a first export copies."""
        total = 0
        async for node in self._after.nodes():
            if node.grid is not None and grid_of(node.documents) is not None:
                total += sum([1 async for _ in node_refs(self._reader, node)])
        return total

    def _form(self, node: Node | None) -> Form | None:
        return form_of(node, self._zarr_format) if node is not None else None

    def _in_place(self, before: Form, after: Form | None) -> bool:
        """Tell whether chunks that did not change are where they must be, as they must be."""
        return after is not None and before.layout == after.layout and (before.grid is None) == (after.grid is None)

    def _root_documents(self, form: Form) -> dict[str, bytes]:
        return {**form.documents, **self._consolidated}

    async def _changes(self, old: Node | None, new: Node | None) -> list[tuple[Coords, Ref | None]]:
        if new is None or grid_of(new.documents) is None:
            return []
        return sorted((await chunk_changes(old, new, Shards(self._reader))).items())

    async def _refs(self, node: Node | None) -> AsyncIterator[tuple[Coords, Ref]]:
        grid = grid_of(node.documents) if node is not None else None
        if node is not None and node.grid is not None and grid is not None and len(node.grid.block) == grid.ndim:
            async for coords, ref in node_refs(self._reader, node):
                yield coords, ref

    async def _whole(self, node: Node) -> AsyncIterator[Step]:
        form = form_of(node, self._zarr_format)
        async for coords, ref in self._refs(node):
            for step in self._chunk(node.path, form, coords, ref):
                yield step
        for step in self._rest(node, form, node.loose):
            yield step

    def _rest(self, node: Node, form: Form, loose: Mapping[str, Ref]) -> list[Step]:
        steps: list[Step] = [CopyChunk(_below(node.path, name), ref) for name, ref in loose.items()]
        if node.path:
            steps += [PutDocument(_below(node.path, name), data) for name, data in form.documents.items()]
        return steps

    def _chunk(self, path: str, form: Form, coords: Coords, ref: Ref) -> list[Step]:
        if form.grid is None:
            return []
        if form.recoding is None:
            return [CopyChunk(_below(path, form.grid.key(coords)), ref)]
        # What lies outside of the array's shape can't be decoded as a part of it.
        shape = form.recoding.target.shape
        inside = all(number * size < extent for number, size, extent in zip(coords, form.recoding.chunks, shape, strict=True))
        return [RecodeChunk(path, coords, ref, form.recoding)] if inside else []


def weight(step: Step) -> int:
    """Return how many bytes a step holds in memory."""
    match step:
        case PutDocument(_, data):
            return len(data)
        case CopyChunk(_, ref) | RecodeChunk(_, _, ref, _):
            return len(ref.data) if isinstance(ref, Inline) else ref.length
        case DeleteKey():
            return 0


def _below(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _quoted(text: str) -> str:
    import json

    return json.dumps(text)
