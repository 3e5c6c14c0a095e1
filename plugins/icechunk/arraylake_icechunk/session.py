"""Icechunk's Session and store, whose commits hold the repo's lock."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, cast

from icechunk import ConflictSolver, IcechunkStore
from icechunk.session import ForkSession, Session
from zarr.abc.store import Store

from arraylake_core.errors import ConflictError
from arraylake_icechunk.binding import Binding

__all__ = ["RepoSession", "RepoStore"]


class Checkout:
    """Whether a session is still what the handle has checked out; all stores on the session share it.

    Parameters
    ----------
    name
        The full name of the repo.
    """

    __slots__ = ("left", "name")

    def __init__(self, name: str) -> None:
        self.name, self.left = name, False

    def require(self) -> None:
        """Raise where another checkout has taken its place: what is written now would never be committed."""
        if self.left:
            raise ConflictError(
                f"this session of {self.name} was left for another checkout: write through what repo.store and repo.root_group give now"
            )


class RepoSession(Session):
    """A session of a repo: Icechunk's, with every write of a ref under the repo's lock."""

    _binding: Binding
    _checkout: "Checkout"

    def __init__(self, session: Session, binding: Binding, checkout: "Checkout | None" = None) -> None:
        super().__init__(session._session)
        self._binding = binding
        self._checkout = checkout or Checkout(binding.name)

    def __getstate__(self) -> object:
        self._binding.require_travel()
        return {**cast("dict[str, object]", super().__getstate__()), "_binding": self._binding}

    def __setstate__(self, state: object) -> None:
        super().__setstate__(state)
        self._binding = cast("dict[str, Binding]", state)["_binding"]
        self._checkout = Checkout(self._binding.name)

    @property
    def store(self) -> IcechunkStore:
        """The session's zarr store."""
        return RepoStore(super().store, self._binding, self._checkout)

    def leave(self) -> None:
        """Refuse writes from now on, through every store that was taken from it: another checkout has taken its place."""
        self._checkout.left = True

    def commit(
        self,
        message: str,
        metadata: dict[str, object] | None = None,
        *,
        rebase_with: ConflictSolver | None = None,
        rebase_tries: int = 1_000,
        allow_empty: bool = False,
    ) -> str:
        """Commit, as ``icechunk.Session.commit`` does."""
        with self._binding.lock.hold():
            return super().commit(message, metadata, rebase_with=rebase_with, rebase_tries=rebase_tries, allow_empty=allow_empty)

    async def commit_async(
        self,
        message: str,
        metadata: dict[str, object] | None = None,
        *,
        rebase_with: ConflictSolver | None = None,
        rebase_tries: int = 1_000,
        allow_empty: bool = False,
    ) -> str:
        """Commit, as ``icechunk.Session.commit_async`` does."""
        async with self._binding.lock.hold_async():
            return await super().commit_async(
                message, metadata, rebase_with=rebase_with, rebase_tries=rebase_tries, allow_empty=allow_empty
            )

    def amend(self, message: str, *, metadata: dict[str, object] | None = None, allow_empty: bool = False) -> str:
        """Replace the last commit, as ``icechunk.Session.amend`` does."""
        with self._binding.lock.hold():
            return super().amend(message, metadata=metadata, allow_empty=allow_empty)

    async def amend_async(self, message: str, *, metadata: dict[str, object] | None = None, allow_empty: bool = False) -> str:
        """Replace the last commit, as ``icechunk.Session.amend_async`` does."""
        async with self._binding.lock.hold_async():
            return await super().amend_async(message, metadata=metadata, allow_empty=allow_empty)

    def flush(self, message: str, *, metadata: dict[str, object] | None = None) -> str:
        """Write a snapshot that no branch names, as ``icechunk.Session.flush`` does."""
        with self._binding.lock.hold():
            return super().flush(message, metadata=metadata)

    async def flush_async(self, message: str, *, metadata: dict[str, object] | None = None) -> str:
        """Write a snapshot that no branch names, as ``icechunk.Session.flush_async`` does."""
        async with self._binding.lock.hold_async():
            return await super().flush_async(message, metadata=metadata)


def _checked[**P, T](write: Callable[Concatenate[IcechunkStore, P], T]) -> Callable[Concatenate[IcechunkStore, P], T]:
    """Return a method that writes, but for a store that is read-only: Icechunk's own asks its session alone."""

    @wraps(write)
    def checked(store: IcechunkStore, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if isinstance(store, RepoStore):
            store.checkout.require()
        store._check_writable()
        return write(store, *args, **kwargs)

    return checked


class RepoStore(IcechunkStore):
    """A store of a repo: Icechunk's, whose ``session`` commits under the repo's lock, and which keeps to its ``read_only``."""

    _binding: Binding

    set = _checked(IcechunkStore.set)
    set_if_not_exists = _checked(IcechunkStore.set_if_not_exists)
    delete = _checked(IcechunkStore.delete)
    delete_dir = _checked(IcechunkStore.delete_dir)
    clear = _checked(IcechunkStore.clear)
    sync_clear = _checked(IcechunkStore.sync_clear)
    set_virtual_ref = _checked(IcechunkStore.set_virtual_ref)
    set_virtual_ref_async = _checked(IcechunkStore.set_virtual_ref_async)
    set_virtual_refs = _checked(IcechunkStore.set_virtual_refs)
    set_virtual_refs_async = _checked(IcechunkStore.set_virtual_refs_async)
    set_virtual_refs_arr = _checked(IcechunkStore.set_virtual_refs_arr)
    set_virtual_refs_arr_async = _checked(IcechunkStore.set_virtual_refs_arr_async)

    def __init__(self, store: IcechunkStore, binding: Binding, checkout: Checkout, *, read_only: bool | None = None) -> None:
        super().__init__(store._store, read_only)
        self._binding, self.checkout = binding, checkout

    def __getstate__(self) -> object:
        self._binding.require_travel()
        return super().__getstate__()

    def with_read_only(self, read_only: bool = False) -> Store:
        """Return a store on the same session that takes writes or refuses them."""
        store = RepoStore(self, self._binding, self.checkout, read_only=read_only)
        store._is_open = False
        return store

    async def getsize(self, key: str) -> int:
        """Return how many bytes a key has; FileNotFoundError where it is not there."""
        if not await self.exists(key):
            raise FileNotFoundError(key)
        return await super().getsize(key)

    @property
    def session(self) -> Session:
        """The session that the store belongs to."""
        session = super().session
        return session if isinstance(session, ForkSession) else RepoSession(session, self._binding, self.checkout)
