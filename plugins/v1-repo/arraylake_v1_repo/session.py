"""A session: a commit to read, and on a branch what was changed since, by one process or by several."""

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future as ConcurrentFuture
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.backends import Ref
from arraylake_core.errors import CatalogError, ConflictError, InvalidOptionError, NotFoundError, ReadOnlyError, RepoNotFoundError
from arraylake_core.loops import run, submit
from arraylake_core.models import Author, utc_now
from arraylake_core.names import shown
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.changes import ChangeSet, Operation
from arraylake_v1_repo.hierarchy import Hierarchy
from arraylake_v1_repo.journal import Journal, JournalEnd
from arraylake_v1_repo.uploads import Uploads
from arraylake_v1_repo.view import View

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = [
    "DEFAULT_LIFETIME",
    "LONGEST_LIFETIME",
    "Session",
    "SessionInfo",
    "SessionRecord",
    "end_of",
    "end_session",
    "join",
]

DEFAULT_LIFETIME = timedelta(hours=24)
LONGEST_LIFETIME = timedelta(days=7)
_PAUSE = 0.001


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The ref ``session/<id>``."""

    base: str
    branch: str
    author: Author
    created: datetime
    expires: datetime
    shared: bool = False


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A session that is going on.

    Parameters
    ----------
    id
        For ``join_session``.
    branch, base
        What will be committed to, and on top of which commit.
    author
        Who began it.
    created, expires
        When it began, and when it ends.
    shared
        Whether others can join it.
    """

    id: str
    branch: str
    base: str
    author: Author
    created: datetime
    expires: datetime
    shared: bool


