"""The open repo of this kind: an icechunk.Repository, with what every kind's handle offers on top."""

import difflib
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal, Self, TypedDict, cast

import icechunk
from icechunk import IcechunkStore

from arraylake_core.backends.hierarchy import Tree, open_xarray, read_tree
from arraylake_core.display import html_record, repo_rows, rich_record
from arraylake_core.errors import ConflictError, InvalidNameError, ReadOnlyError, RefNotFoundError
from arraylake_core.models import Author, CommitInfo, CommitLog
from arraylake_core.names import shown
from arraylake_icechunk.binding import Binding
from arraylake_icechunk.errors import translated
from arraylake_icechunk.session import RepoSession
from arraylake_icechunk.status import StatusView
from arraylake_icechunk.writes import writes, writes_async

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from icechunk import RepositoryConfig
    from icechunk.credentials import AnyCredential
    from rich.table import Table
    from xarray import Dataset
    from zarr import Group

__all__ = ["IcechunkRepo"]

type RefKind = Literal["branch", "tag", "snapshot_id", "writable"]


class IcechunkRepo(icechunk.Repository):
    """An open Icechunk repo.

    All of ``icechunk.Repository`` works on it. On top: ``name``, ``read_only``, ``branches``, ``tags``, ``checkout``, ``commit``, ``store``, ``root_group``,
    ``to_xarray``, ``tree``, ``status`` and ``commit_log``, which work on one checkout that the handle keeps. Commits are stamped with the author, and on local
    disks, where Icechunk alone would lose concurrent ones, every write of a ref holds a lock.
    """

    binding: Binding
    _session: RepoSession | None = None

    def bind(self, binding: Binding) -> None:
        """Tie the repository to its record in the catalog; the backend calls it once."""
        self.binding = binding
        super().set_default_commit_metadata(cast("dict[str, object]", binding.commit_metadata()))

    def __reduce__(self) -> "tuple[Callable[..., IcechunkRepo], tuple[object, ...]]":
        self.binding.require_travel()
        session = self._session
        if session is not None and not session.read_only and session.has_uncommitted_changes:
            raise ConflictError(
                f"the checkout of {self.name} has uncommitted changes, which a pickle would lose: commit first, "
                "or send repo.writable_session(branch).fork() to the workers"
            )
        return _wake_up, (type(self), super().__getstate__(), self.binding, self.default_commit_metadata())

    def __repr__(self) -> str:
        how = "read-only" if self.read_only else "read-write"
        return f"<IcechunkRepo {self.name} at {self.binding.place}, {how}>"

    __str__ = __repr__

    def _rows(self) -> dict[str, str]:
        session = self._session
        return repo_rows(
            kind=self.kind,
            place=self.binding.place,
            read_only=self.read_only,
            branch=session.branch if session is not None else None,
            commit=session.snapshot_id if session is not None else None,
        )

    def __rich__(self) -> "Table":
        return rich_record(self.name, self._rows())

    def _repr_html_(self) -> str:
        return html_record(self.name, self._rows())

    @property
    def name(self) -> str:
        """The full name, ``org/repo``."""
        return self.binding.name

    @property
    def kind(self) -> str:
        """The name of the repo's kind, ``icechunk``."""
        return "icechunk"

    @property
    def read_only(self) -> bool:
        """Whether the repo was opened read-only."""
        return self.binding.read_only

    @property
    def branches(self) -> dict[str, str]:
        """Each branch and the id of its last commit."""
        return {branch: self.lookup_branch(branch) for branch in sorted(self.list_branches())}

    @property
    def tags(self) -> dict[str, str]:
        """Each tag and the id of its commit."""
        return {tag: self.lookup_tag(tag) for tag in sorted(self.list_tags())}

    # The checkout

    def checkout(self, ref: str = "main", *, writable: bool | None = None, discard: bool = False) -> RepoSession:
        """Go to a branch, tag or commit; arrays and stores that were taken from the checkout before take no writes any more.

        Parameters
        ----------
        ref
            A branch, a tag or the id of a commit.
        writable
            Whether to write there; by default on a branch, unless the repo was opened read-only.
        discard
            Whether changes of the checkout before that are not committed may be dropped.

        Returns
        -------
        RepoSession
            Icechunk's session, which ``store`` and the rest of the handle now use.

        Raises
        ------
        RefNotFoundError
            No such branch, tag or commit.
        ReadOnlyError
            ``writable=True`` on a tag, a commit, or a read-only repo.
        ConflictError
            The checkout before has changes that are not committed; it stays as it is.
        """
        with self._translated():
            kind = self._ref_kind(ref, self.list_branches(), self.list_tags(), writable)
            self._require_clean(ref, discard=discard)
            arrived = self.writable_session(ref) if kind == "writable" else self.readonly_session(**_as_argument(kind, ref))
            return self._arrive(arrived)

    async def checkout_async(self, ref: str = "main", *, writable: bool | None = None, discard: bool = False) -> RepoSession:
        """Do what ``checkout`` does, for async callers."""
        with self._translated():
            kind = self._ref_kind(ref, await self.list_branches_async(), await self.list_tags_async(), writable)
            self._require_clean(ref, discard=discard)
            if kind == "writable":
                return self._arrive(await self.writable_session_async(ref))
            return self._arrive(await self.readonly_session_async(**_as_argument(kind, ref)))

    def _require_clean(self, ref: str, *, discard: bool) -> None:
        """Refuse to leave a checkout with changes that nobody said may be dropped."""
        session = self._session
        if discard or session is None or session.read_only or not session.has_uncommitted_changes:
            return
        raise ConflictError(
            f"the checkout of {self.name} on the branch {session.branch} has changes that are not committed: repo.commit(...) keeps them, and "
            f"repo.checkout({ref!r}, discard=True) drops them; nothing was changed"
        )

    def _arrive(self, session: RepoSession) -> RepoSession:
        """Make a session the checkout, and let nothing more be written through the one before: it would be lost."""
        if self._session is not None:
            self._session.leave()
        self._session = session
        return session

    def _ref_kind(self, ref: str, branches: set[str], tags: set[str], writable: bool | None) -> RefKind:
        if ref in branches and ref in tags:
            raise InvalidNameError(
                f"{self.name} has both a branch and a tag {shown(ref)}: say which with repo.writable_session({ref!r}) or "
                f"repo.readonly_session(tag={ref!r})"
            )
        if ref in branches:
            if writable:
                self.binding.require_writable()
            return "branch" if writable is False or self.read_only else "writable"
        if writable:
            raise ReadOnlyError(
                f"{shown(ref)} is no branch of {self.name}: only branches are written to ({', '.join(sorted(branches))})"
            )
        if ref in tags:
            return "tag"
        close = difflib.get_close_matches(ref, branches | tags, n=1)
        if len(ref) != 20 or not ref.isalnum():
            known = f"branches {', '.join(sorted(branches))}" + (f"; tags {', '.join(sorted(tags))}" if tags else "")
            hint = f". Did you mean {close[0]!r}?" if close else ""
            raise RefNotFoundError(f"{self.name} has no branch, tag or commit {shown(ref)} (it has {known}){hint}")
        return "snapshot_id"

    @property
    def session(self) -> RepoSession:
        """The checkout; ``main`` where there is none yet."""
        return self._session or self.checkout()

    @property
    def store(self) -> IcechunkStore:
        """The zarr store of the checkout."""
        return self.session.store

    @property
    def root_group(self) -> "Group":
        """The root of the hierarchy; made where a writable checkout has none yet."""
        import zarr

        session = self.session
        return zarr.open_group(session.store, mode="r" if session.read_only else "a", use_consolidated=False)

    def to_xarray(self, group: str | None = None, **kwargs: object) -> "Dataset":
        """Open a group of the checkout as an xarray Dataset.

        Parameters
        ----------
        group
            Its path; None is the root.
        **kwargs
            For ``xarray.open_zarr``.
        """
        return open_xarray(self.store, group, **kwargs)

    def tree(self, path: str = "", depth: int | None = None) -> Tree:
        """Return the hierarchy of the checkout.

        Parameters
        ----------
        path
            The group to start at.
        depth
            How many levels; None shows all.
        """
        return read_tree(self.store, self.name, path, depth)

    @property
    def status(self) -> "StatusView":  # type: ignore[override]
        """Call it for what changed since the checkout; read it for Icechunk's RepoStatus."""
        return StatusView(self)

    @property
    def commit_log(self) -> CommitLog:
        """The commits that lead to the checkout, newest first."""
        with self._translated():
            return CommitLog(_commit(info) for info in self.ancestry(snapshot_id=self.session.snapshot_id))

    def commit(self, message: str, *, metadata: dict[str, object] | None = None) -> str | None:
        """Commit what changed in the checkout, and go on from the new head of the branch.

        Where the branch has moved, and the others' changes touch nothing that these do, the commit goes on top of theirs. Zarr arrays and stores
        that were taken from the handle before belong to the finished session: take them anew to write on.

        Parameters
        ----------
        message
            What the commit does.
        metadata
            JSON values to keep with it.

        Returns
        -------
        str or None
            The id of the commit, or None where nothing had changed.

        Raises
        ------
        CommitConflictError
            Both sides changed the same; nothing was committed, and the changes are still in the checkout.
        ReadOnlyError
            The checkout is read-only.
        StorageError
            The store failed: nothing was committed.
        """
        session, branch = self._writable_checkout()
        if not session.has_uncommitted_changes:
            return None
        with self._translated():
            commit = session.commit(message, metadata, rebase_with=icechunk.ConflictDetector())
            self._session = self.writable_session(branch)
        return commit

    async def commit_async(self, message: str, *, metadata: dict[str, object] | None = None) -> str | None:
        """Do what ``commit`` does, for async callers."""
        session, branch = self._writable_checkout()
        if not session.has_uncommitted_changes:
            return None
        with self._translated():
            commit = await session.commit_async(message, metadata, rebase_with=icechunk.ConflictDetector())
            self._session = await self.writable_session_async(branch)
        return commit

    def _writable_checkout(self) -> tuple[RepoSession, str]:
        """Return the checkout and its branch, which Icechunk's session forgets once it is committed."""
        self.binding.require_writable()
        session = self.session
        if session.read_only or session.branch is None:
            raise ReadOnlyError(f"the checkout of {self.name} is read-only: check out a branch, as in repo.checkout('main')")
        return session, session.branch

    # Icechunk's own methods, with sessions that know the lock, the author and the right to write

    def readonly_session(
        self,
        branch: str | None = None,
        *,
        tag: str | None = None,
        snapshot_id: str | None = None,
        as_of: "datetime | None" = None,
    ) -> RepoSession:
        """Do what ``icechunk.Repository.readonly_session`` does."""
        return self._session_of(super().readonly_session(branch, tag=tag, snapshot_id=snapshot_id, as_of=as_of))

    async def readonly_session_async(
        self,
        branch: str | None = None,
        *,
        tag: str | None = None,
        snapshot_id: str | None = None,
        as_of: "datetime | None" = None,
    ) -> RepoSession:
        """Do what ``icechunk.Repository.readonly_session_async`` does."""
        return self._session_of(await super().readonly_session_async(branch, tag=tag, snapshot_id=snapshot_id, as_of=as_of))

    def writable_session(self, branch: str) -> RepoSession:
        """Do what ``icechunk.Repository.writable_session`` does."""
        self.binding.require_writable()
        return self._session_of(super().writable_session(branch))

    async def writable_session_async(self, branch: str) -> RepoSession:
        """Do what ``icechunk.Repository.writable_session_async`` does."""
        self.binding.require_writable()
        return self._session_of(await super().writable_session_async(branch))

    def rearrange_session(self, branch: str) -> RepoSession:
        """Do what ``icechunk.Repository.rearrange_session`` does."""
        self.binding.require_writable()
        return self._session_of(super().rearrange_session(branch))

    async def rearrange_session_async(self, branch: str) -> RepoSession:
        """Do what ``icechunk.Repository.rearrange_session_async`` does."""
        self.binding.require_writable()
        return self._session_of(await super().rearrange_session_async(branch))

    def reopen(
        self,
        config: "RepositoryConfig | None" = None,
        authorize_virtual_chunk_access: "dict[str, AnyCredential | None] | None" = None,
    ) -> Self:
        """Do what ``icechunk.Repository.reopen`` does."""
        return self._bound(super().reopen(config, authorize_virtual_chunk_access))

    async def reopen_async(
        self,
        config: "RepositoryConfig | None" = None,
        authorize_virtual_chunk_access: "dict[str, AnyCredential | None] | None" = None,
    ) -> Self:
        """Do what ``icechunk.Repository.reopen_async`` does."""
        return self._bound(await super().reopen_async(config, authorize_virtual_chunk_access))

    def set_default_commit_metadata(self, metadata: dict[str, object]) -> None:
        """Do what ``icechunk.Repository.set_default_commit_metadata`` does, keeping the author."""
        super().set_default_commit_metadata({**self.binding.commit_metadata(), **metadata})

    save_config = writes(icechunk.Repository.save_config)
    save_config_async = writes_async(icechunk.Repository.save_config_async)
    set_metadata = writes(icechunk.Repository.set_metadata)
    set_metadata_async = writes_async(icechunk.Repository.set_metadata_async)
    update_metadata = writes(icechunk.Repository.update_metadata)
    update_metadata_async = writes_async(icechunk.Repository.update_metadata_async)
    set_status = writes(icechunk.Repository.set_status)
    set_status_async = writes_async(icechunk.Repository.set_status_async)
    set_feature_flag = writes(icechunk.Repository.set_feature_flag)
    set_feature_flag_async = writes_async(icechunk.Repository.set_feature_flag_async)
    create_branch = writes(icechunk.Repository.create_branch)
    create_branch_async = writes_async(icechunk.Repository.create_branch_async)
    reset_branch = writes(icechunk.Repository.reset_branch)
    reset_branch_async = writes_async(icechunk.Repository.reset_branch_async)
    delete_branch = writes(icechunk.Repository.delete_branch)
    delete_branch_async = writes_async(icechunk.Repository.delete_branch_async)
    create_tag = writes(icechunk.Repository.create_tag)
    create_tag_async = writes_async(icechunk.Repository.create_tag_async)
    delete_tag = writes(icechunk.Repository.delete_tag)
    delete_tag_async = writes_async(icechunk.Repository.delete_tag_async)
    expire_snapshots = writes(icechunk.Repository.expire_snapshots)
    expire_snapshots_async = writes_async(icechunk.Repository.expire_snapshots_async)
    rewrite_manifests = writes(icechunk.Repository.rewrite_manifests)
    rewrite_manifests_async = writes_async(icechunk.Repository.rewrite_manifests_async)
    garbage_collect = writes(icechunk.Repository.garbage_collect)
    garbage_collect_async = writes_async(icechunk.Repository.garbage_collect_async)

    def _session_of(self, session: icechunk.Session) -> RepoSession:
        return RepoSession(session, self.binding)

    def _bound(self, repo: Self) -> Self:
        repo.bind(self.binding)
        return repo

    def _translated(self) -> AbstractContextManager[None]:
        return translated(self.binding.name, self.binding.place)


class _RefArgument(TypedDict, total=False):
    branch: str
    tag: str
    snapshot_id: str


def _as_argument(kind: RefKind, ref: str) -> _RefArgument:
    return {"branch": ref} if kind == "branch" else {"tag": ref} if kind == "tag" else {"snapshot_id": ref}


def _wake_up(cls: type[IcechunkRepo], state: object, binding: Binding, metadata: dict[str, object]) -> IcechunkRepo:
    """Open a pickled handle; its credentials are asked for anew when they are first needed."""
    from arraylake_icechunk.storage import require_unforked

    require_unforked()
    repo = cls.__new__(cls)
    repo.__setstate__(state)
    repo.bind(binding)
    repo.set_default_commit_metadata(metadata)
    return repo


def _commit(info: icechunk.SnapshotInfo) -> CommitInfo:
    metadata = dict(info.metadata)
    name, email = metadata.get("author_name"), metadata.get("author_email")
    author = Author(str(name), str(email or "")) if name else None
    return CommitInfo(
        id=info.id, parent=info.parent_id, message=info.message, time=info.written_at, author=author, metadata=metadata
    )
