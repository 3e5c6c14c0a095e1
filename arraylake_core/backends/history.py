"""Moving a repo with its whole history from one kind to another: what a kind must give, and what a kind must take.

Both are optional capabilities of a ``RepoBackend``. The core opens both repos and carries everything over, so that no kind knows another one.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import msgspec

from arraylake_core.backends.repo_kind import RepoHandle
from arraylake_core.models import CommitInfo

if TYPE_CHECKING:
    from zarr.abc.store import Store

__all__ = ["Chunk", "GivesHistory", "History", "HistoryWriter", "NodeChange", "StoredChunk", "TakesHistory", "VirtualChunk"]


class StoredChunk(NamedTuple):
    """A chunk that the repo keeps.

    Parameters
    ----------
    length
        In bytes.
    read
        Reads them.
    """

    length: int
    read: Callable[[], Awaitable[bytes]]


class VirtualChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A chunk that lies in a file which is not the repo's.

    Parameters
    ----------
    url
        The file.
    offset, length
        Where it lies in there, in bytes.
    etag, modified
        The version of the file: what its object store calls it, or when it was modified, in nanoseconds since the epoch.
    """

    url: str
    offset: int
    length: int
    etag: str | None = None
    modified: int | None = None


type Chunk = StoredChunk | VirtualChunk


class NodeChange(NamedTuple):
    """What a commit does to a group or array.

    Parameters
    ----------
    path
        Without a slash at either end; the root is "".
    documents
        The metadata documents that it has afterwards, by name; empty where it goes away.
    anew
        Whether nothing of what was there before stays.
    loose
        The names of what else is kept at the path, which is no chunk; ``chunks`` gives them too.
    chunks
        Gives each key, below the path, that changes, and None where it goes away. It may be called more than once.
    """

    path: str
    documents: Mapping[str, bytes]
    anew: bool
    loose: tuple[str, ...]
    chunks: Callable[[], AsyncIterator[tuple[str, Chunk | None]]]


class History(Protocol):
    """All versions of an open repo."""

    @property
    def kind(self) -> str:
        """The kind of the repo; commits elsewhere are stamped with it, as in ``v1_commit``."""
        ...

    async def branches(self) -> Mapping[str, str]:
        """Return each branch and the id of its last commit."""
        ...

    async def tags(self) -> Mapping[str, str]:
        """Return each tag and the id of its commit."""
        ...

    def ancestry(self, commit: str) -> AsyncIterator[CommitInfo]:
        """Give a commit and those before it, the newest first."""
        ...

    def changes(self, commit: str, since: str | None) -> AsyncIterator[NodeChange]:
        """Give what differs between two commits, or between nothing and one: what goes away first, the lowest first; then what is there, the highest first.

        Raises
        ------
        InvalidOptionError
            Something in the version is not what other kinds could take.
        """
        ...

    async def store(self, commit: str) -> "Store":
        """Return a read-only zarr Store of a commit."""
        ...


class HistoryWriter(Protocol):
    """An open repo that another one's history is written to."""

    async def commits(self, stamp: str) -> dict[str, str]:
        """Return the ids of all commits whose metadata have the stamp, by its value."""
        ...

    async def is_foreign(self, stamp: str) -> bool:
        """Tell whether there are commits, but none with the stamp: then it is no copy of another repo."""
        ...

    async def is_going_on(self) -> bool:
        """Tell whether a migration to it was begun and not finished."""
        ...

    async def begin(self, parent: str | None) -> None:
        """Start a version on top of a commit, or of nothing."""
        ...

    async def delete_node(self, path: str) -> None:
        """Delete a node with all that it holds."""
        ...

    async def put(self, key: str, data: bytes) -> None:
        """Write a key."""
        ...

    async def delete(self, key: str) -> None:
        """Delete a key; a missing one does no harm."""
        ...

    async def put_virtual(self, path: str, chunks: Sequence[tuple[str, VirtualChunk]]) -> None:
        """Write virtual chunks of an array."""
        ...

    async def commit(self, info: CommitInfo, metadata: Mapping[str, object]) -> str:
        """Commit the version, even if nothing changed, with the message and author of another commit; return its id."""
        ...

    async def point_branch(self, name: str, commit: str) -> None:
        """Let a branch point to a commit.

        Raises
        ------
        ConflictError
            It has commits of its own.
        """
        ...

    async def point_tag(self, name: str, commit: str) -> None:
        """Let a tag point to a commit; ConflictError where it points to another one."""
        ...

    async def finish(self) -> None:
        """Take away what only the migration needed."""
        ...

    async def store(self, commit: str) -> "Store":
        """Return a read-only zarr Store of a commit."""
        ...


@runtime_checkable
class GivesHistory(Protocol):
    """A repo kind whose repos can be migrated to others."""

    def history(self, handle: RepoHandle) -> History:
        """Return the history of an open repo of the kind."""
        ...


@runtime_checkable
class TakesHistory(Protocol):
    """A repo kind that others can be migrated to."""

    def check_change(self, change: NodeChange) -> None:
        """Raise InvalidOptionError where the kind can't take a change, before anything is written."""
        ...

    def history_writer(self, handle: RepoHandle, branches: Sequence[str]) -> HistoryWriter:
        """Return the way to write to an open repo of the kind.

        Parameters
        ----------
        handle
            The repo.
        branches
            Names that are taken by the branches of the other repo.
        """
        ...