class Session:
    """One checkout.

    Parameters
    ----------
    binding
        The repo.
    base
        The id of the commit that it starts from.
    hierarchy
        That commit's snapshot.
    branch
        The branch that it commits to; None where it reads a tag or commit.
    expires
        When it ends; None where it only reads.
    id
        Of a session that others write to as well.
    """

    def __init__(
        self,
        binding: Binding,
        *,
        base: str,
        hierarchy: Hierarchy,
        branch: str | None,
        expires: datetime | None,
        id: str | None = None,  # noqa: A002 - it is called so everywhere else
    ) -> None:
        self.binding, self.base, self.branch = binding, base, branch
        self._expires = expires
        self._journal: Journal | None = None
        self._lifetime = expires - utc_now() if expires is not None else DEFAULT_LIFETIME
        self._lock = threading.RLock()
        self._gate: Future[None] | None = None
        self._waiting = 0
        self._begin(hierarchy, id)
        if id is not None:
            self.registered = True
            self._journal = self._new_journal()

    def _begin(self, hierarchy: Hierarchy, id: str | None = None) -> None:  # noqa: A002
        """Start with nothing changed."""
        self.key = id or secrets.token_hex(12)
        self.view = View(hierarchy)
        self.uploads = Uploads(self.binding.objects)
        self.attempt: str | None = None
        self.started: datetime | None = None
        self._recorded: int | None = None
        self._registering: Future[None] | None = None
        self._sharing: Future[None] | None = None
        self.registered = False
        self._journal = None
        self._ended: str | None = None

    def advance(self, base: str, hierarchy: Hierarchy) -> None:
        """Go on from another commit with nothing changed: after a commit, or a fast-forward."""
        with self._lock:
            self.base = base
            self._begin(hierarchy)
            self._expires = utc_now() + self._lifetime if self._expires is not None else None

    def rebased(self, base: str, hierarchy: Hierarchy, changes: ChangeSet) -> None:
        """Go on from another commit with these changes."""
        with self._lock:
            self.base, self.view = base, View(hierarchy, changes)

    def __repr__(self) -> str:
        where = f"on branch {self.branch}" if self.branch is not None else "at"
        return f"<Session {self.binding.name} {where} {self.base}{', read-only' if self.read_only else ''}>"

    def __reduce__(self) -> "tuple[object, tuple[object, ...]]":
        if not self.read_only:
            run(self.share())
        return _wake_up, (
            self.binding,
            self.base,
            self.hierarchy.digest,
            self.branch,
            self.expires,
            None if self.read_only else self.key,
        )

    @property
    def id(self) -> str | None:
        """What ``join_session`` takes; reading it shares the session, so that every write is in its journal from then on."""
        if self.read_only:
            return None
        run(self.share())
        return self.key

    @property
    def read_only(self) -> bool:
        """Whether nothing can be written."""
        return self._expires is None

    @property
    def expires(self) -> datetime | None:
        """When it ends."""
        return self._journal.expires if self._journal is not None else self._expires

    @property
    def author(self) -> Author:
        """Who writes."""
        return self.binding.author

    @property
    def shared(self) -> bool:
        """Whether other processes may write to it."""
        return self._journal is not None

    @property
    def hierarchy(self) -> Hierarchy:
        """The snapshot that it starts from."""
        return self.view.hierarchy

    @property
    def changes(self) -> ChangeSet:
        """What was changed since, as far as this process knows."""
        return self.view.changes

    @property
    def journal(self) -> Journal | None:
        """What others read of a shared session."""
        return self._journal

    # Its life

    def require_writable(self) -> None:
        """Raise where nothing can be written, because of what the session is, or because it is over."""
        if self._ended is not None:
            raise ConflictError(
                f"the session {self.key} was {self._ended}: write through what repo.store and repo.root_group give now, or check out the branch again"
            )
        if self._journal is not None:
            self._journal.require_open()
        expires = self.expires
        if expires is None:
            where = f"at the branch {self.branch}, opened read-only" if self.branch is not None else f"at the commit {self.base}"
            raise ReadOnlyError(
                f"this checkout of {self.binding.name} is read-only ({where}): to write, repo.checkout(branch) of a repo that is not read-only"
            )
        if expires <= utc_now():
            raise ConflictError(
                f"the session {self.key} expired at {expires:%Y-%m-%d %H:%M:%S} UTC: check out the branch again; checkout(expires_in=...) "
                "and session.update_expiration(...) make sessions that last longer, up to 7 days"
            )

    async def share(self) -> None:
        """Let other processes write to it: from now on, each write is in the journal before it returns.

        Raises
        ------
        ReadOnlyError
            It can't be written to.
        """
        if self._journal is not None:
            return
        self.require_writable()
        with self._lock:
            if self._sharing is None:
                self._sharing = submit(self._share())
                self._sharing.add_done_callback(self._after_share)
            waiting = self._sharing
        await asyncio.shield(asyncio.wrap_future(waiting))

    async def _share(self) -> None:
        async with self.standing_still():
            if self._journal is not None:
                return
            await self.register()
            await self.uploads.flush()
            await self.uploads.persist()
            journal = self._new_journal()
            await journal.begin(list(self.changes.operations()))
            self._journal = journal
        await self._change_record(shared=True)

    async def register(self) -> None:
        """Record the session in the catalog, so that it is listed, and gc spares what it uses."""
        if self.registered:
            return
        with self._lock:
            if self._registering is None:
                self._registering = submit(self._register())
                self._registering.add_done_callback(self._after_register)
            waiting = self._registering
        await asyncio.shield(asyncio.wrap_future(waiting))

    async def _register(self) -> None:
        assert self.branch is not None
        assert self._expires is not None
        record = SessionRecord(
            base=self.base, branch=self.branch, author=self.binding.author, created=utc_now(), expires=self._expires
        )
        ref = await self.binding.coordination.put_ref(f"session/{self.key}", msgspec.to_builtins(record), expected=None)
        self.started, self._recorded, self.registered = record.created, ref.version, True

    def _after_share(self, future: "Future[None]") -> None:
        if future.exception() is not None:
            self._sharing = None

    def _after_register(self, future: "Future[None]") -> None:
        if future.exception() is not None:
            self._registering = None

    async def _change_record(self, **fields: object) -> None:
        for _ in range(100):
            found = await self.binding.coordination.get_ref(f"session/{self.key}")
            if found is None:
                return
            record = msgspec.structs.replace(msgspec.convert(found.value, SessionRecord), **fields)
            try:
                await self.binding.coordination.put_ref(found.name, msgspec.to_builtins(record), expected=found.version)
            except ConflictError:
                continue
            return

    async def change_base(self, base: str) -> None:
        """Record in the catalog that it is based on another commit now."""
        if self.registered:
            await self._change_record(base=base)

    async def move_to(self, branch: str) -> None:
        """Go on on another branch that begins at the same commit, with what was changed."""
        await self.unregister()
        with self._lock:
            self.branch = branch
            self.registered, self._registering, self.key = False, None, secrets.token_hex(12)
        if self.changes:
            await self.register()

    async def unregister(self) -> None:
        """Take it off the list of sessions that are going on."""
        if not self.registered:
            return
        name, coordination = f"session/{self.key}", self.binding.coordination
        if self._recorded is not None:
            try:
                await coordination.delete_ref(name, expected=self._recorded)
                return
            except ConflictError:
                # It has been changed since: it was shared, or its end was put off.
                pass
        found = await coordination.get_ref(name)
        if found is not None:
            try:
                await coordination.delete_ref(name, expected=found.version)
            except ConflictError:
                return

    async def update_expiration(self, expires: datetime | timedelta) -> datetime:
        """Let it end at another time.

        Parameters
        ----------
        expires
            A time with a time zone, or how long from now; seven days at most.

        Returns
        -------
        datetime
            The new end.
        """
        self.require_writable()
        at = end_of(expires)
        await self.register()
        self._expires = at
        if self._journal is not None:
            await self._journal.extend(at)
        await self._change_record(expires=at)
        return at

    async def abandon(self) -> None:
        """Give up what was written; whoever writes to it afterwards gets an error that says so."""
        if self.read_only or self._ended is not None:
            return
        if self._journal is not None:
            await self._journal.close(JournalEnd("abandoned"))
        await self.unregister()
        self._ended = "abandoned"
        self.view = View(self.hierarchy)

    def _new_journal(self) -> Journal:
        assert self._expires is not None
        return Journal(self.key, self.binding.coordination, self.binding.objects, self._expires, self._take)

    # Writing

    def _take(self, operation: Operation) -> None:
        with self._lock:
            self.view.take(operation)

    async def write(self, *operations: Operation, flight: "Future[None] | None" = None, uploads: Uploads | None = None) -> None:
        """Change something; where the session is shared, it is in the journal when this returns.

        Parameters
        ----------
        operations
            What is changed.
        flight, uploads
            The chunk that they are about, where it may be on its way still, and who sends it.
        """
        waiting = False
        try:
            while True:
                self.require_writable()
                await self.register()
                with self._lock:
                    gate = self._gate
                    # A chunk that was sent before a commit belongs to no flush of the next one: it must have arrived.
                    here = flight is None or uploads is self.uploads
                    if gate is None and self._journal is None and here:
                        for operation in operations:
                            self.view.take(operation)
                        return
                    if gate is not None and not waiting:
                        waiting, self._waiting = True, self._waiting + 1
                if gate is not None:
                    await asyncio.shield(asyncio.wrap_future(gate))
                elif flight is not None:
                    # What the journal names must be there: others may commit it at once.
                    await asyncio.wrap_future(flight)
                    flight = None
                else:
                    if uploads is not None:
                        await uploads.persist()
                    await self._appended(operations)
                    return
        finally:
            if waiting:
                with self._lock:
                    self._waiting -= 1

    @asynccontextmanager
    async def standing_still(self) -> AsyncIterator[None]:
        """Let writes wait while a commit puts together what was written; they go into the session that comes after it."""
        mine: Future[None] = ConcurrentFuture()
        mine.set_running_or_notify_cancel()
        while True:
            with self._lock:
                other = self._gate
                # Whoever commits again and again must not keep those who write waiting for ever.
                if other is None and not self._waiting:
                    self._gate = mine
                    break
            if other is not None:
                await asyncio.shield(asyncio.wrap_future(other))
            else:
                await asyncio.sleep(_PAUSE)
        try:
            yield
        finally:
            with self._lock:
                self._gate = None
            mine.set_result(None)

    @property
    def would_lose(self) -> bool:
        """Whether leaving it would lose changes that could still be committed."""
        is_over = self._ended is not None or self.expires is None or self.expires <= utc_now()
        return bool(self.changes) and not (self.shared or is_over)

    async def leave(self) -> None:
        """Refuse writes from now on: another checkout has taken its place. A session that others write to goes on."""
        if not self.read_only and not self.shared:
            self._ended = "left for another checkout"
            await self.unregister()

    async def refresh(self) -> None:
        """Take in what others wrote to a shared session."""
        if self._journal is not None and self._ended is None and self._journal.end is None:
            await self._appended(())

    async def _appended(self, operations: Sequence[Operation]) -> None:
        assert self._journal is not None
        try:
            await asyncio.wrap_future(self._journal.append(operations))
        except (CatalogError, RepoNotFoundError, OSError) as error:
            raise CatalogError(
                f"the catalog that keeps the session {self.key} can't be reached from this process ({type(error).__name__}), so that nothing was "
                "written: its file must be seen by all who write; for workers on other machines, use a service"
            ) from None


