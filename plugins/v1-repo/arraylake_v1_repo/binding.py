"""What an open repo, its sessions and its stores share; it travels in pickles and holds no secret."""

from collections.abc import Sequence

from arraylake_core.backends import Coordination, RepoContext, VirtualSource
from arraylake_core.errors import ReadOnlyError
from arraylake_core.models import Author
from arraylake_v1_repo.objects import Objects, open_objects
from arraylake_v1_repo.reader import Reader
from arraylake_v1_repo.virtual.sources import SourceReader

__all__ = ["Binding"]


class Binding:
    """A repo's name, bytes, refs and author.

    Parameters
    ----------
    name
        The full name, ``org/repo``.
    read_only
        Whether it was opened read-only.
    refusal
        What writes are told then.
    author
        Who commits.
    objects
        Its bytes.
    coordination
        Its refs and journals in the catalog.
    grants
        Where virtual chunks may be read from.
    """

    def __init__(
        self,
        name: str,
        read_only: bool,
        refusal: str,
        author: Author,
        objects: Objects,
        coordination: Coordination,
        grants: Sequence[VirtualSource] = (),
    ) -> None:
        self.name, self.read_only, self.refusal, self.author = name, read_only, refusal, author
        self.objects, self.coordination = objects, coordination
        self.grants = tuple(grants)
        self.reader = Reader(objects)
        self.sources = SourceReader(self.grants)

    def __reduce__(self) -> tuple[type["Binding"], tuple[object, ...]]:
        given = (self.name, self.read_only, self.refusal, self.author, self.objects, self.coordination, self.grants)
        return type(self), given

    @classmethod
    async def of(cls, context: RepoContext, *, read_only: bool) -> "Binding":
        """Return the binding of a repo that is being opened."""
        return cls(
            context.repo.full_name,
            read_only,
            context.read_only_message,
            context.author,
            await open_objects(context.platform, context.location, context.credentials),
            context.coordination,
            context.virtual_sources,
        )

    def require_writable(self) -> None:
        """Raise where the repo was opened read-only."""
        if self.read_only:
            raise ReadOnlyError(self.refusal)
