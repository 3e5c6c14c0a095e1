"""An open plain Zarr store, with the names that every repo has; those that need versions say that there are none."""

from collections.abc import Callable, Mapping
from typing import NoReturn

import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from xarray import Dataset
from zarr.abc.store import Store
from zarr.storage import FsspecStore, LocalStore, ObjectStore

from arraylake_core.backends import RepoContext
from arraylake_core.backends.hierarchy import Tree, open_xarray, read_tree
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.errors import InvalidOptionError
from arraylake_core.loops import run
from arraylake_core.models import CommitLog, SessionStatus

__all__ = ["PlainZarrRepo"]

# What obstore reaches; the platform's own file system reaches the others.
_FAST = ("s3", "gcs")


class PlainZarrRepo:
    """A Zarr store in a bucket. Make one with ``client.create_repo(..., kind="plain-zarr")``.

    Parameters
    ----------
    context
        Whose it is, and where.
    store
        What reaches it.
    read_only
        Whether it was opened read-only.
    """

    kind = "plain-zarr"

    def __init__(self, context: RepoContext, store: Store, *, read_only: bool) -> None:
        self._context, self._store, self._read_only = context, store, read_only

    @classmethod
    async def of(cls, context: RepoContext, *, read_only: bool) -> "PlainZarrRepo":
        """Return the open store of a context."""
        spec = context.object_store()
        store: Store
        if spec is not None and spec.protocol == "file":
            store = LocalStore(context.platform.path(context.location), read_only=read_only)
        elif spec is not None and spec.protocol in _FAST:
            store = ObjectStore(await open_object_store(spec), read_only=read_only)
        else:
            filesystem = context.platform.filesystem(context.location, await context.credentials.get())
            asynchronous = AsyncFileSystemWrapper(filesystem, asynchronous=True)
            store = FsspecStore(asynchronous, read_only=read_only, path=context.platform.path(context.location))
        return cls(context, store, read_only=read_only)

    def __repr__(self) -> str:
        return f"<plain Zarr store {self.name} at {self._context.location.uri}{', read-only' if self.read_only else ''}>"

    def __reduce__(self) -> "tuple[Callable[[RepoContext, bool], PlainZarrRepo], tuple[RepoContext, bool]]":
        if self._context.location.platform == "memory":
            raise TypeError(f"{self.name} can't be pickled: it is in the memory of this process, which no other sees")
        return _reopened, (self._context, self._read_only)

    @property
    def name(self) -> str:
        """The full name, ``org/repo``."""
        return self._context.repo.full_name

    @property
    def read_only(self) -> bool:
        """Whether it was opened read-only."""
        return self._read_only

    @property
    def store(self) -> Store:
        """The zarr Store: what is written to it is there at once."""
        return self._store

    @property
    def root_group(self) -> zarr.Group:
        """The root of the hierarchy."""
        return zarr.open_group(self._store, mode="r" if self._read_only else "r+", zarr_format=3)

    def make_root(self) -> None:
        """Write an empty root group."""
        zarr.create_group(self._store, zarr_format=3)

    def to_xarray(self, group: str | None = None, **kwargs: object) -> Dataset:
        """Open a group as an xarray Dataset."""
        return open_xarray(self._store, group, **kwargs)

    def tree(self, path: str = "", depth: int | None = None) -> Tree:
        """Return the hierarchy, which prints well."""
        return read_tree(self._store, self.name, path, depth)

    # What has no versions: nothing to list, and nothing to go to

    @property
    def branches(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def tags(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def commit_log(self) -> CommitLog:
        """Empty."""
        return CommitLog()

    def status(self) -> SessionStatus:
        """Return that nothing waits for a commit: what was written is there."""
        return SessionStatus(repo=self.name, branch=None, base="the store as it is")

    def commit(self, message: str, *, metadata: dict[str, object] | None = None) -> str | None:
        """Refuse: there is nothing to commit to."""
        self._refuse("commit")

    def checkout(self, ref: str = "main", *, writable: bool | None = None, discard: bool = False) -> object:
        """Refuse: there is nothing to go to."""
        self._refuse("checkout")

    def _refuse(self, what: str) -> NoReturn:
        raise InvalidOptionError(
            f"{self.name} is a plain Zarr store, which keeps no versions: there is no {what}, and every write is there at once. "
            "Take a repo kind with versions, such as 'v1' or 'icechunk', and copy the arrays over"
        )


def _reopened(context: RepoContext, read_only: bool) -> PlainZarrRepo:
    return run(PlainZarrRepo.of(context, read_only=read_only))
