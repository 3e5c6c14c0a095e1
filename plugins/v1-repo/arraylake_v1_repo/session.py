"""A session: a commit to read, and on a branch what was changed since, by one process or by several."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from datetime import datetime, timedelta
from typing import NamedTuple, cast

import msgspec

from arraylake_core.errors import AlreadyExistsError, ConflictError, InvalidOptionError, NotFoundError, ReadOnlyError, RefNotFoundError, StorageError
from arraylake_core.loops import run, submit
from arraylake_core.models import Author, utc_now
from arraylake_core.names import shown
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.changes import ChangeSet, Clear, NodeChange, Operation, PutNode, SetChunk, SetDocument, SetLoose
from arraylake_v1_repo.format import Inline, Native, Node, Ref, Virtual, chunk_key, digest_of
from arraylake_v1_repo.hierarchy import Hierarchy, grid_of, node_ref, node_refs
from arraylake_v1_repo.journal import Journal, JournalEnd
from arraylake_v1_repo.keys import DOCUMENTS, ArrayGrid, check_key, is_below, sort_key
from arraylake_v1_repo.upkeep.holds import read_state
from arraylake_v1_repo.uploads import Uploads

__all__ = ["DEFAULT_LIFETIME", "INLINE_BYTES", "LONGEST_LIFETIME", "NodeView", "Session", "SessionInfo", "SessionRecord", "end_of", "join"]

DEFAULT_LIFETIME = timedelta(hours=24)
LONGEST_LIFETIME = timedelta(days=7)
INLINE_BYTES = 512
"""Chunks of up to so many bytes are kept in the manifest."""


_GROUP = b'{"zarr_format":3,"node_type":"group","attributes":{}}'


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The ref ``session/<id>``."""

    base: str
    branch: str
    author: Author
    created: datetime
    expires: datetime
    shared: bool = False


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is going on.

    Parameters
    ----------
    id
        For ``join_session``.
    branch, base
        What will be committed to, and on top of which commit.
    author
        Who began it.
    created, expires
        When it began, and when it ends.
    shared
        Whether others can join it.
    """

    id: str
    branch: str
    base: str
    author: Author
    created: datetime
    expires: datetime
    shared: bool


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


class Session:
    """One checkout.

    Parameters
    ----------
    binding
        The repo.
    base
        The id of the commit that it starts from.
    hierarchy
        That commit's snapshot.
    branch
        The branch that it commits to; None where it reads a tag or commit.
    expires
        When it ends; None where it only reads.
    id, shared
        Of a session that others write to as well.
    """

    def __init__(
        self,
        binding: Binding,
        *,
        base: str,
        hierarchy: Hierarchy,
        branch: str | None,
        expires: datetime | None,
        id: str | None = None,  # noqa: A002 - it is called so everywhere else
    ) -> None:
        self.binding, self.base, self.hierarchy, self.branch = binding, base, hierarchy, branch
        self._expires = expires
        self._lifetime = expires - utc_now() if expires is not None else DEFAULT_LIFETIME
        self._lock = threading.RLock()
        self._begin(id)
        if id is not None:
            self._registered = True
            self._journal = self._new_journal()
            # Whatever collections there were may have been since it began.
            self.garbage_count = -1

    def _begin(self, id: str | None = None) -> None:  # noqa: A002
        """Start with nothing changed."""
        self.key = id or secrets.token_hex(12)
        self.changes = ChangeSet()
        self.uploads = Uploads(self.binding.objects)
        self.attempt: str | None = None
        self.garbage_count = 0
        self._grids: dict[str, ArrayGrid | None] = {}
        self._registering: Future[None] | None = None
        self._sharing: Future[None] | None = None
        self._registered = False
        self._journal: Journal | None = None
        self._ended: str | None = None

    def advance(self, base: str, hierarchy: Hierarchy, branch: str | None = None) -> None:
        """Go on from another commit with nothing changed: after a commit, or a fast-forward."""
        with self._lock:
            self.base, self.hierarchy, self.branch = base, hierarchy, branch or self.branch
            self._begin()
            self._expires = utc_now() + self._lifetime if self._expires is not None else None

    def rebased(self, base: str, hierarchy: Hierarchy, changes: ChangeSet) -> None:
        """Go on from another commit with these changes."""
        with self._lock:
            self.base, self.hierarchy, self.changes = base, hierarchy, changes
            self._grids.clear()

    def __repr__(self) -> str:
        where = f"on branch {self.branch}" if self.branch is not None else "at"
        return f"<Session {self.binding.name} {where} {self.base}{', read-only' if self.read_only else ''}>"

    def __reduce__(self) -> "tuple[object, tuple[object, ...]]":
        if not self.read_only:
            run(self.share())
        return _wake_up, (
            self.binding,
            self.base,
            self.hierarchy.digest,
            self.branch,
            self.expires,
            None if self.read_only else self.key,
        )

    @property
    def id(self) -> str | None:
        """What ``join_session`` takes; reading it shares the session, so that every write is in its journal from then on."""
        if self.read_only:
            return None
        run(self.share())
        return self.key

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written."""
        return self._expires is None

    @property
    def expires(self) -> datetime | None:
        """When it ends."""
        return self._journal.expires if self._journal is not None else self._expires

    @property
    def author(self) -> Author:
        """Who writes."""
        return self.binding.author

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""
        return self._journal is not None

    @property
    def journal(self) -> Journal | None:
        """What others read of a shared session."""
        return self._journal

    # Its life

    def require_writable(self) -> None:
        """Raise where nothing can be written, because of what the session is, or because it is over."""
        if self._ended is not None:
            raise ConflictError(f"the session {self.key} was {self._ended}: check out the branch again, and write it there")
        if self._journal is not None:
            self._journal.require_open()
        expires = self.expires
        if expires is None:
            where = f"at the branch {self.branch}, opened read-only" if self.branch is not None else f"at the commit {self.base}"
            raise ReadOnlyError(
                f"this checkout of {self.binding.name} is read-only ({where}): to write, repo.checkout(branch) of a repo that is not read-only"
            )
        if expires <= utc_now():
            raise ConflictError(
                f"the session {self.key} expired at {expires:%Y-%m-%d %H:%M:%S} UTC: check out the branch again; checkout(expires_in=...) "
                "and session.update_expiration(...) make sessions that last longer, up to 7 days"
            )

    async def share(self) -> None:
        """Let other processes write to it: from now on, each write is in the journal before it returns.

        Raises
        ------
        ReadOnlyError
            It can't be written to.
        """
        if self._journal is not None:
            return
        self.require_writable()
        with self._lock:
            if self._sharing is None:
                self._sharing = submit(self._share())
                self._sharing.add_done_callback(self._after_share)
            waiting = self._sharing
        await asyncio.shield(asyncio.wrap_future(waiting))

    async def _share(self) -> None:
        await self.register()
        journal = self._new_journal()
        while True:
            with self._lock:
                operations = list(self.changes.operations())
                operations = [PutNode(op.path, op.change.copy()) if isinstance(op, PutNode) else op for op in operations]
                version = self._version
            await self.uploads.flush()
            await journal.begin(operations)
            with self._lock:
                if self._version == version:
                    self._journal = journal
                    break
            # Somebody wrote meanwhile: what they wrote is appended too, as the whole once more.
        await self._change_record(shared=True)

    async def register(self) -> None:
        """Record the session in the catalog, so that it is listed, and gc spares what it uses."""
        if self._registered:
            return
        with self._lock:
            if self._registering is None:
                self._registering = submit(self._register())
                self._registering.add_done_callback(self._after_register)
            waiting = self._registering
        await asyncio.shield(asyncio.wrap_future(waiting))

    async def _register(self) -> None:
        assert self.branch is not None
        assert self._expires is not None
        # Before anything is sent: collections from now on are seen by the commit.
        _, garbage = await read_state(self.binding.coordination)
        self.garbage_count = garbage.count
        record = SessionRecord(
            base=self.base, branch=self.branch, author=self.binding.author, created=utc_now(), expires=self._expires
        )
        await self.binding.coordination.put_ref(f"session/{self.key}", msgspec.to_builtins(record), expected=None)
        self._registered = True

    def _after_share(self, future: "Future[None]") -> None:
        if future.exception() is not None:
            self._sharing = None

    def _after_register(self, future: "Future[None]") -> None:
        if future.exception() is not None:
            self._registering = None

    async def _change_record(self, **fields: object) -> None:
        for _ in range(100):
            found = await self.binding.coordination.get_ref(f"session/{self.key}")
            if found is None:
                return
            record = msgspec.structs.replace(msgspec.convert(found.value, SessionRecord), **fields)
            try:
                await self.binding.coordination.put_ref(found.name, msgspec.to_builtins(record), expected=found.version)
            except ConflictError:
                continue
            return

    async def change_base(self, base: str) -> None:
        """Record in the catalog that it is based on another commit now."""
        if self._registered:
            await self._change_record(base=base)

    async def move_to(self, branch: str) -> None:
        """Go on on another branch that begins at the same commit, with what was changed."""
        if self.shared:
            raise ConflictError(f"the session {self.key} is shared, and others write to it for the branch {self.branch}: commit it first")
        await self.unregister()
        with self._lock:
            self.branch = branch
            self._registered, self._registering, self.key = False, None, secrets.token_hex(12)
        if self.changes:
            await self.register()

    async def unregister(self) -> None:
        """Take it off the list of sessions that are going on."""
        if not self._registered:
            return
        found = await self.binding.coordination.get_ref(f"session/{self.key}")
        if found is not None:
            try:
                await self.binding.coordination.delete_ref(found.name, expected=found.version)
            except ConflictError:
                return

    async def update_expiration(self, expires: datetime | timedelta) -> datetime:
        """Let it end at another time.

        Parameters
        ----------
        expires
            A time with a time zone, or how long from now; seven days at most.

        Returns
        -------
        datetime
            The new end.
        """
        self.require_writable()
        at = end_of(expires)
        await self.register()
        self._expires = at
        if self._journal is not None:
            await self._journal.extend(at)
        await self._change_record(expires=at)
        return at

    async def abandon(self) -> None:
        """Give up what was written; whoever writes to it afterwards gets an error that says so."""
        if self.read_only or self._ended is not None:
            return
        if self._journal is not None:
            await self._journal.close(JournalEnd("abandoned"))
        await self.unregister()
        self._ended = "abandoned"
        self.changes = ChangeSet()

    def _new_journal(self) -> Journal:
        assert self._expires is not None
        return Journal(self.key, self.binding.coordination, self.binding.objects, self._expires, self._take)

    # Writing

    _version = 0

    def _take(self, operation: Operation) -> None:
        """Add an operation to the changes."""
        with self._lock:
            self._version += 1
            self.changes.apply(operation)
            match operation:
                case SetDocument(path, "zarr.json" | ".zarray"):
                    self._grids.pop(path, None)
                case Clear() | PutNode():
                    self._grids.clear()

    async def write(self, *operations: Operation) -> None:
        """Change something; where the session is shared, it is in the journal when this returns."""
        self.require_writable()
        if not self._registered:
            await self.register()
        with self._lock:
            if self._journal is None:
                for operation in operations:
                    self._take(operation)
                return
        try:
            await asyncio.wrap_future(self._journal.append(operations))
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(
                f"the catalog could not be reached from here to record a write to {self.binding.name} ({type(error).__name__}): "
                "use a catalog that all workers reach, such as a service"
            ) from None

    async def refresh(self) -> None:
        """Take in what others wrote to a shared session."""
        if self._journal is not None and self._ended is None and self._journal.end is None:
            await asyncio.wrap_future(self._journal.append(()))

    async def set(self, key: str, data: bytes) -> None:
        """Write a key of the zarr store."""
        place = await self.locate(key)
        if isinstance(place, Document):
            await self.write(SetDocument(place.path, place.name, data))
            return
        self.require_writable()
        ref: Ref
        if len(data) <= INLINE_BYTES:
            ref = Inline(data)
        else:
            ref = Native(digest_of(data), len(data))
            if await self._known(place) != ref:
                if not self._registered:
                    await self.register()
                flight = await self.uploads.send(ref.digest, data)
                if self._journal is not None and flight is not None:
                    await asyncio.wrap_future(flight)
        if isinstance(place, Chunk):
            await self.write(SetChunk(place.path, place.coords, ref))
        else:
            await self.write(SetLoose(place.path, place.name, ref))

    async def _known(self, place: Chunk | Loose) -> Ref | None:
        """Return what the base has at a place: the same bytes need not be sent again."""
        origin = self.changes.origin(place.path)
        node = await self.hierarchy.node(origin) if origin is not None else None
        if node is None:
            return None
        return await node_ref(self.binding.reader, node, place.coords) if isinstance(place, Chunk) else node.loose.get(place.name)

    async def delete(self, key: str) -> None:
        """Delete a key; nothing happens where there is none."""
        self.require_writable()
        match await self.locate(key):
            case Document(path, name):
                if name in (await self._documents(path)):
                    await self.write(SetDocument(path, name, None))
            case Chunk() as place:
                if await self.ref(place) is not None:
                    await self.write(SetChunk(place.path, place.coords, None))
            case Loose() as place:
                if await self.ref(place) is not None:
                    await self.write(SetLoose(place.path, place.name, None))

    async def clear(self, path: str) -> None:
        """Delete all keys at and below a path."""
        self.require_writable()
        array = await self._array_above(path)
        if array is None:
            parent, _, name = path.rpartition("/")
            if path and name in (await self._view(parent)).loose:
                return
            async for _ in self.views(path):
                await self.write(Clear(path))
                return
            return
        inside = f"{path.removeprefix(array).strip('/')}/"
        grid = await self.grid(array)
        assert grid is not None
        gone: list[Operation] = [
            SetChunk(array, coords, None) async for coords, _ in self.refs(array) if grid.key(coords).startswith(inside)
        ]
        gone += [
            SetLoose(view.path, name, None) async for view in self.views(path) for name in view.loose
        ]
        if gone:
            await self.write(*gone)

    # Reading

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
            version = self._version
            grid = grid_of(await self._documents(path))
            if len(self._grids) > 10_000:
                self._grids.clear()
            if version == self._version:
                self._grids[path] = grid
            return grid

    async def _base(self, path: str) -> tuple[Node | None, NodeChange | None]:
        change = self.changes.nodes.get(path)
        origin = self.changes.origin(path)
        return (await self.hierarchy.node(origin) if origin is not None else None), change

    async def _documents(self, path: str) -> dict[str, bytes]:
        return (await self._view(path)).documents

    async def _view(self, path: str) -> NodeView:
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
        ref = await node_ref(self.binding.reader, node, place.coords)
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

    async def get(self, key: str, begin: int | None = None, end: int | None = None, suffix: int | None = None) -> bytes | None:
        """Return a key's bytes, or those of a range, or the last ones; None where there is no such key."""
        place = await self.locate(key)
        if isinstance(place, Document):
            data = (await self._documents(place.path)).get(place.name)
            return data if data is None else _cut(data, begin, end, suffix)
        ref = await self.ref(place)
        return None if ref is None else await self.fetch(ref, begin, end, suffix)

    async def size(self, key: str) -> int | None:
        """Return how many bytes a key has, without reading them."""
        place = await self.locate(key)
        if isinstance(place, Document):
            data = (await self._documents(place.path)).get(place.name)
            return None if data is None else len(data)
        ref = await self.ref(place)
        return None if ref is None else _length(ref)

    async def fetch(self, ref: Ref, begin: int | None = None, end: int | None = None, suffix: int | None = None) -> bytes:
        """Return the bytes that a reference names, or a range of them."""
        if isinstance(ref, Inline):
            return _cut(ref.data, begin, end, suffix)
        first, last = _range(ref.length, begin, end, suffix)
        if isinstance(ref, Virtual):
            return await self.binding.sources.read(ref.source, ref.offset + first, last - first) if last > first else b""
        waiting = self.uploads.waiting(ref.digest)
        if waiting is not None:
            return waiting[first:last]
        key = chunk_key(ref.digest)
        if (first, last) != (0, ref.length):
            return await self.binding.objects.get_range(key, first, last)
        data = await self.binding.objects.get(key)
        if data is None or len(data) != ref.length:
            problem = "missing" if data is None else f"cut off ({len(data)} bytes of {ref.length})"
            raise StorageError(
                f"{key} at {self.binding.objects.place} is {problem}: it was deleted or moved; restore it from a backup, "
                "and run repo.verify() to find others"
            )
        return data

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
            async for coords, ref in node_refs(self.binding.reader, node):
                if coords not in seen:
                    yield coords, ref

    async def views(self, path: str = "") -> AsyncIterator[NodeView]:
        """Give what is at a path and below it, in order; without what is empty."""
        changed = sorted((known for known in list(self.changes.nodes) if is_below(known, path)), key=sort_key)
        waiting = list(reversed(changed))
        names = set(changed)
        if not self.changes.cleared or not any(is_below(path, above) for above in self.changes.cleared):
            async for node in self.hierarchy.nodes(path):
                while waiting and sort_key(waiting[-1]) <= sort_key(node.path):
                    view = await self._view(waiting.pop())
                    if view.documents or view.loose:
                        yield view
                if node.path not in names and not self.changes.is_cleared(node.path):
                    yield _merged(node.path, node, None)
        while waiting:
            view = await self._view(waiting.pop())
            if view.documents or view.loose:
                yield view

    async def native_digests(self) -> AsyncIterator[bytes]:
        """Give the digest of each chunk that it wrote to the bucket."""
        for change in list(self.changes.nodes.values()):
            for ref in (*list(change.chunks.values()), *list(change.loose.values())):
                if isinstance(ref, Native):
                    yield ref.digest

    async def locate_node(self, path: str) -> bool:
        """Tell whether there is a node right at a path."""
        return bool((await self._view(path)).documents)

    async def require_groups(self, path: str) -> None:
        """Make the groups above a path that are not there; InvalidOptionError where an array is."""
        operations: list[Operation] = []
        parts = path.split("/") if path else []
        for end in range(len(parts) + 1):
            above = "/".join(parts[:end])
            if await self.grid(above) is not None and above != path:
                raise InvalidOptionError(f"{shown(path)} lies in the array {shown(above)}: nodes are below groups only")
            if not await self.locate_node(above):
                operations.append(SetDocument(above, "zarr.json", _GROUP))
        if operations:
            await self.write(*operations)

    async def copy(self, source: str, target: str, *, delete: bool) -> None:
        """Put a node with all below it to another path; its chunks stay where they are.

        Parameters
        ----------
        source, target
            Paths.
        delete
            Whether the source goes away.
        """
        self.require_writable()
        if is_below(target, source) or is_below(source, target):
            raise InvalidOptionError(f"{shown(source)} can't be moved or copied to {shown(target)}: one lies in the other")
        if await self.exists_below(target):
            raise AlreadyExistsError(f"{self.binding.name} has {shown(target)} already: delete it first")
        operations: list[Operation] = []
        async for view in self.views(source):
            path = target + view.path[len(source) :]
            change = view.change.copy() if view.change is not None else NodeChange(view.path, False, {}, {}, {}, [])
            change.edited = False
            operations.append(PutNode(path, change))
        if not operations:
            raise NotFoundError(f"{self.binding.name} has nothing at {shown(source)}")
        if delete:
            operations.append(Clear(source))
        await self.require_groups(target.rpartition("/")[0])
        await self.write(*operations)

    async def exists_below(self, path: str) -> bool:
        """Tell whether there is anything at a path or below it."""
        async for _ in self.views(path):
            return True
        return False

    async def children(self, path: str) -> AsyncIterator[str]:
        """Give the names of documents, chunks, loose keys and nodes right below a path."""
        names: set[str] = set()
        array = await self._array_above(path)
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
        view = await self._view(path)
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
        array = await self._array_above(path)
        if array is not None and array != path:
            async for key in self.keys(array):
                if is_below(key, path):
                    yield key
            return
        async for view in self.views(path):
            start = f"{view.path}/" if view.path else ""
            for name in (*view.documents, *view.loose):
                yield start + name
            grid = grid_of(view.documents)
            if grid is not None:
                async for coords, _ in self.refs(view.path):
                    yield start + grid.key(coords)
        parent, _, name = path.rpartition("/")
        if path:
            above = await self._view(parent)
            if name in above.documents or name in above.loose:
                yield path

    async def _array_above(self, path: str) -> str | None:
        """Return the path of the array that a path is, or lies in."""
        parts = path.split("/") if path else []
        for end in range(len(parts) + 1):
            above = "/".join(parts[:end])
            if await self.grid(above) is not None:
                return above
        return None


