"""Reading and writing the keys and nodes of a session."""

import asyncio
from functools import partial

from arraylake_core.errors import AlreadyExistsError, InvalidOptionError, NotFoundError
from arraylake_core.names import shown
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.changes import Clear, NodeChange, Operation, PutNode, SetChunk, SetDocument, SetLoose
from arraylake_v1_repo.format import Inline, Native, Ref, Virtual, chunk_key, digest_of
from arraylake_v1_repo.hierarchy import node_ref
from arraylake_v1_repo.keys import is_below
from arraylake_v1_repo.session import Session
from arraylake_v1_repo.uploads import Uploads
from arraylake_v1_repo.view import Chunk, Document, Loose

__all__ = ["INLINE_BYTES", "clear_path", "copy_node", "delete_key", "fetch", "get_key", "key_size", "require_groups", "set_key"]

INLINE_BYTES = 512
"""Chunks of up to so many bytes are kept in the manifest."""

_AT_ONCE_BYTES = 4 * 2**20
"""More bytes than these are digested in a thread, beside other chunks."""


async def set_key(session: Session, key: str, data: bytes | memoryview) -> None:
    """Write a key of the zarr store; the caller may change what is behind a memoryview as soon as this returns."""
    place = await session.view.locate(key)
    if isinstance(place, Document):
        await session.write(SetDocument(place.path, place.name, bytes(data)))
        return
    session.require_writable()
    ref: Ref
    flight = uploads = None
    if len(data) <= INLINE_BYTES:
        ref = Inline(bytes(data))
    else:
        known = await _known(session, place)
        if session.binding.objects.local:
            await session.register()
            uploads = session.uploads
            ref = Native(await uploads.store(data, known), len(data))
        else:
            digest = digest_of(data) if len(data) <= _AT_ONCE_BYTES else await asyncio.to_thread(digest_of, data)
            ref = Native(digest, len(data))
            if known != ref:
                await session.register()
                uploads = session.uploads
                flight = await uploads.send(digest, data)
                if session.shared and flight is not None:
                    await asyncio.wrap_future(flight)
    if isinstance(place, Chunk):
        await session.write(SetChunk(place.path, place.coords, ref), flight=flight, uploads=uploads)
    else:
        await session.write(SetLoose(place.path, place.name, ref), flight=flight, uploads=uploads)


async def _known(session: Session, place: Chunk | Loose) -> Ref | None:
    """Return what the base has at a place: the same bytes need not be sent again."""
    origin = session.view.changes.origin(place.path)
    node = await session.view.hierarchy.node(origin) if origin is not None else None
    if node is None:
        return None
    return await node_ref(session.binding.reader, node, place.coords) if isinstance(place, Chunk) else node.loose.get(place.name)


async def delete_key(session: Session, key: str) -> None:
    """Delete a key; nothing happens where there is none."""
    session.require_writable()
    match await session.view.locate(key):
        case Document(path, name):
            if name in (await session.view.documents(path)):
                await session.write(SetDocument(path, name, None))
        case Chunk() as place:
            if await session.view.ref(place) is not None:
                await session.write(SetChunk(place.path, place.coords, None))
        case Loose() as place:
            if await session.view.ref(place) is not None:
                await session.write(SetLoose(place.path, place.name, None))


async def clear_path(session: Session, path: str) -> None:
    """Delete all keys at and below a path."""
    session.require_writable()
    gone: list[Operation] = []
    array = await session.view.array_above(path)
    grid = await session.view.grid(array) if array is not None and array != path else None
    if array is not None and grid is not None:
        # Within an array: its chunks belong to the array's node, not to the paths that their keys look like.
        inside = f"{path.removeprefix(array).strip('/')}/"
        gone += [
            SetChunk(array, coords, None) async for coords, _ in session.view.refs(array) if grid.key(coords).startswith(inside)
        ]
    async for _ in session.view.nodes(path):
        gone.append(Clear(path))
        break
    if gone:
        await session.write(*gone)


