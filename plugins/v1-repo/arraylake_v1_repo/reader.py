"""Reading immutable objects, each once: what was read is kept while there is room, and many who ask at once wait for one request."""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import cast
from weakref import WeakKeyDictionary

from arraylake_core.errors import RefNotFoundError, StorageError
from arraylake_core.names import shown
from arraylake_v1_repo.format import (
    Commit,
    Node,
    NodeTable,
    ShardColumns,
    Snapshot,
    commit_id,
    commit_key,
    decode_document,
    decode_object,
    digest_of,
    manifest_key,
    snapshot_key,
)
from arraylake_v1_repo.manifest import Shard
from arraylake_v1_repo.objects import Objects

__all__ = ["Reader", "Table"]

_ROOM = 48 * 2**20
"""Bytes of decoded metadata that are kept for a repo."""


class Table:
    """A part of the node table, for look-up by path."""

    __slots__ = ("by_path", "nodes")

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = nodes
        self.by_path = {node.path: node for node in nodes}


class Reader:
    """Reads snapshots, node tables, shards and commits of one repo.

    Parameters
    ----------
    objects
        The repo's objects.
    """

    def __init__(self, objects: Objects) -> None:
        self.objects = objects
        self._kept: OrderedDict[str, tuple[object, int]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()
        self._flights: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[object]]] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[type["Reader"], tuple[Objects]]:
        return type(self), (self.objects,)

    async def snapshot(self, digest: bytes) -> Snapshot:
        """Return a snapshot."""
        key = snapshot_key(digest)

        def decode(data: bytes) -> tuple[Snapshot, int]:
            return decode_object(self.checked(data, digest, key), Snapshot, self.where(key)), 2 * len(data) + 1000

        return await self._load(key, decode)

    async def table(self, digest: bytes) -> Table:
        """Return a part of a node table."""
        key = snapshot_key(digest)

        def decode(data: bytes) -> tuple[Table, int]:
            table = Table(decode_object(self.checked(data, digest, key), NodeTable, self.where(key)).nodes)
            return table, sum(500 + sum(map(len, node.documents.values())) + _grid_size(node) for node in table.nodes)

        return await self._load(key, decode)

    async def shard(self, digest: bytes) -> Shard:
        """Return a shard of a manifest."""
        key = manifest_key(digest)

        def decode(data: bytes) -> tuple[Shard, int]:
            shard = Shard(decode_object(self.checked(data, digest, key), ShardColumns, self.where(key)))
            return shard, shard.nbytes

        return await self._load(key, decode)

    async def commit(self, commit: str) -> Commit:
        """Return a commit; RefNotFoundError where the repo has none of that id."""
        key = commit_key(commit)

        def decode(data: bytes) -> tuple[Commit, int]:
            if commit_id(data) != commit:
                raise StorageError(f"{self.where(key)} is not the commit that was written: restore it from a backup")
            return decode_document(data, Commit, self.where(key)), 3 * len(data) + 500

        try:
            return await self._load(key, decode)
        except FileNotFoundError:
            raise RefNotFoundError(
                f"there is no commit {shown(commit)} in the repo at {self.objects.place}: it was expired, or is of another repo"
            ) from None

    def where(self, key: str) -> str:
        """Return how messages call an object."""
        return f"{key} at {self.objects.place}"

    def keep(self, digest: bytes, value: Snapshot | NodeTable | ShardColumns, size: int) -> None:
        """Keep what was just written, so that it need not be read."""
        match value:
            case Snapshot():
                self._keep(snapshot_key(digest), value, 2 * size + 1000)
            case NodeTable(nodes=nodes):
                self._keep(snapshot_key(digest), Table(nodes), 4 * size)
            case ShardColumns():
                shard = Shard(value)
                self._keep(manifest_key(digest), shard, shard.nbytes)

    def checked(self, data: bytes, digest: bytes, key: str) -> bytes:
        """Return an object's bytes; StorageError where they are not those that were written, which the digest tells."""
        if digest_of(data) != digest:
            raise StorageError(
                f"{self.where(key)} is not what was written: it was overwritten or cut off; restore it from a backup"
            )
        return data

    async def _load[T](self, key: str, decode: Callable[[bytes], tuple[T, int]]) -> T:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return cast("T", found[0])
        loop = asyncio.get_running_loop()
        flights = self._flights.setdefault(loop, {})
        flight = flights.get(key)
        if flight is None:
            flight = flights[key] = loop.create_task(self._fetch(key, decode))
            flight.add_done_callback(lambda _: flights.pop(key, None))
        return cast("T", await asyncio.shield(flight))

    async def _fetch[T](self, key: str, decode: Callable[[bytes], tuple[T, int]]) -> object:
        data = await self.objects.get(key)
        if data is None:
            if key.startswith("commits/"):
                raise FileNotFoundError(key)
            raise StorageError(
                f"{self.where(key)} is missing: it was deleted or moved; restore it from a backup, and run repo.verify()"
            )
        value, size = decode(data)
        self._keep(key, value, size)
        return value

    def _keep(self, key: str, value: object, size: int) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = (value, size)
            self._size += size
            while self._size > _ROOM and len(self._kept) > 1:
                _, (_, freed) = self._kept.popitem(last=False)
                self._size -= freed


def _grid_size(node: Node) -> int:
    return len(node.grid.coords) + len(node.grid.digests) if node.grid is not None else 0