async def wake_up(
    binding: Binding, base: str, snapshot: bytes, branch: str | None, expires: datetime | None, id: str | None  # noqa: A002
) -> Session:
    """Return a session that was pickled, or joined."""
    return Session(
        binding, base=base, hierarchy=await Hierarchy.open(binding.reader, snapshot), branch=branch, expires=expires, id=id
    )


def _wake_up(*fields: object) -> Session:
    return run(wake_up(*fields))  # type: ignore[arg-type]


async def join(binding: Binding, id: str) -> Session:  # noqa: A002
    """Return a session that another process shares."""
    binding.require_writable()
    found = await binding.coordination.get_ref(f"session/{id}") if isinstance(id, str) and id.isalnum() else None
    if found is None:
        raise NotFoundError(
            f"{binding.name} has no session {shown(id)} that is going on: it was committed, abandoned or has expired; "
            "repo.list_active_sessions() shows those that there are"
        )
    record = msgspec.convert(found.value, SessionRecord)
    if not record.shared:
        raise ConflictError(
            f"the session {id} is not shared: in the process that began it, read repo.session.id, call repo.session.share(), or pickle its store"
        )
    commit = await binding.reader.commit(record.base)
    return await wake_up(binding, record.base, bytes.fromhex(commit.snapshot), record.branch, record.expires, id)


