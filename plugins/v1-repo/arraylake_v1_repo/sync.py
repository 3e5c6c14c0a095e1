"""The open repo of this kind, blocking: each method is its async twin's, run on the loop that all blocking callers share."""

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from arraylake_core.backends.hierarchy import Tree, open_xarray
from arraylake_core.loops import run
from arraylake_core.models import Author, CommitLog, SessionStatus
from arraylake_v1_repo.aio import AsyncRepo, CommitData
from arraylake_v1_repo.merging import OnConflict
from arraylake_v1_repo.session import DEFAULT_LIFETIME, Session, SessionInfo

if TYPE_CHECKING:
    import os

    from fsspec.mapping import FSMap
    from rich.table import Table
    from virtualizarr.manifests import ManifestStore
    from xarray import Dataset
    from zarr import Group
    from zarr.abc.store import Store

    from arraylake_v1_repo.export import ExportReport
    from arraylake_v1_repo.store import V1Store
    from arraylake_v1_repo.upkeep.garbage import GarbageReport
    from arraylake_v1_repo.upkeep.verification import VerifyReport

__all__ = ["BlockingSession", "Repo"]


class BlockingSession:
    """A checkout's session, for blocking callers.

    Parameters
    ----------
    session
        Its async twin.
    """

    def __init__(self, session: Session) -> None:
        self._aio = session

    def __reduce__(self) -> tuple[type["BlockingSession"], tuple[Session]]:
        return type(self), (self._aio,)

    def __repr__(self) -> str:
        return repr(self._aio)

    @property
    def id(self) -> str | None:
        """What ``join_session`` takes; reading it shares the session, so that every write is in its journal from then on."""
        return self._aio.id

    @property
    def base(self) -> str:
        """The id of the commit that it starts from."""
        return self._aio.base

    @property
    def branch(self) -> str | None:
        """The branch that it commits to; None where it reads a tag or commit."""
        return self._aio.branch

    @property
    def expires(self) -> datetime | None:
        """When it ends; None where it only reads."""
        return self._aio.expires

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written."""
        return self._aio.read_only

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""
        return self._aio.shared

    @property
    def author(self) -> Author:
        """Who writes."""
        return self._aio.author

    @property
    def store(self) -> "V1Store":
        """The zarr Store of the session."""
        from arraylake_v1_repo.store import V1Store

        return V1Store(self._aio)

    def share(self) -> None:
        """Let other processes write to it: from now on, each write is in the journal before it returns."""
        run(self._aio.share())

    def update_expiration(self, expires: datetime | timedelta) -> datetime:
        """Let it end at another time, seven days from now at most; return it."""
        return run(self._aio.update_expiration(expires))

    def abandon(self) -> None:
        """Give up what was written; whoever writes to it afterwards gets an error that says so."""
        run(self._aio.abandon())


class Repo:
    """An open V1 repo, for blocking callers; what each method does, takes, returns and raises stands at its twin of ``AsyncRepo``.

    Parameters
    ----------
    aio
        The async twin.
    """

    kind = "v1"

    def __init__(self, aio: AsyncRepo) -> None:
        self._aio = aio

    def __reduce__(self) -> tuple[type["Repo"], tuple[AsyncRepo]]:
        return type(self), (self._aio,)

    def __repr__(self) -> str:
        return repr(self._aio).replace("AsyncRepo", "Repo", 1)

    def __rich__(self) -> "Table":
        return self._aio.__rich__()

    def _repr_html_(self) -> str:
        return self._aio._repr_html_()

    @property
    def name(self) -> str:
        """The full name, ``org/repo``."""
        return self._aio.name

    @property
    def read_only(self) -> bool:
        """Whether the repo was opened read-only."""
        return self._aio.read_only

    @property
    def author(self) -> Author:
        """Who commits."""
        return self._aio.author

    @property
    def session(self) -> BlockingSession:
        """The checkout's session."""
        return BlockingSession(self._aio.session)

    @property
    def store(self) -> "V1Store":
        """The zarr Store of the checkout; it pickles with its session, for writers in other processes."""
        return self._aio.store

    @property
    def branches(self) -> dict[str, str]:
        """Each branch and the id of its last commit."""
        return run(self._aio.branches())

    @property
    def tags(self) -> dict[str, str]:
        """Each tag and the id of its commit."""
        return run(self._aio.tags())

    @property
    def commit_log(self) -> CommitLog:
        """The commits that lead to the checkout, newest first."""
        return run(self._aio.commit_log())

    @property
    def root_group(self) -> "Group":
        """The root of the hierarchy in the checkout; an empty one is made where a writable checkout has none."""
        from zarr import Group
        from zarr.core.sync import sync

        return Group(sync(self._aio.root_group()))

    def checkout(
        self,
        ref: str = "main",
        *,
        writable: bool | None = None,
        expires_in: timedelta = DEFAULT_LIFETIME,
        discard: bool = False,
    ) -> BlockingSession:
        """Go to a branch, tag or commit; changes that are not committed must be committed before, or dropped by ``discard``."""
        return BlockingSession(run(self._aio.checkout(ref, writable=writable, expires_in=expires_in, discard=discard)))

    def commit(self, message: str, *, metadata: dict[str, object] | None = None, on_conflict: OnConflict = "raise") -> str | None:
        """Commit what changed in the checkout; return the id of the commit, or None where nothing changed."""
        return run(self._aio.commit(message, metadata=metadata, on_conflict=on_conflict))

    def commit_data(self, refresh: bool = False) -> CommitData:
        """Return all commits that branches and tags reach."""
        return run(self._aio.commit_data(refresh))

    def status(self, limit: int = 1000) -> SessionStatus:
        """Return what changed in the checkout."""
        return run(self._aio.status(limit))

    def diff(self, a: str, b: str | None = None) -> dict[str, str]:
        """Return what is not the same in two versions: each path, and what was done to it."""
        return run(self._aio.diff(a, b))

    def new_branch(self, name: str, ref: str | None = None, *, checkout: bool = True) -> str:
        """Make a branch; return the id of its first commit."""
        return run(self._aio.new_branch(name, ref, checkout=checkout))

    def delete_branch(self, name: str) -> None:
        """Delete a branch; its commits stay until ``gc``, after its grace."""
        run(self._aio.delete_branch(name))

    def new_tag(self, name: str, ref: str | None = None) -> str:
        """Make a tag, which never moves; return its commit."""
        return run(self._aio.new_tag(name, ref))

    def delete_tag(self, name: str) -> None:
        """Delete a tag."""
        run(self._aio.delete_tag(name))

    def fetch(self) -> dict[str, str]:
        """Ask the catalog where the branches are now."""
        return run(self._aio.fetch())

    def fast_forward(self) -> str:
        """Let a checkout without changes go to the head of its branch; return the head."""
        return run(self._aio.fast_forward())

    def rebase(self, on_conflict: OnConflict = "raise") -> str:
        """Put the checkout's changes on top of the head of its branch, without committing them; return the head."""
        return run(self._aio.rebase(on_conflict))

    def list_active_sessions(self) -> list[SessionInfo]:
        """Return the sessions of the repo that have written something and are not over."""
        return run(self._aio.list_active_sessions())

    def join_session(self, session: str) -> BlockingSession:
        """Go on in a session that another process shares."""
        return BlockingSession(run(self._aio.join_session(session)))

    def end_session(self, session: str) -> None:
        """End a session by its id, whoever began it: what was written to it and not committed is given up."""
        run(self._aio.end_session(session))

    def create_group(self, path: str, *, attributes: dict[str, object] | None = None, overwrite: bool = False) -> "Group":
        """Make a group, and those above it where they are not there."""
        from zarr import Group
        from zarr.core.sync import sync

        return Group(sync(self._aio.create_group(path, attributes=attributes, overwrite=overwrite)))

    def to_xarray(self, group: str | None = None, **kwargs: object) -> "Dataset":
        """Open a group of the checkout as an xarray Dataset; keyword arguments go to ``xarray.open_zarr``."""
        return open_xarray(self.store, group, **kwargs)

    def tree(
        self,
        path: str = "",
        depth: int | None = None,
        filter: "str | Callable[[str], bool] | None" = None,  # noqa: A002
    ) -> Tree:
        """Return the hierarchy of the checkout, which prints well; no array is opened."""
        return run(self._aio.tree(path, depth, filter))

    def filter_metadata(self, expression: str) -> list[str]:
        """Return the paths of the nodes whose metadata documents match a JMESPath expression, without opening any array."""
        return run(self._aio.filter_metadata(expression))

    def move(self, source: str, target: str) -> None:
        """Move a node with all below it; no chunk is rewritten."""
        run(self._aio.move(source, target))

    def copy(self, source: str, target: str) -> None:
        """Copy a node with all below it; no chunk is rewritten."""
        run(self._aio.copy(source, target))

    def delete(self, path: str) -> None:
        """Delete a node with all below it."""
        run(self._aio.delete(path))

    def add_virtual_hdf(self, path: str, uri: str, *, group: str | None = None, drop_variables: Collection[str] = ()) -> None:
        """Put references to the chunks of an HDF5 or NetCDF4 file at a path."""
        run(self._aio.add_virtual_hdf(path, uri, group=group, drop_variables=drop_variables))

    def add_virtual_netcdf(self, path: str, uri: str, *, group: str | None = None, drop_variables: Collection[str] = ()) -> None:
        """Do the same with a NetCDF file of version 3 or 4."""
        run(self._aio.add_virtual_netcdf(path, uri, group=group, drop_variables=drop_variables))

    def add_virtual_grib(self, path: str, uri: str, *, drop_variables: Collection[str] = ()) -> None:
        """Do the same with a GRIB file."""
        run(self._aio.add_virtual_grib(path, uri, drop_variables=drop_variables))

    def add_virtual_zarr(self, path: str, uri: str, *, group: str | None = None, drop_variables: Collection[str] = ()) -> None:
        """Do the same with a Zarr hierarchy."""
        run(self._aio.add_virtual_zarr(path, uri, group=group, drop_variables=drop_variables))

    def add_virtual_kerchunk(self, path: str, uri: str, *, group: str | None = None) -> None:
        """Do the same with what Kerchunk references name."""
        run(self._aio.add_virtual_kerchunk(path, uri, group=group))

    def add_virtual_tiff(self, path: str, uri: str, *, ifd: int | None = None) -> None:
        """Do the same with a TIFF file."""
        run(self._aio.add_virtual_tiff(path, uri, ifd=ifd))

    def add_virtual(self, path: str, manifest_store: "ManifestStore") -> None:
        """Put the references of a VirtualiZarr ManifestStore at a path."""
        run(self._aio.add_virtual(path, manifest_store))

    def export(
        self,
        dest: "str | os.PathLike[str] | FSMap | Store",
        *,
        zarr_format: Literal[2, 3] = 3,
        ref: str | None = None,
        from_ref: str | None = None,
        concurrency: int = 64,
    ) -> "ExportReport":
        """Write a version as plain Zarr."""
        return run(self._aio.export(dest, zarr_format=zarr_format, ref=ref, from_ref=from_ref, concurrency=concurrency))

    def expire(self, older_than: datetime | timedelta) -> int:
        """Let go of the history before a time; return how many commits are no longer reached."""
        return run(self._aio.expire(older_than))

    def gc(self, grace: timedelta = timedelta(days=8)) -> "GarbageReport":
        """Delete what nothing reaches."""
        return run(self._aio.gc(grace))

    def verify(self) -> "VerifyReport":
        """Read everything that branches and tags reach, and check that it is there and what was written."""
        return run(self._aio.verify())
