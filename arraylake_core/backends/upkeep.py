"""What the open repos of some kinds can do beyond RepoHandle: each capability a small Protocol, its name in ``RepoBackend.offers``.

The methods are those of the blocking handle; every result is a Struct, or a number, so that it can be printed.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    import msgspec

__all__ = ["CollectsGarbage", "Expires", "Exports", "Findings", "Verifies"]


@runtime_checkable
class Exports(Protocol):
    """``export``: a version becomes plain Zarr."""

    def export(
        self,
        dest: str,
        *,
        zarr_format: Literal[2, 3] = 3,
        ref: str | None = None,
        from_ref: str | None = None,
        concurrency: int = 64,
    ) -> "msgspec.Struct":
        """Write a version, or what changed since another one, to a directory or URL."""
        ...


@runtime_checkable
class CollectsGarbage(Protocol):
    """``gc``: what nothing reaches is deleted."""

    def gc(self, grace: timedelta) -> "msgspec.Struct":
        """Delete what nothing has reached for as long as the grace."""
        ...


class Findings(Protocol):
    """What a verification found."""

    @property
    def problems(self) -> Sequence[str]:
        """What is wrong; empty where all is well."""
        ...


@runtime_checkable
class Verifies(Protocol):
    """``verify``: everything is read and checked."""

    def verify(self) -> Findings:
        """Check that all that branches and tags reach is there, and is what was written; the findings are a Struct."""
        ...


@runtime_checkable
class Expires(Protocol):
    """``expire``: old history is let go."""

    def expire(self, older_than: datetime | timedelta) -> int:
        """Let go of the history before a time; return how many commits that were."""
        ...