def end_of(expires: datetime | timedelta) -> datetime:
    now = utc_now()
    if isinstance(expires, datetime) and expires.tzinfo is None:
        raise InvalidOptionError("the end of a session needs a time zone: use datetime.now(UTC) + timedelta(hours=24)")
    if not isinstance(expires, datetime | timedelta):
        raise InvalidOptionError(f"the end of a session is a datetime or a timedelta, not a {type(expires).__name__}")
    at = expires if isinstance(expires, datetime) else now + expires
    if not now < at <= now + LONGEST_LIFETIME:
        raise InvalidOptionError(f"a session lasts up to 7 days from now, and ends in the future: {at:%Y-%m-%d %H:%M} UTC does neither or not both")
    return at


def _may_be_chunk(part: str) -> bool:
    return part == "c" or part[0].isdigit() or part.startswith("c.")


def _merged(path: str, node: Node | None, change: NodeChange | None) -> NodeView:
    documents = node.documents if node is not None else {}
    loose = node.loose if node is not None else {}
    if change is not None:
        documents = {**documents, **change.documents}
        documents = {name: data for name, data in documents.items() if data is not None}
        loose = {name: ref for name, ref in {**loose, **change.loose}.items() if ref is not None}
    return NodeView(path, dict(documents), dict(loose), node, change)


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
