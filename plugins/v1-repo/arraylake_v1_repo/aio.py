"""The open repo of this kind, for asyncio: all behaviour is here, and sync.py has its blocking twin."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

import msgspec

from arraylake_core.backends.hierarchy import Tree
from arraylake_core.display import html_record, repo_rows, rich_record
from arraylake_core.errors import AlreadyExistsError, ConflictError, NotFoundError, ReadOnlyError
from arraylake_core.models import Author, CommitInfo, CommitLog, SessionStatus, utc_now
from arraylake_core.names import shown
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.commits import ancestry, commit_session, hierarchy_of, rebase_session
from arraylake_v1_repo.content import clear_path, copy_node, require_groups
from arraylake_v1_repo.keys import check_path
from arraylake_v1_repo.merging import OnConflict
from arraylake_v1_repo.refs import commit_of, create_ref, delete_ref, find_ref, list_refs, require_branch
from arraylake_v1_repo.session import DEFAULT_LIFETIME, Session, SessionInfo, SessionRecord, end_of, end_session, join
from arraylake_v1_repo.virtual.sources import SourceReader

if TYPE_CHECKING:
    import os

    from fsspec.mapping import FSMap
    from rich.table import Table
    from virtualizarr.manifests import ManifestStore
    from xarray import Dataset
    from zarr.abc.store import Store
    from zarr.core.group import AsyncGroup

    from arraylake_v1_repo.export import ExportReport
    from arraylake_v1_repo.store import V1Store
    from arraylake_v1_repo.upkeep.garbage import GarbageReport
    from arraylake_v1_repo.upkeep.verification import VerifyReport
    from arraylake_v1_repo.virtual.references import VirtualArray, VirtualGroup

__all__ = ["AsyncRepo", "CommitData"]


class CommitData(msgspec.Struct, frozen=True, kw_only=True):
    """All commits that the branches and tags of a repo reach.

    Parameters
    ----------
    commits
        By id, the newest first.
    branches, tags
        Each name, and the id of its commit.
    """

    commits: dict[str, CommitInfo]
    branches: dict[str, str]
    tags: dict[str, str]


class AsyncRepo:
    """An open V1 repo.

    ``client.get_repo`` returns one with ``main`` checked out. What is written goes into the checkout's session; ``commit`` makes a version of it.

    Parameters
    ----------
    binding
        The repo's name, bytes, refs and author.
    session
        The checkout.
    """

    kind = "v1"

    def __init__(self, binding: Binding, session: Session | None = None) -> None:
        self._binding = binding
        self._session = session
        self._commit_data: CommitData | None = None

    def __reduce__(self) -> "tuple[type[AsyncRepo], tuple[Binding, Session | None]]":
        return type(self), (self._binding, self._session)

    def __repr__(self) -> str:
        how = "read-only" if self.read_only else "read-write"
        at = f", {self._session!r}" if self._session is not None else ""
        return f"<{type(self).__name__} {self.name} at {self._binding.objects.place}, {how}{at}>"

    def _rows(self) -> dict[str, str]:
        session = self._session
        return repo_rows(
            kind=self.kind,
            place=self._binding.objects.place,
            read_only=self.read_only,
            branch=session.branch if session is not None else None,
            commit=session.base if session is not None else None,
        )

    def __rich__(self) -> "Table":
        return rich_record(self.name, self._rows())

    def _repr_html_(self) -> str:
        return html_record(self.name, self._rows())

    @property
    def name(self) -> str:
        """The full name, ``org/repo``."""
        return self._binding.name

    @property
    def read_only(self) -> bool:
        """Whether the repo was opened read-only."""
        return self._binding.read_only

    @property
    def author(self) -> Author:
        """Who commits."""
        return self._binding.author

    @property
    def binding(self) -> Binding:
        """What it shares with its sessions."""
        return self._binding

    @property
    def session(self) -> Session:
        """The checkout's session."""
        if self._session is None:
            raise NotFoundError(f"{self.name} was opened without a checkout: repo.checkout() makes one")
        return self._session

    @property
    def store(self) -> "V1Store":
        """The zarr Store of the checkout; it pickles with its session, for writers in other processes."""
        from arraylake_v1_repo.store import V1Store

        return V1Store(self.session)

    # The checkout

    async def checkout(
        self,
        ref: str = "main",
        *,
        writable: bool | None = None,
        expires_in: timedelta = DEFAULT_LIFETIME,
        discard: bool = False,
    ) -> Session:
        """Go to a branch, tag or commit; arrays and stores that were taken from the checkout before take no writes any more.

        Parameters
        ----------
        ref
            A branch, a tag or the id of a commit.
        writable
            Whether to write there; by default on a branch, unless the repo was opened read-only.
        expires_in
            How long the session lasts; seven days at most.
        discard
            Whether changes of the checkout before that are not committed may be dropped. A session that other processes write to stays, and loses nothing.

        Raises
        ------
        RefNotFoundError
            No such branch, tag or commit.
        ReadOnlyError
            ``writable=True`` on a tag, a commit, or a read-only repo.
        ConflictError
            The checkout before has changes that are not committed; it stays as it is.
        """
        expires = end_of(expires_in)
        found = await find_ref(self._binding, ref)
        self._require_clean(ref, discard=discard)
        if writable:
            self._binding.require_writable()
            if found.family != "branch":
                branches = ", ".join(await list_refs(self._binding, "branch"))
                raise ReadOnlyError(
                    f"{shown(ref)} is no branch of {self.name}, but a {found.family}: only branches are written to ({branches})"
                )
        writes = found.family == "branch" and writable is not False and not self.read_only
        session = Session(
            self._binding,
            base=found.commit,
            hierarchy=await hierarchy_of(self._binding.reader, found.commit),
            branch=found.name if found.family == "branch" else None,
            expires=expires if writes else None,
        )
        await self._leave()
        self._session = session
        return session

    def _require_clean(self, ref: str, *, discard: bool = False) -> None:
        """Refuse to leave a checkout with changes that nobody said may be dropped."""
        if not discard and self._session is not None and self._session.would_lose:
            raise ConflictError(
                f"the checkout of {self.name} on the branch {self._session.branch} has changes that are not committed: repo.commit(...) keeps them, and "
                f"repo.checkout({ref!r}, discard=True) drops them; nothing was changed"
            )

    async def _leave(self) -> None:
        """Let nothing more be written through the checkout that there was, unless others write to it too."""
        if self._session is not None:
            await self._session.leave()

    async def commit(
        self, message: str, *, metadata: dict[str, object] | None = None, on_conflict: OnConflict = "raise"
    ) -> str | None:
        """Commit what changed in the checkout.

        Parameters
        ----------
        message
            What was done, and why.
        metadata
            A JSON object that is kept with the commit.
        on_conflict
            What happens where the branch has got changes that do not go together with these: ``"raise"``, ``"ours"`` (these win),
            ``"theirs"``, or a mapping from paths to one of the two.

        Returns
        -------
        str or None
            The id of the commit, 24 hex digits; None where nothing changed.

        Raises
        ------
        CommitConflictError
            With the conflicting paths; nothing was committed, and the changes are still in the checkout.
        """
        return await commit_session(self.session, message, metadata, on_conflict)

    async def commit_log(self) -> CommitLog:
        """Return the commits that lead to the checkout, newest first."""
        return CommitLog([info async for info in ancestry(self._binding, self.session.base)])

    async def commit_data(self, refresh: bool = False) -> CommitData:
        """Return all commits that branches and tags reach.

        Parameters
        ----------
        refresh
            Whether to ask again, where it was asked before.
        """
        if self._commit_data is None or refresh:
            branches, tags = await self.branches(), await self.tags()
            commits: dict[str, CommitInfo] = {}
            for head in {*branches.values(), *tags.values()}:
                async for info in ancestry(self._binding, head):
                    if info.id in commits:
                        break
                    commits[info.id] = info
            newest = dict(sorted(commits.items(), key=lambda item: item[1].time, reverse=True))
            self._commit_data = CommitData(commits=newest, branches=branches, tags=tags)
        return self._commit_data

    async def status(self, limit: int = 1000) -> SessionStatus:
        """Return what changed in the checkout.

        Parameters
        ----------
        limit
            How many paths to list; 0 lists all.
        """
        from arraylake_v1_repo.inspect import session_status

        return await session_status(self.session, limit)

    async def diff(self, a: str, b: str | None = None) -> dict[str, str]:
        """Return what is not the same in two versions: each path, and what was done to it.

        Parameters
        ----------
        a, b
            Branches, tags or commits; without ``b``, the checkout's base.
        """
        from arraylake_v1_repo.inspect import diff_hierarchies

        one = (await find_ref(self._binding, a)).commit
        two = (await find_ref(self._binding, b)).commit if b is not None else self.session.base
        reader = self._binding.reader
        return await diff_hierarchies(await hierarchy_of(reader, one), await hierarchy_of(reader, two))

    # Branches and tags

    async def branches(self) -> dict[str, str]:
        """Return each branch and the id of its last commit."""
        return await list_refs(self._binding, "branch")

    async def tags(self) -> dict[str, str]:
        """Return each tag and the id of its commit."""
        return await list_refs(self._binding, "tag")

    async def new_branch(self, name: str, ref: str | None = None, *, checkout: bool = True) -> str:
        """Make a branch.

        Parameters
        ----------
        name
            Its name.
        ref
            Where it begins: a branch, tag or commit; by default the checkout's base.
        checkout
            Whether to go there. Where it begins at the checkout's base, what was not committed goes along.

        Returns
        -------
        str
            The id of its first commit.
        """
        self._binding.require_writable()
        commit = (await find_ref(self._binding, ref)).commit if ref is not None else self.session.base
        session = self._session
        goes_along = checkout and session is not None and not session.read_only and session.base == commit
        if goes_along and session is not None and session.shared:
            await session.refresh()
            if session.changes:
                raise ConflictError(
                    f"the session {session.key} is shared, and others write to it for the branch {session.branch}: commit it first, "
                    "or make the branch with checkout=False"
                )
            goes_along = False
        if checkout and not goes_along:
            self._require_clean(name)
        await create_ref(self._binding, "branch", name, commit)
        if checkout:
            if goes_along and session is not None:
                await session.move_to(name)
            else:
                await self.checkout(name)
        return commit

    async def delete_branch(self, name: str) -> None:
        """Delete a branch; its commits stay until ``gc``, after its grace."""
        self._binding.require_writable()
        await delete_ref(self._binding, "branch", name)

    async def new_tag(self, name: str, ref: str | None = None) -> str:
        """Make a tag, which never moves.

        Parameters
        ----------
        name
            Its name.
        ref
            What it names: a branch, tag or commit; by default the checkout's base.
        """
        self._binding.require_writable()
        commit = (await find_ref(self._binding, ref)).commit if ref is not None else self.session.base
        await create_ref(self._binding, "tag", name, commit)
        return commit

    async def delete_tag(self, name: str) -> None:
        """Delete a tag."""
        self._binding.require_writable()
        await delete_ref(self._binding, "tag", name)

    async def fetch(self) -> dict[str, str]:
        """Ask the catalog where the branches are now, take in what others wrote to a shared session, and return the branches."""
        self._commit_data = None
        if self._session is not None:
            await self._session.refresh()
        return await self.branches()

    async def fast_forward(self) -> str:
        """Let a checkout without changes go to the head of its branch; return the head."""
        session = self.session
        if session.branch is None:
            raise ReadOnlyError(f"this checkout of {self.name} is at a tag or commit, which do not move: check out a branch")
        if session.changes:
            raise ConflictError(
                f"the checkout of {self.name} has changes: commit them, repo.rebase() them, or repo.checkout() to drop them"
            )
        head = commit_of(await require_branch(self._binding, session.branch))
        if head != session.base:
            await session.unregister()
            session.advance(head, await hierarchy_of(self._binding.reader, head))
        return head

    async def rebase(self, on_conflict: OnConflict = "raise") -> str:
        """Put the checkout's changes on top of the head of its branch, without committing them; return the head.

        Raises
        ------
        CommitConflictError
            They do not go together; nothing was changed.
        """
        return await rebase_session(self.session, on_conflict)

    # Sessions

    async def list_active_sessions(self) -> list[SessionInfo]:
        """Return the sessions of the repo that have written something and are not over."""
        found: list[SessionInfo] = []
        for ref in await self._binding.coordination.list_refs("session/"):
            record = msgspec.convert(ref.value, SessionRecord)
            if record.expires > utc_now():
                found.append(SessionInfo(id=ref.name.partition("/")[2], **msgspec.structs.asdict(record)))
        return sorted(found, key=lambda info: info.created)

    async def join_session(self, session: str) -> Session:
        """Go on in a session that another process shares.

        Parameters
        ----------
        session
            Its id: what ``repo.session.id`` says there.
        """
        joined = await join(self._binding, session)
        await joined.refresh()
        await self._leave()
        self._session = joined
        return joined

    async def end_session(self, session: str) -> None:
        """End a session by its id, whoever began it: what was written to it and not committed is given up.

        For sessions of processes that are no more, which ``gc`` would otherwise spare, with all that is younger, until they expire.

        Parameters
        ----------
        session
            Its id, as ``list_active_sessions`` shows it.
        """
        self._binding.require_writable()
        await end_session(self._binding, session)

    # Data

    async def root_group(self) -> "AsyncGroup":
        """Return the root of the hierarchy in the checkout; an empty one is made where a writable checkout has none."""
        import zarr.api.asynchronous as zarr

        store = self.store
        if not store.read_only and not await store.exists("zarr.json") and not await store.exists(".zgroup"):
            return await zarr.create_group(store=store)
        return await zarr.open_group(store, mode="r" if store.read_only else "r+", use_consolidated=False)

    async def create_group(
        self, path: str, *, attributes: dict[str, object] | None = None, overwrite: bool = False
    ) -> "AsyncGroup":
        """Make a group, and those above it where they are not there."""
        import zarr.api.asynchronous as zarr

        path = check_path(path)
        if not overwrite and (await self.session.view.has_node(path)):
            raise AlreadyExistsError(f"{self.name} has {shown(path)} already: overwrite=True deletes it first")
        self.session.require_writable()
        await require_groups(self.session, path.rpartition("/")[0])
        return await zarr.create_group(store=self.store, path=path, attributes=attributes, overwrite=overwrite)

    async def to_xarray(self, group: str | None = None, **kwargs: object) -> "Dataset":
        """Open a group of the checkout as an xarray Dataset.

        Parameters
        ----------
        group
            Its path; None is the root.
        **kwargs
            For ``xarray.open_zarr``.
        """
        from arraylake_core.backends.hierarchy import open_xarray

        return await asyncio.to_thread(open_xarray, self.store, group, **kwargs)

    async def tree(
        self,
        path: str = "",
        depth: int | None = None,
        filter: "str | Callable[[str], bool] | None" = None,  # noqa: A002 - the seed's name
    ) -> Tree:
        """Return the hierarchy of the checkout, which prints well; no array is opened.

        Parameters
        ----------
        path
            The group to start at.
        depth
            How many levels; None shows all.
        filter
            A JMESPath expression over metadata documents, or a function of paths: only those, and what is above them, are shown.
        """
        from arraylake_v1_repo.inspect import session_tree

        return await session_tree(self.session, check_path(path), depth, filter)

    async def filter_metadata(self, expression: str) -> list[str]:
        """Return the paths of the nodes whose metadata documents match a JMESPath expression, without opening any array.

        Parameters
        ----------
        expression
            It is asked of each document; what is not null, false or empty is a match.

        Raises
        ------
        InvalidOptionError
            It is no JMESPath expression; the message shows where.
        """
        from arraylake_v1_repo.inspect import filter_metadata

        return await filter_metadata(self.session, expression)

    async def move(self, source: str, target: str) -> None:
        """Move a node with all below it; no chunk is rewritten."""
        await copy_node(self.session, check_path(source), check_path(target), delete=True)

    async def copy(self, source: str, target: str) -> None:
        """Copy a node with all below it; no chunk is rewritten."""
        await copy_node(self.session, check_path(source), check_path(target), delete=False)

    async def delete(self, path: str) -> None:
        """Delete a node with all below it."""
        path = check_path(path)
        self.session.require_writable()
        if not await self.session.view.exists_below(path):
            raise NotFoundError(f"{self.name} has nothing at {shown(path)}")
        await clear_path(self.session, path)

    # Virtual data

    async def add_virtual_hdf(
        self, path: str, uri: str, *, group: str | None = None, drop_variables: Collection[str] = ()
    ) -> None:
        """Put references to the chunks of an HDF5 or NetCDF4 file at a path; the bytes stay where they are.

        Parameters
        ----------
        path
            The group that the file becomes.
        uri
            The file, below a prefix that ``authorize_virtual_chunk_access`` of create_repo or get_repo grants.
        group
            Only this group of the file.
        drop_variables
            What to leave out.

        Raises
        ------
        PermissionDeniedError
            No grant covers the file.
        """
        from arraylake_v1_repo.virtual.parse import read_hdf

        await self._add(path, await read_hdf(uri, self._sources(), group=group, drop_variables=drop_variables))

    async def add_virtual_netcdf(
        self, path: str, uri: str, *, group: str | None = None, drop_variables: Collection[str] = ()
    ) -> None:
        """Do the same with a NetCDF file of version 3 or 4."""
        from arraylake_v1_repo.virtual.parse import read_netcdf

        await self._add(path, await read_netcdf(uri, self._sources(), group=group, drop_variables=drop_variables))

    async def add_virtual_grib(self, path: str, uri: str, *, drop_variables: Collection[str] = ()) -> None:
        """Do the same with a GRIB file."""
        from arraylake_v1_repo.virtual.parse import read_grib

        await self._add(path, await read_grib(uri, self._sources(), drop_variables=drop_variables))

    async def add_virtual_zarr(
        self, path: str, uri: str, *, group: str | None = None, drop_variables: Collection[str] = ()
    ) -> None:
        """Do the same with a Zarr hierarchy."""
        from arraylake_v1_repo.virtual.parse import read_zarr

        await self._add(path, await read_zarr(uri, self._sources(), group=group, drop_variables=drop_variables))

    async def add_virtual_kerchunk(self, path: str, uri: str, *, group: str | None = None) -> None:
        """Do the same with what Kerchunk references name."""
        from arraylake_v1_repo.virtual.parse import read_kerchunk

        await self._add(path, await read_kerchunk(uri, self._sources(), group=group))

    async def add_virtual_tiff(self, path: str, uri: str, *, ifd: int | None = None) -> None:
        """Do the same with a TIFF file."""
        from arraylake_v1_repo.virtual.parse import read_tiff

        await self._add(path, await read_tiff(uri, self._sources(), ifd=ifd))

    async def add_virtual(self, path: str, manifest_store: "ManifestStore") -> None:
        """Put the references of a VirtualiZarr ManifestStore at a path: the door for every parser that there is."""
        from arraylake_v1_repo.virtual.references import read_manifest_store

        await self._add(path, await read_manifest_store(manifest_store, self._sources()))

    def _sources(self) -> SourceReader:
        self.session.require_writable()
        return self._binding.sources

    async def _add(self, path: str, found: "Sequence[VirtualGroup | VirtualArray]") -> None:
        from arraylake_v1_repo.virtual_nodes import add_virtual_nodes

        await add_virtual_nodes(self.session, check_path(path), found)

    # Upkeep

    async def export(
        self,
        dest: "str | os.PathLike[str] | FSMap | Store",
        *,
        zarr_format: Literal[2, 3] = 3,
        ref: str | None = None,
        from_ref: str | None = None,
        concurrency: int = 64,
    ) -> "ExportReport":
        """Write a version as plain Zarr; where an earlier try was interrupted, go on where it stopped.

        Parameters
        ----------
        dest
            A directory, a URL that fsspec knows, an fsspec mapper, or a zarr Store.
        zarr_format
            2 or 3.
        ref
            A branch, tag or commit; by default the checkout's base.
        from_ref
            What ``dest`` holds already: only what changed since is written.
        concurrency
            How many chunks are copied at once.
        """
        from arraylake_v1_repo.export import export

        at = (await find_ref(self._binding, ref)).commit if ref is not None else self.session.base
        since = (await find_ref(self._binding, from_ref)).commit if from_ref is not None else None
        return await export(self._binding, dest, at, since, zarr_format=zarr_format, concurrency=concurrency)

    async def expire(self, older_than: datetime | timedelta) -> int:
        """Let go of the history before a time; branches and tags keep their commits.

        Parameters
        ----------
        older_than
            A time with a time zone, or an age.

        Returns
        -------
        int
            How many commits are no longer reached.
        """
        from arraylake_v1_repo.upkeep.expiry import expire

        self._binding.require_writable()
        return await expire(self._binding, older_than)

    async def gc(self, grace: timedelta = timedelta(days=8)) -> "GarbageReport":
        """Delete what nothing reaches: not what is younger than the grace, nor what a session that is going on may use.

        Parameters
        ----------
        grace
            How old garbage must be. Shorter ones are for repos that nobody reads at old commits meanwhile.
        """
        from arraylake_v1_repo.upkeep.garbage import collect

        self._binding.require_writable()
        return await collect(self._binding, grace)

    async def verify(self) -> "VerifyReport":
        """Read everything that branches and tags reach, and check that it is there and what was written."""
        from arraylake_v1_repo.upkeep.verification import verify

        return await verify(self._binding)
