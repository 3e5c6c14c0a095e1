"""Writing the history of a repo of another kind into an Icechunk repository."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import icechunk
import msgspec

from arraylake_core.backends.history import NodeChange, VirtualChunk
from arraylake_core.errors import AlreadyExistsError, ConflictError, InvalidOptionError
from arraylake_core.models import CommitInfo
from arraylake_core.names import shown
from arraylake_icechunk.errors import translated

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from zarr.abc.store import Store

    from arraylake_icechunk.repo import IcechunkRepo
    from arraylake_icechunk.session import RepoSession

__all__ = ["IcechunkWriter", "check_change"]

_WORKING = "arraylake-migration"


class _Document(msgspec.Struct):
    node_type: str
    chunk_key_encoding: msgspec.Raw = msgspec.Raw(b'"default"')


class _Encoding(msgspec.Struct):
    name: str
    configuration: dict[str, str] = {}


def check_change(change: NodeChange) -> None:
    """Raise InvalidOptionError where Icechunk has no place for something: it keeps Zarr 3 only, and nothing but documents and chunks."""
    where = shown(f"/{change.path}")
    for name in change.documents:
        if name != "zarr.json":
            raise InvalidOptionError(
                f"{where} has the document {shown(name)}, and Icechunk keeps Zarr 3 only: nothing was written; export(zarr_format=3) converts a version"
            )
    if change.loose:
        raise InvalidOptionError(
            f"{where} holds {shown(change.loose[0])}, which is no chunk, and Icechunk has no place for it: nothing was written"
        )
    if not change.documents:
        return
    try:
        document = msgspec.json.decode(change.documents["zarr.json"], type=_Document)
        if document.node_type != "array":
            return
        encoding = msgspec.json.decode(document.chunk_key_encoding, type=_Encoding | str)
    except msgspec.DecodeError:
        raise InvalidOptionError(f"{where} has a zarr.json that is no metadata of Zarr 3: nothing was written") from None
    named = _Encoding(encoding) if isinstance(encoding, str) else encoding
    if named.name != "default" or named.configuration.get("separator", "/") != "/":
        raise InvalidOptionError(f"the chunks of {where} have names that are not those of Icechunk (c/0/0): nothing was written")


class IcechunkWriter:
    """Writes commits to a branch of its own, and lets branches and tags point to them.

    Parameters
    ----------
    repo
        The repository.
    branches
        Names that are taken by the branches of the other repo.
    """

    def __init__(self, repo: "IcechunkRepo", branches: Sequence[str]) -> None:
        self._repo = repo
        self._working = _WORKING
        while self._working in branches:
            self._working += "-"
        self._session: RepoSession | None = None

    async def commits(self, stamp: str) -> dict[str, str]:
        """Return the ids of all commits whose metadata have the stamp, by its value."""
        with self._translated():
            return {str(info.metadata[stamp]): info.id async for info in self._all() if stamp in info.metadata}

    async def is_foreign(self, stamp: str) -> bool:
        """Tell whether there are commits, but none with the stamp."""
        with self._translated():
            found = [info async for info in self._all() if info.parent_id is not None]
        return bool(found) and not any(stamp in info.metadata for info in found)

    async def is_going_on(self) -> bool:
        """Tell whether a migration to it was begun and not finished."""
        with self._translated():
            return self._working in await self._repo.list_branches_async()

    async def begin(self, parent: str | None) -> None:
        """Start a version on top of a commit, or of nothing."""
        with self._translated():
            base = parent or await self._first()
            if self._working not in await self._repo.list_branches_async():
                await self._repo.create_branch_async(self._working, base)
            elif await self._repo.lookup_branch_async(self._working) != base:
                await self._repo.reset_branch_async(self._working, base)
            self._session = await self._repo.writable_session_async(self._working)

    async def delete_node(self, path: str) -> None:
        """Delete a node with all that it holds."""
        await self.delete(f"{path}/zarr.json" if path else "zarr.json")

    async def put(self, key: str, data: bytes) -> None:
        """Write a key."""
        from zarr.core.buffer import default_buffer_prototype

        with self._translated():
            await self._open.store.set(key, default_buffer_prototype().buffer.from_bytes(data))

    async def delete(self, key: str) -> None:
        """Delete a key; a missing one does no harm."""
        with self._translated():
            if await self._open.store.exists(key):
                await self._open.store.delete(key)

    async def put_virtual(self, path: str, chunks: Sequence[tuple[str, VirtualChunk]]) -> None:
        """Write virtual chunks of an array."""
        specs = [_spec(key, chunk) for key, chunk in chunks]
        with self._translated():
            refused = await self._open.store.set_virtual_refs_async(f"/{path}", specs, validate_containers=True)
        if refused:
            url = next(chunk.url for key, chunk in chunks if _coords(key) == list(refused[0]))
            raise InvalidOptionError(
                f"no virtual chunk container of {self._repo.name} covers {shown(url)}: client.update_virtual_chunk_containers adds one, "
                "then migrate again; it goes on where it stopped"
            )

    async def commit(self, info: CommitInfo, metadata: Mapping[str, object]) -> str:
        """Commit the version with the message and author of another commit."""
        # Who migrates would otherwise be stamped as the author.
        author = {"author_name": info.author.name, "author_email": info.author.email} if info.author is not None else {}
        with self._translated():
            return await self._open.commit_async(info.message, {**metadata, **author}, allow_empty=True)

    async def point_branch(self, name: str, commit: str) -> None:
        """Let a branch point to a commit; ConflictError where it has commits of its own."""
        with self._translated():
            if name not in await self._repo.list_branches_async():
                await self._repo.create_branch_async(name, commit)
                return
            at = await self._repo.lookup_branch_async(name)
            if at == commit or commit in [info.id async for info in self._repo.async_ancestry(snapshot_id=at)]:
                return
            if at not in [info.id async for info in self._repo.async_ancestry(snapshot_id=commit)]:
                raise ConflictError(
                    f"the branch {shown(name)} of {self._repo.name} has commits of its own, and the other repo's has others: migrate to another "
                    "new_name, or reset the branch"
                )
            await self._repo.reset_branch_async(name, commit, from_snapshot_id=at)

    async def point_tag(self, name: str, commit: str) -> None:
        """Let a tag point to a commit."""
        with self._translated():
            if name in await self._repo.list_tags_async():
                if await self._repo.lookup_tag_async(name) != commit:
                    raise ConflictError(
                        f"the tag {shown(name)} of {self._repo.name} is another commit: migrate to another new_name"
                    )
                return
            try:
                await self._repo.create_tag_async(name, commit)
            except AlreadyExistsError as error:
                raise ConflictError(
                    f"{self._repo.name} has had a tag {shown(name)}, and Icechunk makes no tag twice: {error}"
                ) from None

    async def finish(self) -> None:
        """Delete the working branch."""
        self._session = None
        if await self.is_going_on():
            with self._translated():
                await self._repo.delete_branch_async(self._working)

    async def store(self, commit: str) -> "Store":
        """Return a read-only zarr Store of a commit."""
        with self._translated():
            return (await self._repo.readonly_session_async(snapshot_id=commit)).store

    @property
    def _open(self) -> "RepoSession":
        assert self._session is not None, "begin() comes first"
        return self._session

    async def _first(self) -> str:
        """Return the commit that the repository was made with."""
        first = [info.id async for info in self._repo.async_ancestry(branch="main")]
        return first[-1]

    async def _all(self) -> AsyncIterator[icechunk.SnapshotInfo]:
        """Give each commit that a branch or tag reaches."""
        heads = [await self._repo.lookup_branch_async(name) for name in sorted(await self._repo.list_branches_async())]
        heads += [await self._repo.lookup_tag_async(name) for name in sorted(await self._repo.list_tags_async())]
        seen: set[str] = set()
        for head in heads:
            async for info in self._repo.async_ancestry(snapshot_id=head):
                if info.id in seen:
                    break
                seen.add(info.id)
                yield info

    def _translated(self) -> "AbstractContextManager[None]":
        return translated(self._repo.name, self._repo.binding.place)


def _coords(key: str) -> list[int]:
    return [int(part) for part in key.split("/")[1:]]


def _spec(key: str, chunk: VirtualChunk) -> icechunk.VirtualChunkSpec:
    # Icechunk compares whole seconds, and takes a file for changed that is younger than this.
    at = datetime.fromtimestamp(chunk.modified // 10**9, UTC) + timedelta(seconds=1) if chunk.modified is not None else None
    return icechunk.VirtualChunkSpec(
        index=_coords(key),
        location=chunk.url,
        offset=chunk.offset,
        length=chunk.length,
        etag_checksum=chunk.etag,
        last_updated_at_checksum=at if chunk.etag is None else None,
    )
