"""Deleting what nothing reaches: mark, sweep, and never what is young or what a session that is going on may use.

An object goes where it is older than the grace and than every session that is going on, and no branch, tag, session or recently retired commit
reaches it. While it deletes, it says so in the ref ``gc``; before each batch it looks again where branches, tags and sessions are (see holds.py).
"""

import asyncio
import secrets
from datetime import datetime, timedelta

import msgspec

from arraylake_core.backends import Ref
from arraylake_core.errors import ConflictError, InvalidOptionError
from arraylake_core.models import utc_now
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.commits import expired_parents
from arraylake_v1_repo.objects import ObjectInfo
from arraylake_v1_repo.refs import commit_of
from arraylake_v1_repo.session import SessionRecord
from arraylake_v1_repo.upkeep.holds import GarbageState, change_state, read_state
from arraylake_v1_repo.upkeep.reach import Reached

__all__ = ["GarbageReport", "collect"]

_BATCH = 200
_SKEW = timedelta(minutes=5)
"""How far the clocks of a bucket and of those who write to it may be apart."""
_PAUSE = 0.05
_SWEPT = ("chunks", "manifests", "snapshots", "commits", "sessions")


class GarbageReport(msgspec.Struct, kw_only=True):
    """What a collection did.

    Parameters
    ----------
    kept, deleted
        How many objects.
    deleted_bytes
        Of how many bytes.
    """

    kept: int = 0
    deleted: int = 0
    deleted_bytes: int = 0


async def collect(binding: Binding, grace: timedelta) -> GarbageReport:
    """Delete what nothing reaches.

    Raises
    ------
    ConflictError
        Another collection is going on.
    """
    if not isinstance(grace, timedelta) or grace < timedelta(0):
        raise InvalidOptionError("grace is a timedelta, and not negative: timedelta(days=8)")
    run = _Run(binding, grace)
    await run.begin()
    try:
        return await run.sweep()
    finally:
        await asyncio.shield(run.end())


class _Run:
    def __init__(self, binding: Binding, grace: timedelta) -> None:
        self.binding, self.grace = binding, grace
        self.id = secrets.token_hex(8)
        self.reached = Reached(binding)
        self.started = utc_now()

    async def begin(self) -> None:
        while True:
            ref, state = await read_state(self.binding.coordination)
            if state.going_on:
                raise ConflictError(
                    f"another gc of {self.binding.name} is going on: wait for it; one that died is taken over after a minute"
                )
            try:
                started = GarbageState(run=self.id, alive=utc_now(), holds=state.live_holds())
                await change_state(self.binding.coordination, ref, started)
                return
            except ConflictError:
                continue

    async def sweep(self) -> GarbageReport:
        # What is listed first and marked afterwards can't be reached by less than what is seen while it is marked.
        listed = [info for prefix in _SWEPT for info in await self._list(prefix)]
        parts = [info async for info in self.binding.objects.leftovers()]
        limit, sessions = await self._mark()
        report = GarbageReport()
        doomed = [info for info in listed if self._doomed(info, limit, sessions)]
        report.kept = len(listed) - len(doomed)
        doomed += [info for info in parts if self._doomed(info, limit, sessions)]
        for begin in range(0, len(doomed), _BATCH):
            batch = doomed[begin : begin + _BATCH]
            if not await self._enter():
                raise ConflictError(f"this gc of {self.binding.name} was taken for dead by another one: run it again")
            try:
                limit, sessions = await self._mark()
                here = [info for info in batch if self._doomed(info, limit, sessions)]
                fresh = [await self._still(info, limit) for info in here]
                gone = [info for info, still in zip(here, fresh, strict=True) if still]
                await self.binding.objects.delete([info.key for info in gone])
            finally:
                await asyncio.shield(self._change(deleting=False))
            report.kept += len(batch) - len(gone)
            report.deleted += len(gone)
            report.deleted_bytes += sum(info.size for info in gone)
        await self._forget()
        return report

    async def _list(self, prefix: str) -> list[ObjectInfo]:
        return [info async for info in self.binding.objects.list(prefix)]

    def _doomed(self, info: ObjectInfo, limit: datetime, sessions: set[str]) -> bool:
        if info.key.startswith("sessions/"):
            return info.key.split("/")[1] not in sessions and info.modified < limit
        return info.key not in self.reached.keys and info.modified < limit

    async def _still(self, info: ObjectInfo, limit: datetime) -> bool:
        """Tell whether an object is as it was listed: somebody may have written it anew meanwhile."""
        found = await self.binding.objects.head(info.key)
        return found is not None and found.modified < limit

    async def _mark(self) -> tuple[datetime, set[str]]:
        """Follow what is reached now; return before which time an object must have been written to go, and the sessions that are going on."""
        refs: list[Ref] = await self.binding.coordination.list_refs("")
        now = utc_now()
        limit = self.started - self.grace
        sessions: set[str] = set()
        bases: set[str] = set()
        for ref in refs:
            if ref.name.startswith("session/"):
                record = msgspec.convert(ref.value, SessionRecord)
                if record.expires > now:
                    sessions.add(ref.name.partition("/")[2])
                    bases.add(record.base)
                    limit = min(limit, record.created - _SKEW)
        await self.reached.add(commit_of(ref) for ref in refs if ref.name.startswith(("branch/", "tag/")))
        await self.reached.try_add(bases, history=False)
        retired = [ref for ref in refs if ref.name.startswith("retired/")]
        young = [ref.name.partition("/")[2] for ref in retired if now - _moment(ref) < self.grace]
        await self.reached.try_add(young)
        return limit, sessions

    async def _enter(self) -> bool:
        """Say that objects are being deleted, when no commit holds them back; False where another collection took over."""
        while True:
            ref, state = await read_state(self.binding.coordination)
            if state.run != self.id:
                return False
            if state.live_holds():
                await asyncio.sleep(_PAUSE)
                continue
            try:
                deleting = msgspec.structs.replace(state, deleting=True, alive=utc_now(), holds={})
                await change_state(self.binding.coordination, ref, deleting)
                return True
            except ConflictError:
                continue

    async def _change(self, **fields: object) -> None:
        while True:
            ref, state = await read_state(self.binding.coordination)
            if state.run != self.id:
                return
            try:
                changed = msgspec.structs.replace(state, alive=utc_now(), **fields)
                await change_state(self.binding.coordination, ref, changed)
                return
            except ConflictError:
                continue

    async def end(self) -> None:
        await self._change(run=None, deleting=False)

    async def _forget(self) -> None:
        """Drop the records that have done their duty: retired commits, ends of history and sessions of long ago."""
        coordination, now = self.binding.coordination, utc_now()
        horizon = await expired_parents(self.binding)
        for ref in await coordination.list_refs(""):
            family, _, name = ref.name.partition("/")
            over = (
                (family == "retired" and now - _moment(ref) >= self.grace)
                or (family == "expired" and name in horizon and name not in self.reached.commits)
                or (family == "session" and msgspec.convert(ref.value, SessionRecord).expires <= now - _SKEW)
            )
            if over:
                try:
                    await coordination.delete_ref(ref.name, expected=ref.version)
                except ConflictError:
                    continue


def _moment(ref: Ref) -> datetime:
    return datetime.fromisoformat(ref.value["at"])  # type: ignore[index, call-overload, arg-type]  # as retire() wrote it
