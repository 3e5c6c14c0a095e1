"""Repo kinds: how arrays and their versions are kept in a bucket."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from arraylake_core.backends.coordination import Coordination
from arraylake_core.backends.credentials import CredentialProvider
from arraylake_core.backends.storage import Location, ObjectStoreSpec, StoragePlatform
from arraylake_core.models import Author, CommitLog, RepoModel, SessionStatus
from arraylake_core.names import shown

if TYPE_CHECKING:
    from xarray import Dataset
    from zarr import Group
    from zarr.abc.store import Store

    from arraylake_core.backends.hierarchy import Tree

__all__ = ["RepoBackend", "RepoContext", "RepoHandle", "RepoOptions", "VirtualSource"]


class VirtualSource(msgspec.Struct, frozen=True, kw_only=True):
    """A bucket that virtual chunks may be read from: references outside ``prefix`` never are.

    Parameters
    ----------
    prefix
        The URL prefix of the references, such as ``s3://archive/nemo/``.
    store
        Where they are read, with the credentials of that bucket's own config.
    """

    prefix: str
    store: ObjectStoreSpec


class RepoOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What callers of create_repo and get_repo may say beyond the catalog's record; a kind refuses what it has no use for.

    Parameters
    ----------
    config
        The kind's own configuration object, such as an ``icechunk.RepositoryConfig``.
    spec_version
        The version of the kind's format for a new repo, or None for its default.
    """

    config: object | None = None
    spec_version: int | None = None


class RepoContext(msgspec.Struct, frozen=True, kw_only=True):
    """All that a kind needs to create, open or destroy one repo.

    Parameters
    ----------
    repo
        The catalog's record.
    location
        Where its bytes go; nobody else's are there.
    platform
        The storage platform of the location.
    credentials
        For the location.
    coordination
        The repo's refs and journals in the catalog.
    author
        Who commits.
    options
        What the caller asked for.
    virtual_sources
        Where virtual chunks may be read from.
    """

    repo: RepoModel
    location: Location
    platform: StoragePlatform
    credentials: CredentialProvider
    coordination: Coordination
    author: Author
    options: RepoOptions = msgspec.field(default_factory=RepoOptions)
    virtual_sources: tuple[VirtualSource, ...] = ()

    def object_store(self) -> ObjectStoreSpec | None:
        """Return the neutral description of the repo's place, where its platform gives one."""
        return self.platform.object_store(self.location, self.credentials)

    @property
    def read_only_message(self) -> str:
        """What a handle says that was opened read-only and is asked to write: why, and the next step."""
        name = self.repo.full_name
        if not self.repo.may_write:
            return f"{name} can't be written by you, who may only read it: ask an admin of {self.repo.org} for the role writer"
        return f"{name} was opened read-only: open it with client.get_repo({name!r}) to write"


@runtime_checkable
class RepoHandle(Protocol):
    """What every kind's open repo offers, so that code needn't know the kind; each kind adds its own on top."""

    @property
    def name(self) -> str:
        """The full name, ``org/repo``."""
        ...

    @property
    def kind(self) -> str:
        """The name of the repo's kind."""
        ...

    @property
    def read_only(self) -> bool:
        """Whether the repo was opened read-only."""
        ...

    @property
    def branches(self) -> Mapping[str, str]:
        """Each branch and the id of its last commit."""
        ...

    @property
    def tags(self) -> Mapping[str, str]:
        """Each tag and the id of its commit."""
        ...

    @property
    def store(self) -> "Store":
        """The zarr Store of the checkout; ``main`` is checked out first where nothing is."""
        ...

    @property
    def root_group(self) -> "Group":
        """The root of the hierarchy in the checkout; an empty one is made where a writable checkout has none."""
        ...

    @property
    def commit_log(self) -> CommitLog:
        """The commits that lead to the checkout, newest first."""
        ...

    def checkout(self, ref: str = "main", *, writable: bool | None = None, discard: bool = False) -> object:
        """Go to a branch, tag or commit; a branch becomes writable unless told otherwise or the repo is read-only.

        Where the checkout before has changes that are not committed, it raises ConflictError, unless ``discard`` says that they may be dropped; what was taken
        from that checkout takes no writes any more.
        """
        ...

    def commit(self, message: str, *, metadata: dict[str, object] | None = None) -> str | None:
        """Commit what changed in the checkout; return the id of the commit, or None where nothing changed."""
        ...

    @property
    def status(self) -> Callable[..., SessionStatus]:
        """Call it for what changed since the checkout."""
        ...

    def to_xarray(self, group: str | None = None, **kwargs: object) -> "Dataset":
        """Open a group of the checkout as an xarray Dataset; keyword arguments go to ``xarray.open_zarr``."""
        ...

    def tree(self, path: str = "", depth: int | None = None) -> "Tree":
        """Return the hierarchy of the checkout, which prints well."""
        ...


class RepoBackend(ABC):
    """A kind of repo.

    Attributes
    ----------
    name
        What ``kind=`` says.
    checkout_default
        Whether ``get_repo`` checks out ``main`` where the caller does not say.
    offers
        The capabilities of ``upkeep.py`` that its open repos have, by the names of their methods.
    """

    name: str
    checkout_default: bool = False
    offers: frozenset[str] = frozenset()

    def check(self, context: RepoContext) -> None:  # noqa: B027 - a kind without demands has nothing to check
        """Raise where this kind can't keep a repo there, before anything is written."""

    @abstractmethod
    async def create(self, context: RepoContext) -> RepoHandle:
        """Write a new, empty repo and return its open handle; refuse a place that is not empty."""

    @abstractmethod
    async def open(self, context: RepoContext, *, read_only: bool, checkout: bool) -> RepoHandle:
        """Open a repo; StorageError where there is none."""

    @abstractmethod
    async def exists(self, context: RepoContext) -> bool:
        """Tell whether a whole repo is there."""

    @abstractmethod
    async def destroy(self, context: RepoContext) -> None:
        """Delete every byte of the repo; doing it again, or where there is nothing, does no harm."""

    def sync(self, handle: RepoHandle) -> RepoHandle:
        """Return the blocking twin of a handle; by default the handle itself, whose methods then block."""
        return handle

    def __repr__(self) -> str:
        return f"<repo kind {shown(self.name)}>"
