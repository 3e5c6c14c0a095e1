"""Refs and journals in the SQL catalog."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

import msgspec
from sqlalchemy import ColumnElement, Row, Select, bindparam, delete, exists, func, insert, literal, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.backends.coordination import JSON, JournalEntry, Ref
from arraylake_core.catalog.engine import ConstraintError, insert_into
from arraylake_core.catalog.tables import journal_entries, journals, refs, repos
from arraylake_core.errors import ConflictError, InvalidOptionError, RepoNotFoundError
from arraylake_core.models import utc_now
from arraylake_core.names import shown, validate_ref

__all__ = ["SqlCoordination"]

MAX_REF_BYTES = 64 * 1024
MAX_ENTRY_BYTES = 1024 * 1024
_MOST = 2**31 - 1

_REF: Select[tuple[str, str, int]] = select(refs.c.name, refs.c.value, refs.c.version).where(
    refs.c.repo_id == bindparam("repo"), refs.c.name == bindparam("ref")
)


class Read(Protocol):
    """What begins to read."""

    def __call__(self, *, single: bool = False) -> AbstractAsyncContextManager[AsyncConnection]: ...


class Write(Protocol):
    """What begins a transaction."""

    def __call__(self, *, exclusive: bool = True) -> AbstractAsyncContextManager[AsyncConnection]: ...


class SqlCoordination:
    """The refs and journals of one repo.

    Transactions are not exclusive: writers of different refs, and of different repos, do not wait for one another. So each statement is right by
    itself at READ COMMITTED. Where a transaction locks more than one row, the repo is the first.

    Parameters
    ----------
    repo_id
        The repo.
    read, write
        What begins a transaction of the catalog.
    """

    def __init__(self, repo_id: str, read: Read, write: Write) -> None:
        self._repo_id = repo_id
        self._read = read
        self._write = write

    async def get_ref(self, name: str) -> Ref | None:
        """Return a ref, or None where there is none of that name."""
        async with self._read(single=True) as connection:
            found = (await connection.execute(_REF, {"repo": self._repo_id, "ref": validate_ref(name)})).one_or_none()
            if found is None:
                await self._require_repo(connection)
        return None if found is None else _ref(found)

    async def list_refs(self, prefix: str = "") -> list[Ref]:
        """Return the refs whose names start so, by name."""
        if not isinstance(prefix, str):
            raise InvalidOptionError(f"a prefix of ref names is text, not a {type(prefix).__name__}")
        # Not LIKE, which has wildcards, and in SQLite takes capitals for small letters.
        matches = func.substr(refs.c.name, 1, len(prefix)) == prefix
        async with self._read(single=True) as connection:
            found = (await connection.execute(self._refs().where(matches))).all()
            if not found:
                await self._require_repo(connection)
        # Sorted here: not every database sorts capitals and signs alike.
        return sorted((_ref(row) for row in found), key=lambda ref: ref.name)

    async def put_ref(self, name: str, value: JSON, *, expected: int | None) -> Ref:
        """Write a ref if its version is the expected one."""
        validate_ref(name)
        text = _encode(value)
        try:
            async with self._write(exclusive=False) as connection:
                # A ref that is made anew goes on counting from where deleted ones of the repo ended. Otherwise somebody who has read the
                # first version of the old one could take it for the first version of the new one, and overwrite it.
                # The lock waits for whoever is deleting one, and reads the floor after that.
                if expected is None:
                    floor = select(repos.c.id, literal(name), literal(text), repos.c.ref_floor + 1)
                    row = floor.where(repos.c.id == self._repo_id).with_for_update(key_share=True)
                    made = insert(refs).from_select(["repo_id", "name", "value", "version"], row).returning(refs.c.version)
                    version = await connection.scalar(made)
                    if version is None:
                        await self._require_repo(connection)
                else:
                    change = update(refs).where(*self._is(name, _version(expected)))
                    version = await connection.scalar(
                        change.values(value=text, version=refs.c.version + 1).returning(refs.c.version)
                    )
                    if version is None:
                        raise await self._conflict(connection, name, expected)
        except ConstraintError:
            async with self._read() as connection:
                raise await self._conflict(connection, name, None) from None
        return Ref(name=name, value=msgspec.json.decode(text), version=int(version or 0))

    async def delete_ref(self, name: str, *, expected: int) -> None:
        """Delete a ref if its version is the expected one."""
        validate_ref(name)
        async with self._write(exclusive=False) as connection:
            await connection.execute(select(repos.c.id).where(repos.c.id == self._repo_id).with_for_update(key_share=True))
            gone = await connection.execute(delete(refs).where(*self._is(name, _version(expected))))
            if not gone.rowcount:
                raise await self._conflict(connection, name, expected)
            below = update(repos).where(repos.c.id == self._repo_id, repos.c.ref_floor < expected)
            await connection.execute(below.values(ref_floor=expected))

    async def append_journal(self, journal: str, data: bytes, *, expires: datetime | None = None) -> int:
        """Append to a journal, beginning it where there is none, and return the entry's number."""
        validate_ref(journal)
        if not isinstance(data, bytes | bytearray | memoryview) or len(data) > MAX_ENTRY_BYTES:
            found = f"{len(data)} bytes" if isinstance(data, bytes | bytearray | memoryview) else f"a {type(data).__name__}"
            raise InvalidOptionError(f"a journal entry is at most {MAX_ENTRY_BYTES} bytes, this is {found}: append it in parts")
        if expires is not None and expires.tzinfo is None:
            raise InvalidOptionError("expires needs a time zone: use datetime.now(UTC) + timedelta(...)")
        lasting = {} if expires is None else {"expires": expires}
        try:
            async with self._write(exclusive=False) as connection:
                number = await self._longer(connection, journal, lasting)
                if number is None:
                    # It has expired: its entries go, and it begins anew.
                    await connection.execute(delete(journals).where(journals.c.name == journal, *self._expired(utc_now())))
                    number = await self._longer(connection, journal, lasting)
                entry = {"repo_id": self._repo_id, "journal": journal, "sequence": number, "data": bytes(data)}
                await connection.execute(insert(journal_entries).values(entry))
                if number == 1:
                    await self._drop_expired(connection)
        except ConstraintError:
            async with self._read() as connection:
                await self._require_repo(connection)
            raise
        return int(number or 0)

    async def _longer(self, connection: AsyncConnection, journal: str, lasting: Mapping[str, datetime]) -> int | None:
        """Begin a journal, or make it longer by one, and return its length; None where it has expired."""
        first = {"repo_id": self._repo_id, "name": journal, "length": 1, **lasting}
        valid = journals.c.expires.is_(None) | (journals.c.expires > utc_now())
        longer = insert_into(connection, journals).on_conflict_do_update(
            index_elements=["repo_id", "name"], set_={"length": journals.c.length + 1, **lasting}, where=valid
        )
        number: int | None = await connection.scalar(longer.values(first).returning(journals.c.length))
        return number

    async def _drop_expired(self, connection: AsyncConnection) -> None:
        """Drop the repo's expired journals, but for those that somebody has to do with: waiting for one, holding another, could be in a circle."""
        free = select(journals.c.name).where(*self._expired(utc_now())).with_for_update(skip_locked=True)
        names = (await connection.scalars(free)).all()
        if names:
            await connection.execute(delete(journals).where(journals.c.repo_id == self._repo_id, journals.c.name.in_(names)))

    async def read_journal(self, journal: str, *, after: int = 0) -> list[JournalEntry]:
        """Return the entries with numbers above ``after``, in order; none where there is no such journal."""
        validate_ref(journal)
        now = utc_now()
        query = (
            select(journal_entries.c.sequence, journal_entries.c.data)
            .join(journals)
            .where(
                journals.c.repo_id == self._repo_id, journals.c.name == journal, journal_entries.c.sequence > min(after, _MOST)
            )
            .where(journals.c.expires.is_(None) | (journals.c.expires > now))
            .order_by(journal_entries.c.sequence)
        )
        async with self._read(single=True) as connection:
            rows = (await connection.execute(query)).all()
            expired = await connection.scalar(select(exists().where(*self._expired(now))))
        if expired:
            async with self._write(exclusive=False) as connection:
                await self._drop_expired(connection)
        return [JournalEntry(sequence=sequence, data=data) for sequence, data in rows]

    async def drop_journal(self, journal: str) -> None:
        """Drop a journal and its entries; nothing happens where there is none."""
        validate_ref(journal)
        async with self._write(exclusive=False) as connection:
            await connection.execute(delete(journals).where(journals.c.repo_id == self._repo_id, journals.c.name == journal))

    def _refs(self) -> Select[tuple[str, str, int]]:
        return select(refs.c.name, refs.c.value, refs.c.version).where(refs.c.repo_id == self._repo_id)

    def _is(self, name: str, version: int) -> tuple[ColumnElement[bool], ...]:
        return refs.c.repo_id == self._repo_id, refs.c.name == name, refs.c.version == version

    def _expired(self, now: datetime) -> tuple[ColumnElement[bool], ...]:
        return journals.c.repo_id == self._repo_id, journals.c.expires <= now

    async def _require_repo(self, connection: AsyncConnection) -> None:
        if not await connection.scalar(select(exists().where(repos.c.id == self._repo_id))):
            raise RepoNotFoundError(f"there is no repo with the id {shown(self._repo_id)}: it may have been purged")

    async def _conflict(self, connection: AsyncConnection, name: str, expected: int | None) -> ConflictError:
        await self._require_repo(connection)
        found = (await connection.execute(self._refs().where(refs.c.name == name))).one_or_none()
        return ConflictError(
            f"the ref {name!r} was expected {_shown_version(expected)}, and was found {_shown_version(found and found.version)}: "
            "nothing was changed; read it again, and retry"
        )


def _ref(row: Row[tuple[str, str, int]]) -> Ref:
    return Ref(name=row.name, value=msgspec.json.decode(row.value), version=row.version)


def _shown_version(version: int | None) -> str:
    return "not to exist" if version is None else f"at version {version}"


def _version(expected: int) -> int:
    if not isinstance(expected, int) or isinstance(expected, bool):
        raise InvalidOptionError(f"the expected version of a ref is a whole number, not a {type(expected).__name__}")
    # No version is that high, and no database counts that far.
    return max(0, min(expected, _MOST))


def _encode(value: JSON) -> str:
    try:
        text = msgspec.json.encode(value)
        # What is no JSON, such as a date, a tuple or NaN, would come back as something else.
        same = msgspec.json.decode(text) == value
    except (TypeError, ValueError, OverflowError, RecursionError):
        same, text = False, b""
    if not same:
        raise InvalidOptionError(
            "the value of a ref is a JSON document: text, numbers, true, false, null, and lists and objects of those"
        )
    if len(text) > MAX_REF_BYTES:
        raise InvalidOptionError(
            f"the value of a ref may have {MAX_REF_BYTES} bytes as JSON, this has {len(text)}: keep it in the repo itself"
        )
    return text.decode()
