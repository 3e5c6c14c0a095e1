"""Looking at a session without opening arrays: what changed, the tree, and searches in metadata documents."""

from collections.abc import Callable, Iterator
from math import prod
from typing import TYPE_CHECKING

from arraylake_core.backends.hierarchy import Tree
from arraylake_core.errors import InvalidOptionError, NotFoundError
from arraylake_core.models import SessionStatus
from arraylake_core.names import shown
from arraylake_v1_repo.format import Node
from arraylake_v1_repo.hierarchy import Hierarchy
from arraylake_v1_repo.keys import is_below, parse_document
from arraylake_v1_repo.nodes import Shards, chunk_changes

if TYPE_CHECKING:
    from arraylake_v1_repo.session import Session
    from arraylake_v1_repo.view import NodeView

__all__ = ["diff_hierarchies", "filter_metadata", "session_status", "session_tree"]


async def session_status(session: "Session", limit: int) -> SessionStatus:
    """Return what a session changed, at most ``limit`` paths; 0 is all."""
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 0:
        raise InvalidOptionError(f"limit is a whole number, 0 for all, not {limit!r}")
    await session.refresh()
    modified: dict[str, str] = {}
    changes = session.changes
    for above in sorted(changes.cleared):
        async for node in session.hierarchy.nodes(above):
            if node.path not in changes.nodes:
                modified[f"/{node.path}"] = "deleted"
    for path, change in list(changes.nodes.items()):
        before = await session.hierarchy.node(path)
        if change.nothing:
            continue
        if before is None:
            modified[f"/{path}"] = "added"
        elif not await session.view.has_node(path) and before.documents:
            modified[f"/{path}"] = "deleted"
        elif not change.edited:
            modified[f"/{path}"] = "replaced"
        else:
            count = len(change.chunks) + sum(len(batch.places()[1]) for batch in change.virtual)
            what = (["metadata"] if change.documents else []) + ([_counted(count)] if count else [])
            modified[f"/{path}"] = ", ".join(what) or "data"
    listed = sorted(modified)[: limit or None]
    return SessionStatus(
        repo=session.binding.name,
        branch=session.branch,
        base=session.base,
        session_id=None if session.read_only else session.key,
        modified={path: modified[path] for path in listed},
    )


async def diff_hierarchies(before: Hierarchy, after: Hierarchy) -> dict[str, str]:
    """Return each path whose node is not the same, and what was done to it."""
    shards = Shards(after.reader)
    found: dict[str, str] = {}
    for path, (one, two) in (await before.differing(after)).items():
        found[f"/{path}"] = await _what(one, two, shards)
    return found


def _counted(chunks: int) -> str:
    return "1 chunk" if chunks == 1 else f"{chunks} chunks"


async def _what(before: Node | None, after: Node | None, shards: Shards) -> str:
    if before is None or after is None:
        return "added" if before is None else "deleted"
    chunks = await chunk_changes(before, after, shards)
    what = ["metadata"] if before.documents != after.documents else []
    what += [_counted(len(chunks))] if chunks else []
    return ", ".join(what) or "data"


async def filter_metadata(session: "Session", expression: str) -> list[str]:
    """Return the paths of the nodes whose metadata documents match a JMESPath expression."""
    matches = _compiled(expression)
    await session.refresh()
    return [view.path async for view in session.view.nodes() if any(map(matches, _decoded(view)))]


def _decoded(view: "NodeView") -> Iterator[object]:
    """Give each document of a node; those of format 2 as one, as format 3 has it."""
    if (document := view.documents.get("zarr.json")) is not None:
        yield _json(document)
    old = [name for name in (".zarray", ".zgroup") if name in view.documents]
    if old:
        fields = _json(view.documents[old[0]])
        attributes = _json(view.documents.get(".zattrs", b"{}"))
        kind = "array" if old[0] == ".zarray" else "group"
        if isinstance(fields, dict):
            yield {**fields, "attributes": attributes, "node_type": kind}


def _json(document: bytes) -> object:
    try:
        return parse_document(document)
    except ValueError:
        return None


