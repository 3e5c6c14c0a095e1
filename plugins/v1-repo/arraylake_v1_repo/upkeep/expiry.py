"""Letting go of history: the commits before a time are no longer reached, and a later gc takes what only they had."""

from datetime import UTC, datetime, timedelta

from arraylake_core.errors import ConflictError, InvalidOptionError
from arraylake_core.models import utc_now
from arraylake_v1_repo.binding import Binding
from arraylake_v1_repo.commits import ancestry
from arraylake_v1_repo.refs import list_refs, retire

__all__ = ["expire"]


async def expire(binding: Binding, older_than: datetime | timedelta) -> int:
    """Let go of the commits before a time that are not where a branch or tag is.

    The oldest commit of each line that is young enough becomes its first one: the ref ``expired/<id>`` says so, and the commit itself stays as
    it is. What was reached until now is remembered for the grace period of gc, so that who reads it at this moment can go on.

    Returns
    -------
    int
        How many commits are no longer reached.
    """
    limit = _limit(older_than)
    heads = {*(await list_refs(binding, "branch")).values(), *(await list_refs(binding, "tag")).values()}
    kept: set[str] = set()
    reached: set[str] = set()
    cuts: dict[str, str] = {}
    for head in heads:
        previous: str | None = None
        cut = False
        async for info in ancestry(binding, head):
            if not cut and previous is not None and info.time < limit:
                cuts[previous] = info.id
                cut = True
            if not cut:
                kept.add(info.id)
            reached.add(info.id)
            previous = info.id
    gone = reached - kept
    # A commit that another line still needs is no place to cut at.
    for commit, parent in cuts.items():
        if parent in kept:
            continue
        await retire(binding, parent)
        try:
            await binding.coordination.put_ref(f"expired/{commit}", {"at": utc_now().isoformat()}, expected=None)
        except ConflictError:
            continue
    return len(gone)


def _limit(older_than: datetime | timedelta) -> datetime:
    if isinstance(older_than, timedelta):
        if older_than < timedelta(0):
            raise InvalidOptionError("older_than is an age, which is not negative")
        return utc_now() - older_than
    if not isinstance(older_than, datetime) or older_than.tzinfo is None:
        raise InvalidOptionError(
            "older_than is an age as a timedelta, or a datetime with a time zone: datetime(2026, 1, 1, tzinfo=UTC)"
        )
    return older_than.astimezone(UTC)
