"""How commits and garbage collections keep out of each other's way: the ref ``gc``, of which both make a compare-and-swap.

A collection deletes objects that were written before it began and that nothing reaches. A session may meanwhile write bytes that such an object
has: the object is then written anew under the same name, and must not go. So a commit that comes while a collection is going on, or after one
since the session began, takes a hold: the collection deletes nothing while it is there, and the commit looks whether its chunks are still all
there before it moves the branch.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.backends import Coordination, Ref
from arraylake_core.errors import ConflictError, StorageError
from arraylake_core.models import utc_now
from arraylake_v1_repo.format import chunk_key

if TYPE_CHECKING:
    from arraylake_v1_repo.session import Session

__all__ = ["GC_REF", "GarbageState", "change_state", "hold_garbage", "read_state"]

GC_REF = "gc"
LEASE = timedelta(minutes=1)
"""After so long without a sign of life, a collection or a commit is taken for dead."""
_PAUSE = 0.05


class GarbageState(msgspec.Struct, frozen=True, kw_only=True):
    """What the ref ``gc`` says.

    Parameters
    ----------
    run
        The id of the collection that is going on, or None.
    deleting
        Whether it is deleting objects at this moment.
    alive
        Its last sign of life.
    holds
        Which commits are moving a branch at this moment, and since when.
    """

    run: str | None = None
    deleting: bool = False
    alive: datetime | None = None
    holds: dict[str, datetime] = {}

    @property
    def going_on(self) -> bool:
        """Whether a collection is going on."""
        return self.run is not None and self.alive is not None and utc_now() - self.alive < LEASE

    def may_have_deleted_since(self, moment: datetime | None) -> bool:
        """Tell whether a collection is going on, or was since a moment; clocks may be a little apart. None is a moment that nobody knows."""
        return self.going_on or moment is None or (self.alive is not None and self.alive >= moment - LEASE)

    def live_holds(self) -> dict[str, datetime]:
        """Return the holds of commits that may still be going on."""
        return {key: since for key, since in self.holds.items() if utc_now() - since < LEASE}


async def read_state(coordination: Coordination) -> tuple[Ref | None, GarbageState]:
    """Return the ref, and what it says."""
    ref = await coordination.get_ref(GC_REF)
    return ref, (msgspec.convert(ref.value, GarbageState) if ref is not None else GarbageState())


async def change_state(coordination: Coordination, ref: Ref | None, state: GarbageState) -> Ref:
    """Write what the ref says, if it has not changed; ConflictError otherwise."""
    return await coordination.put_ref(GC_REF, msgspec.to_builtins(state), expected=ref.version if ref is not None else None)


@asynccontextmanager
async def hold_garbage(session: "Session") -> AsyncIterator[None]:
    """Keep collections from deleting what a commit is about to point at, while the branch is moved."""
    coordination, key = session.binding.coordination, session.key
    ref, state = await read_state(coordination)
    if ref is None or not state.may_have_deleted_since(session.started):
        yield
        return
    while True:
        if state.deleting and state.going_on:
            await asyncio.sleep(_PAUSE)
        else:
            try:
                await change_state(
                    coordination, ref, msgspec.structs.replace(state, holds={**state.live_holds(), key: utc_now()})
                )
                break
            except ConflictError:
                pass
        ref, state = await read_state(coordination)
    try:
        await _require_chunks(session)
        yield
    finally:
        await asyncio.shield(_release(coordination, key))


async def _release(coordination: Coordination, key: str) -> None:
    while True:
        ref, state = await read_state(coordination)
        if key not in state.holds:
            return
        try:
            await change_state(
                coordination,
                ref,
                msgspec.structs.replace(state, holds={name: since for name, since in state.holds.items() if name != key}),
            )
            return
        except ConflictError:
            continue


async def _require_chunks(session: "Session") -> None:
    """Raise where a chunk that the session wrote was collected; its bytes are no longer at hand."""
    digests = sorted({digest async for digest in session.view.native_digests()})
    objects = session.binding.objects
    for begin in range(0, len(digests), 64):
        part = digests[begin : begin + 64]
        for digest, found in zip(part, await asyncio.gather(*(objects.head(chunk_key(digest)) for digest in part)), strict=True):
            if found is None:
                raise StorageError(
                    f"{chunk_key(digest)} at {objects.place}, which this session wrote, was collected as garbage before it was committed: write it "
                    "again, and let gc have a longer grace; nothing was committed"
                )