async def get_key(
    session: Session, key: str, begin: int | None = None, end: int | None = None, suffix: int | None = None
) -> bytes | None:
    """Return a key's bytes, or those of a range, or the last ones; None where there is no such key."""
    place = await session.view.locate(key)
    if isinstance(place, Document):
        data = (await session.view.documents(place.path)).get(place.name)
        return data if data is None else _cut(data, begin, end, suffix)
    ref = await session.view.ref(place)
    return None if ref is None else await fetch(session.binding, session.uploads, ref, begin, end, suffix)


async def key_size(session: Session, key: str) -> int | None:
    """Return how many bytes a key has, without reading them."""
    place = await session.view.locate(key)
    if isinstance(place, Document):
        data = (await session.view.documents(place.path)).get(place.name)
        return None if data is None else len(data)
    ref = await session.view.ref(place)
    return None if ref is None else _length(ref)


async def fetch(
    binding: Binding,
    uploads: Uploads | None,
    ref: Ref,
    begin: int | None = None,
    end: int | None = None,
    suffix: int | None = None,
) -> bytes:
    """Return the bytes that a reference names, or a range of them."""
    if isinstance(ref, Inline):
        return _cut(ref.data, begin, end, suffix)
    first, last = _range(ref.length, begin, end, suffix)
    if isinstance(ref, Virtual):
        return await binding.sources.read(ref.source, ref.offset + first, last - first) if last > first else b""
    waiting = uploads.waiting(ref.digest) if uploads is not None else None
    if waiting is not None:
        return waiting[first:last]
    key = chunk_key(ref.digest)
    if (first, last) != (0, ref.length):
        return await binding.objects.get_range(key, first, last)
    return await binding.objects.get_whole(key, ref.length, partial(binding.reader.checked, digest=ref.digest, key=key))


async def require_groups(session: Session, path: str, *, replaced: bool = False) -> None:
    """Make the groups above a path that are not there; InvalidOptionError where an array is."""
    operations: list[Operation] = []
    parts = path.split("/") if path else []
    for end in range(len(parts) + 1):
        above = "/".join(parts[:end])
        if await session.view.grid(above) is not None and not (replaced and above == path):
            raise InvalidOptionError(f"{shown(path)} lies in the array {shown(above)}: nodes are below groups only")
        if not await session.view.has_node(above):
            operations.append(SetDocument(above, "zarr.json", _new_group()))
    if operations:
        await session.write(*operations)


def _new_group() -> bytes:
    """Return what zarr writes for a group, byte for byte: two who make the same one, by zarr or by the way, have made no difference."""
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.group import GroupMetadata

    return bytes(GroupMetadata().to_buffer_dict(default_buffer_prototype())["zarr.json"].to_bytes())


async def copy_node(session: Session, source: str, target: str, *, delete: bool) -> None:
    """Put a node with all below it to another path; its chunks stay where they are.

    Parameters
    ----------
    source, target
        Paths.
    delete
        Whether the source goes away.
    """
    session.require_writable()
    if is_below(target, source) or is_below(source, target):
        raise InvalidOptionError(f"{shown(source)} can't be moved or copied to {shown(target)}: one lies in the other")
    if await session.view.exists_below(target):
        raise AlreadyExistsError(f"{session.binding.name} has {shown(target)} already: delete it first")
    operations: list[Operation] = []
    async for view in session.view.nodes(source):
        path = target + view.path[len(source) :]
        change = view.change.copy() if view.change is not None else NodeChange(view.path, False, {}, {}, {}, [])
        change.edited = False
        operations.append(PutNode(path, change))
    if not operations:
        raise NotFoundError(f"{session.binding.name} has nothing at {shown(source)}")
    if delete:
        operations.append(Clear(source))
    await require_groups(session, target.rpartition("/")[0])
    await session.write(*operations)


def _length(ref: Ref) -> int:
    return len(ref.data) if isinstance(ref, Inline) else ref.length


def _range(length: int, begin: int | None, end: int | None, suffix: int | None) -> tuple[int, int]:
    if suffix is not None:
        return max(length - suffix, 0), length
    last = length if end is None else min(end, length)
    return min(begin or 0, last), last


def _cut(data: bytes, begin: int | None, end: int | None, suffix: int | None) -> bytes:
    if begin is None and end is None and suffix is None:
        return data
    first, last = _range(len(data), begin, end, suffix)
    return data[first:last]
