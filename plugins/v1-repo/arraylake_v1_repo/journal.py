"""The journal of a session that several processes write to: what was appended is part of the commit, in the catalog's order.

Appends that are made at the same time in a process share one. After each, what others appended meanwhile is read; only then does the writer go
on. A commit seals the journal: what comes after the seal is void, and whoever wrote it is told.
"""

import secrets
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta

import msgspec

from arraylake_core.backends import Coordination
from arraylake_core.errors import ConflictError, StorageError
from arraylake_core.loops import submit
from arraylake_core.models import utc_now
from arraylake_v1_repo.changes import Operation
from arraylake_v1_repo.objects import Objects

__all__ = ["Journal", "JournalEnd"]

_INLINE_BYTES = 128 * 1024
_ENTRY_BYTES = 512 * 1024
_MARGIN = timedelta(days=1)
"""How much longer than the session its journal is kept, so that late writers learn what became of it."""


class Wrote(msgspec.Struct, frozen=True, array_like=True, tag="w"):
    """Operations, in order."""

    operations: list[Operation]


class Spilled(msgspec.Struct, frozen=True, array_like=True, tag="s"):
    """Operations that were too large for the catalog: the key of an object with a Wrote."""

    key: str


class Sealed(msgspec.Struct, frozen=True, array_like=True, tag="b"):
    """Somebody commits: what comes after is void."""

    by: str


class Unsealed(msgspec.Struct, frozen=True, array_like=True, tag="u"):
    """The commit did not come about: writing goes on."""

    by: str


class Expires(msgspec.Struct, frozen=True, array_like=True, tag="e"):
    """The session lasts until then."""

    at: datetime


class JournalEnd(msgspec.Struct, frozen=True, array_like=True, tag="z"):
    """The session is over.

    Parameters
    ----------
    reason
        ``committed`` or ``abandoned``.
    commit
        The id of the commit.
    """

    reason: str
    commit: str | None = None


type Entry = Wrote | Spilled | Sealed | Unsealed | Expires | JournalEnd

_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_decode_wrote = msgspec.msgpack.Decoder(Wrote).decode
_encode = msgspec.msgpack.Encoder().encode


