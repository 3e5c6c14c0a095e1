"""Two primitives that the catalog offers to every repo kind, so that a kind needs no atomic operation from the storage.

Refs are small JSON documents, changed by compare-and-swap. Journals are append-only logs with an expiry. Both belong to one repo, and work the same in the
process and over HTTP, from any event loop.
"""

from datetime import datetime
from typing import Protocol

import msgspec

__all__ = ["Coordination", "JournalEntry", "Ref"]

type JSON = dict[str, "JSON"] | list["JSON"] | str | int | float | bool | None


class Ref(msgspec.Struct, frozen=True, kw_only=True):
    """A named document and its version.

    Parameters
    ----------
    name
        Such as ``branch/main``.
    value
        A JSON document of at most 64 kB.
    version
        Counts the changes, from 1; it never comes back: a ref that is made anew after one was deleted starts above that one's version.
    """

    name: str
    value: JSON
    version: int


class JournalEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a journal.

    Parameters
    ----------
    sequence
        Its number, from 1, growing with every append, without gaps.
    data
        What was appended.
    """

    sequence: int
    data: bytes


class Coordination(Protocol):
    """The refs and journals of one repo."""

    async def get_ref(self, name: str) -> Ref | None:
        """Return a ref, or None where there is none of that name."""
        ...

    async def list_refs(self, prefix: str = "") -> list[Ref]:
        """Return the refs whose names start so, by name."""
        ...

    async def put_ref(self, name: str, value: JSON, *, expected: int | None) -> Ref:
        """Write a ref if its version is the expected one.

        Parameters
        ----------
        name
            Its name.
        value
            Its new document.
        expected
            The version that it must have now; None: it must not exist.

        Raises
        ------
        ConflictError
            It has another version now; nothing was changed.
        """
        ...

    async def delete_ref(self, name: str, *, expected: int) -> None:
        """Delete a ref if its version is the expected one; ConflictError otherwise."""
        ...

    async def append_journal(self, journal: str, data: bytes, *, expires: datetime | None = None) -> int:
        """Append to a journal, beginning it where there is none, and return the entry's number.

        Parameters
        ----------
        journal
            Its id.
        data
            At most 1 MB.
        expires
            When the whole journal may be dropped; None leaves what was set before.
        """
        ...

    async def read_journal(self, journal: str, *, after: int = 0) -> list[JournalEntry]:
        """Return the entries with numbers above ``after``, in order; none where there is no such journal."""
        ...

    async def drop_journal(self, journal: str) -> None:
        """Drop a journal and its entries; nothing happens where there is none."""
        ...
