"""What ties an open Icechunk repository, and its sessions and stores, to a repo of the catalog; it travels in pickles and holds no secret."""

import msgspec

from arraylake_core.backends import RepoContext
from arraylake_core.errors import ReadOnlyError, StorageError
from arraylake_core.models import Author
from arraylake_icechunk.locks import WriteLock

__all__ = ["LOCK_NAME", "Binding"]

LOCK_NAME = ".arraylake.lock"


class Binding(msgspec.Struct, frozen=True, kw_only=True):
    """A repo's name, place, right to write, lock and author.

    Parameters
    ----------
    name
        The full name, ``org/repo``.
    place
        The URI of its place.
    read_only
        Whether it was opened read-only.
    refusal
        What writes are told then.
    author
        Who commits.
    lock
        What every write of refs holds.
    in_memory
        Whether the bytes live in this process only.
    """

    name: str
    place: str
    read_only: bool
    refusal: str
    author: Author
    lock: WriteLock
    in_memory: bool = False

    @classmethod
    def of(cls, context: RepoContext, *, read_only: bool) -> "Binding":
        """Return the binding of a repo that is being opened."""
        spec = context.object_store()
        local = spec is not None and spec.protocol == "file"
        return cls(
            name=context.repo.full_name,
            place=context.location.uri,
            read_only=read_only,
            refusal=context.read_only_message,
            author=context.author,
            lock=WriteLock(f"{spec.prefix}/{LOCK_NAME}" if spec is not None and local else None),
            in_memory=spec is not None and spec.protocol == "memory",
        )

    def require_writable(self) -> None:
        """Raise where the repo was opened read-only."""
        if self.read_only:
            raise ReadOnlyError(self.refusal)

    def require_travel(self) -> None:
        """Raise where a pickle would wake up without the bytes."""
        if self.in_memory:
            raise StorageError(
                f"{self.name} lives in the memory of this process: keep it in a bucket on disk to use it from others"
            )

    def commit_metadata(self) -> dict[str, str]:
        """Return what every commit is stamped with."""
        stamp = {"author_name": self.author.name, "author_email": self.author.email}
        return {key: value for key, value in stamp.items() if value}