def _compiled(expression: str) -> Callable[[object], bool]:
    import jmespath
    from jmespath.exceptions import JMESPathError, ParseError, UnknownFunctionError

    if not isinstance(expression, str):
        raise InvalidOptionError(f"a JMESPath expression is text, not a {type(expression).__name__}")
    try:
        search = jmespath.compile(expression).search
    except ParseError as error:
        where = getattr(error, "lex_position", None)
        at = f" at character {where + 1}" if isinstance(where, int) else ""
        raise InvalidOptionError(
            f"{shown(expression)} is no JMESPath expression: something is wrong{at}; for example: attributes.units=='K'"
        ) from None
    except JMESPathError as error:
        raise InvalidOptionError(f"{shown(expression)} is no JMESPath expression: {error}") from None

    def matches(document: object) -> bool:
        try:
            found = search(document)
        except UnknownFunctionError as error:
            raise InvalidOptionError(f"{shown(expression)} is no JMESPath expression: {error}") from None
        except JMESPathError:
            # It asks something of this document that it has not got, such as the length of a number.
            return False
        return found is not None and found is not False and found not in ("", [], {})

    return matches


async def session_tree(
    session: "Session",
    path: str,
    depth: int | None,
    filter: str | Callable[[str], bool] | None,  # noqa: A002
) -> Tree:
    """Return the hierarchy at a path, from the metadata documents alone."""
    name = session.binding.name
    wanted: Callable[[str], bool] | None = None
    if isinstance(filter, str):
        paths = set(await filter_metadata(session, filter))
        wanted = paths.__contains__
    elif filter is not None:
        wanted = filter
    root = Tree(name=f"{name}/{path}" if path else name)
    found = False
    await session.refresh()
    async for view in session.view.nodes(path):
        if not view.documents:
            continue
        found = True
        if view.path == path or (wanted is not None and not wanted(view.path)):
            continue
        _grow(root, view, path, depth)
    if not found and path:
        raise NotFoundError(f"{name} has no group {shown(path)}")
    return root


def _grow(root: Tree, view: "NodeView", path: str, depth: int | None) -> None:
    assert is_below(view.path, path)
    parts = view.path[len(path) :].strip("/").split("/")
    shape, dtype, chunks, nbytes = _array(view)
    parent = root
    parent.nbytes += nbytes
    for part in parts[: depth if depth is not None else None][: len(parts) - 1]:
        parent = parent.children.setdefault(part, Tree(name=part))
        parent.nbytes += nbytes
    if depth is None or len(parts) <= depth:
        last = parent.children.setdefault(parts[-1], Tree(name=parts[-1]))
        last.shape, last.dtype, last.chunks, last.nbytes = shape, dtype, chunks, max(last.nbytes, nbytes)


def _array(view: "NodeView") -> tuple[tuple[int, ...] | None, str | None, tuple[int, ...] | None, int]:
    for document in _decoded(view):
        if isinstance(document, dict) and document.get("node_type") == "array":
            shape = tuple(document.get("shape", ()))
            dtype = document.get("data_type", document.get("dtype"))
            label, size = _dtype(dtype)
            return shape, label, _chunks(document), prod(shape) * size
    return None, None, None, 0


def _chunks(document: dict[str, object]) -> tuple[int, ...] | None:
    """Return the shape of an array's chunks, or of those in its shards; None where they are not all of one shape."""
    chunks = document.get("chunks") or _configured(document.get("chunk_grid"), "chunk_shape")
    codecs = document.get("codecs")
    for codec in codecs if isinstance(codecs, list) else ():
        chunks = _configured(codec, "chunk_shape") or chunks
    regular = isinstance(chunks, list) and all(isinstance(length, int) for length in chunks)
    return tuple(chunks) if isinstance(chunks, list) and regular else None


def _configured(extension: object, name: str) -> object:
    configuration = extension.get("configuration") if isinstance(extension, dict) else None
    return configuration.get(name) if isinstance(configuration, dict) else None


def _dtype(dtype: object) -> tuple[str, int]:
    import numpy as np

    if isinstance(dtype, dict):
        configuration = dtype.get("configuration", {})
        size = configuration.get("length_bytes", 8) if isinstance(configuration, dict) else 8
        return str(dtype.get("name")), int(size)
    try:
        known = np.dtype(dtype)  # type: ignore[call-overload]  # text, or what numpy refuses
    except TypeError:
        return str(dtype), 0
    return str(known), known.itemsize