class Journal:
    """One process's view of a session's journal.

    Parameters
    ----------
    session
        The session's id.
    coordination, objects
        Of the repo.
    expires
        When the session ends.
    apply
        Takes in an operation, in the journal's order.
    """

    def __init__(
        self,
        session: str,
        coordination: Coordination,
        objects: Objects,
        expires: datetime,
        apply: Callable[[Operation], None],
    ) -> None:
        self.session, self.expires = session, expires
        self._coordination, self._objects, self._apply = coordination, objects, apply
        self._lock = threading.Lock()
        self._waiting: list[tuple[Sequence[Operation], Future[None]]] = []
        self._running = False
        self.position = 0
        self._sealed: str | None = None
        self.end: JournalEnd | None = None

    @property
    def name(self) -> str:
        """The journal's name in the catalog."""
        return f"session/{self.session}"

    async def begin(self, operations: Sequence[Operation]) -> None:
        """Write what the session changed before it was shared; it is not taken in again."""
        for part in await self._parts(operations):
            self.position = await self._append(part)
        if not self.position:
            self.position = await self._append(_encode(Wrote([])))

    def append(self, operations: Sequence[Operation]) -> "Future[None]":
        """Append operations; the future ends when they are in the journal and everything up to them has been taken in. Without operations: only take in."""
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()
        with self._lock:
            self._waiting.append((operations, done))
            if self._running:
                return done
            self._running = True
        submit(self._drain())
        return done

    async def seal(self) -> str:
        """Make what comes after void, take in all before it, and return what ``unseal`` asks for."""
        by = secrets.token_hex(8)
        await self._append(_encode(Sealed(by)))
        await self._take_in(())
        self.require_open()
        return by

    async def unseal(self, by: str) -> None:
        """Let writing go on."""
        await self._append(_encode(Unsealed(by)))
        await self._take_in(())

    async def close(self, end: JournalEnd) -> None:
        """End the session."""
        await self._append(_encode(end))
        self.end = end

    async def extend(self, expires: datetime) -> None:
        """Let the session last until another time."""
        self.expires = expires
        await self._append(_encode(Expires(expires)))

    def require_open(self) -> None:
        """Raise where the session is over."""
        if self.end is not None:
            what = f"was committed as {self.end.commit}" if self.end.reason == "committed" else f"was {self.end.reason}"
            raise ConflictError(
                f"the session {self.session} {what}, so that nothing more can be written to it: what was written after that is in no commit; "
                "check out the branch again, and write it there"
            )

    async def _drain(self) -> None:
        while True:
            with self._lock:
                batch, self._waiting = self._waiting, []
                if not batch:
                    self._running = False
                    return
            try:
                voided = await self._write([operation for operations, _ in batch for operation in operations])
            except BaseException as error:
                for _, done in batch:
                    done.set_exception(error)
                if not isinstance(error, Exception):
                    raise
                continue
            for operations, done in batch:
                if operations and voided is not None:
                    done.set_exception(voided)
                else:
                    done.set_result(None)

    async def _write(self, operations: Sequence[Operation]) -> Exception | None:
        """Append operations and take in all up to them; return why they are void, or None."""
        mine = [await self._append(part) for part in await self._parts(operations)]
        # Whoever shares a session writes its first entry: a journal that begins with anybody else's is not the one that there was.
        if mine and mine[0] <= max(self.position, 1):
            return self._expired()
        void = await self._take_in(mine)
        if mine and self.expires <= utc_now():
            return self._expired()
        if not void:
            return None
        try:
            self.require_open()
        except ConflictError as error:
            return error
        return ConflictError(
            f"the session {self.session} is being committed: what was written now is not part of that commit; "
            "write it again when the commit is done, to a new checkout"
        )

    def _expired(self) -> ConflictError:
        return ConflictError(
            f"the session {self.session} has expired: what is written now is in no commit; check out the branch again, and write it there"
        )

    async def _take_in(self, mine: Sequence[int]) -> bool:
        """Read on, and tell whether any of one's own entries is void."""
        void = False
        for entry in await self._coordination.read_journal(self.name, after=self.position):
            self.position = entry.sequence
            match _decode_entry(entry.data):
                case Wrote(operations):
                    void |= self._take(operations, entry.sequence in mine)
                case Spilled(key):
                    void |= self._take(await self._spilled(key), entry.sequence in mine)
                case Sealed(by) if self.end is None:
                    self._sealed = by
                case Unsealed(by) if by == self._sealed:
                    self._sealed = None
                case Expires(at):
                    self.expires = at
                case JournalEnd() as end:
                    self.end = self.end or end
        return void

    def _take(self, operations: Sequence[Operation], mine: bool) -> bool:
        if self._sealed is not None or self.end is not None:
            return mine and bool(operations)
        for operation in operations:
            self._apply(operation)
        return False

    async def _append(self, data: bytes) -> int:
        return await self._coordination.append_journal(self.name, data, expires=self.expires + _MARGIN)

    async def _parts(self, operations: Sequence[Operation]) -> list[bytes]:
        """Encode operations, in parts that the catalog takes."""
        parts: list[bytes] = []
        pending: list[Operation] = []
        size = 0
        for operation in operations:
            weight = len(_encode(operation))
            if pending and size + weight > _INLINE_BYTES:
                parts.append(_encode(Wrote(pending)))
                pending, size = [], 0
            pending.append(operation)
            size += weight
        if pending:
            parts.append(_encode(Wrote(pending)))
        return [part if len(part) <= _ENTRY_BYTES else await self._spill(part) for part in parts]

    async def _spill(self, data: bytes) -> bytes:
        key = f"sessions/{self.session}/{secrets.token_hex(8)}"
        await self._objects.put(key, data)
        await self._objects.persist([key])
        return _encode(Spilled(key))

    async def _spilled(self, key: str) -> list[Operation]:
        data = await self._objects.get(key)
        if data is None:
            raise StorageError(
                f"{key} at {self._objects.place} is missing: the session {self.session} has lost what was written to it"
            )
        return _decode_wrote(data).operations