async def wake_up(
    binding: Binding,
    base: str,
    snapshot: bytes,
    branch: str | None,
    expires: datetime | None,
    id: str | None,  # noqa: A002
) -> Session:
    """Return a session that was pickled, or joined."""
    return Session(
        binding, base=base, hierarchy=await Hierarchy.open(binding.reader, snapshot), branch=branch, expires=expires, id=id
    )


def _wake_up(*fields: object) -> Session:
    return run(wake_up(*fields))  # type: ignore[arg-type]


async def _record(binding: Binding, id: str) -> tuple[Ref, SessionRecord]:  # noqa: A002
    found = await binding.coordination.get_ref(f"session/{id}") if isinstance(id, str) and id.isalnum() else None
    record = msgspec.convert(found.value, SessionRecord) if found is not None else None
    if found is None or record is None or record.expires <= utc_now():
        raise NotFoundError(
            f"{binding.name} has no session {shown(id)} that is going on: it was committed, abandoned or has expired; "
            "repo.list_active_sessions() shows those that there are"
        )
    return found, record


async def join(binding: Binding, id: str) -> Session:  # noqa: A002
    """Return a session that another process shares."""
    binding.require_writable()
    _, record = await _record(binding, id)
    if not record.shared:
        raise ConflictError(
            f"the session {id} is not shared: in the process that began it, read repo.session.id, call repo.session.share(), or pickle its store"
        )
    commit = await binding.reader.commit(record.base)
    return await wake_up(binding, record.base, bytes.fromhex(commit.snapshot), record.branch, record.expires, id)


async def end_session(binding: Binding, id: str) -> None:  # noqa: A002
    """Abandon a session from outside."""
    ref, record = await _record(binding, id)
    if record.shared:
        journal = Journal(id, binding.coordination, binding.objects, record.expires, lambda _: None)
        await journal.close(JournalEnd("abandoned"))
    await binding.coordination.delete_ref(ref.name, expected=ref.version)


def end_of(expires: datetime | timedelta) -> datetime:
    """Return when a session ends that is to last so long, or until then: in the future, and seven days from now at most."""
    now = utc_now()
    if isinstance(expires, datetime) and expires.tzinfo is None:
        raise InvalidOptionError("the end of a session needs a time zone: use datetime.now(UTC) + timedelta(hours=24)")
    if not isinstance(expires, datetime | timedelta):
        raise InvalidOptionError(f"the end of a session is a datetime or a timedelta, not a {type(expires).__name__}")
    at = expires if isinstance(expires, datetime) else now + expires
    if not now < at <= now + LONGEST_LIFETIME:
        raise InvalidOptionError(
            f"a session lasts up to 7 days from now, and ends in the future: {at:%Y-%m-%d %H:%M} UTC does neither or not both"
        )
    return at
