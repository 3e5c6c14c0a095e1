"""Refs and journals in the SQL catalog."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, delete, exists, func, insert, literal, select, update

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


class Transact(Protocol):
    """What does something in a transaction of the catalog."""

    async def __call__[T](self, work: Callable[[Connection], T], *, writes: bool) -> T: ...


class SqlCoordination:
    """The refs and journals of one repo.

    Transactions are not exclusive: writers of different refs, and of different repos, do not wait for one another. So each statement is right by
    itself at READ COMMITTED. Where a transaction locks more than one row, the repo is the first.

    Parameters
    ----------
    repo_id
        The repo.
    transact
        What does something in a transaction of the catalog.
    """

    def __init__(self, repo_id: str, transact: Transact) -> None:
        self._repo_id = repo_id
        self._transact = transact

    async def get_ref(self, name: str) -> Ref | None:
        """Return a ref, or None where there is none of that name."""
        parameters = {"repo": self._repo_id, "ref": validate_ref(name)}

        def get(connection: Connection) -> Row[tuple[str, str, int]] | None:
            found = connection.execute(_REF, parameters).one_or_none()
            if found is None:
                self._require_repo(connection)
            return found

        found = await self._transact(get, writes=False)
        return None if found is None else _ref(found)

    async def list_refs(self, prefix: str = "") -> list[Ref]:
        """Return the refs whose names start so, by name."""
        if not isinstance(prefix, str):
            raise InvalidOptionError(f"a prefix of ref names is text, not a {type(prefix).__name__}")
        # Not LIKE, which has wildcards, and in SQLite takes capitals for small letters.
        matches = func.substr(refs.c.name, 1, len(prefix)) == prefix

        def get(connection: Connection) -> Sequence[Row[tuple[str, str, int]]]:
            found = connection.execute(self._refs().where(matches)).all()
            if not found:
                self._require_repo(connection)
            return found

        found = await self._transact(get, writes=False)
        # Sorted here: not every database sorts capitals and signs alike.
        return sorted((_ref(row) for row in found), key=lambda ref: ref.name)

    async def put_ref(self, name: str, value: JSON, *, expected: int | None) -> Ref:
        """Write a ref if its version is the expected one."""
        validate_ref(name)
        text = _encode(value)
        if expected is not None:
            expected = _version(expected)

        def put(connection: Connection) -> int:
            # A ref that is made anew goes on counting from where deleted ones of the repo ended. Otherwise somebody who has read the
            # first version of the old one could take it for the first version of the new one, and overwrite it.
            # The lock waits for whoever is deleting one, and reads the floor after that.
            if expected is None:
                floor = select(repos.c.id, literal(name), literal(text), repos.c.ref_floor + 1)
                row = floor.where(repos.c.id == self._repo_id).with_for_update(key_share=True)
                made = insert(refs).from_select(["repo_id", "name", "value", "version"], row).returning(refs.c.version)
                version = connection.scalar(made)
                if version is None:
                    self._require_repo(connection)
            else:
                change = update(refs).where(*self._is(name, expected))
                version = connection.scalar(change.values(value=text, version=refs.c.version + 1).returning(refs.c.version))
                if version is None:
                    raise self._conflict(connection, name, expected)
            return int(version or 0)

        try:
            version = await self._transact(put, writes=True)
        except ConstraintError:
            raise await self._transact(lambda connection: self._conflict(connection, name, None), writes=False) from None
        return Ref(name=name, value=msgspec.json.decode(text), version=version)

    async def delete_ref(self, name: str, *, expected: int) -> None:
        """Delete a ref if its version is the expected one."""
        validate_ref(name)
        known = _version(expected)

        def remove(connection: Connection) -> None:
            connection.execute(select(repos.c.id).where(repos.c.id == self._repo_id).with_for_update(key_share=True))
            if not connection.execute(delete(refs).where(*self._is(name, known))).rowcount:
                raise self._conflict(connection, name, expected)
            below = update(repos).where(repos.c.id == self._repo_id, repos.c.ref_floor < known)
            connection.execute(below.values(ref_floor=known))

        await self._transact(remove, writes=True)

    async def append_journal(self, journal: str, data: bytes, *, expires: datetime | None = None) -> int:
        """Append to a journal, beginning it where there is none, and return the entry's number."""
        validate_ref(journal)
        if not isinstance(data, bytes | bytearray | memoryview) or len(data) > MAX_ENTRY_BYTES:
            found = f"{len(data)} bytes" if isinstance(data, bytes | bytearray | memoryview) else f"a {type(data).__name__}"
            raise InvalidOptionError(f"a journal entry is at most {MAX_ENTRY_BYTES} bytes, this is {found}: append it in parts")
        if expires is not None and expires.tzinfo is None:
            raise InvalidOptionError("expires needs a time zone: use datetime.now(UTC) + timedelta(...)")
        lasting = {} if expires is None else {"expires": expires}
        kept = bytes(data)

        def append(connection: Connection) -> int:
            number = self._longer(connection, journal, lasting)
            if number is None:
                # It has expired: its entries go, and it begins anew.
                connection.execute(delete(journals).where(journals.c.name == journal, *self._expired(utc_now())))
                number = self._longer(connection, journal, lasting)
            entry = {"repo_id": self._repo_id, "journal": journal, "sequence": number, "data": kept}
            connection.execute(insert(journal_entries).values(entry))
            if number == 1:
                self._drop_expired(connection)
            return int(number or 0)

        try:
            return await self._transact(append, writes=True)
        except ConstraintError:
            await self._transact(self._require_repo, writes=False)
            raise

    def _longer(self, connection: Connection, journal: str, lasting: Mapping[str, datetime]) -> int | None:
        """Begin a journal, or make it longer by one, and return its length; None where it has expired."""
        first = {"repo_id": self._repo_id, "name": journal, "length": 1, **lasting}
        valid = journals.c.expires.is_(None) | (journals.c.expires > utc_now())
        longer = insert_into(connection, journals).on_conflict_do_update(
            index_elements=["repo_id", "name"], set_={"length": journals.c.length + 1, **lasting}, where=valid
        )
        number: int | None = connection.scalar(longer.values(first).returning(journals.c.length))
        return number

    def _drop_expired(self, connection: Connection) -> None:
        """Drop the repo's expired journals, but for those that somebody has to do with: waiting for one, holding another, could be in a circle."""
        free = select(journals.c.name).where(*self._expired(utc_now())).with_for_update(skip_locked=True)
        names = connection.scalars(free).all()
        if names:
            connection.execute(delete(journals).where(journals.c.repo_id == self._repo_id, journals.c.name.in_(names)))

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

        def read(connection: Connection) -> tuple[list[JournalEntry], bool]:
            entries = [JournalEntry(sequence=sequence, data=data) for sequence, data in connection.execute(query)]
            return entries, bool(connection.scalar(select(exists().where(*self._expired(now)))))

        entries, expired = await self._transact(read, writes=False)
        if expired:
            await self._transact(self._drop_expired, writes=True)
        return entries

    async def drop_journal(self, journal: str) -> None:
        """Drop a journal and its entries; nothing happens where there is none."""
        gone = delete(journals).where(journals.c.repo_id == self._repo_id, journals.c.name == validate_ref(journal))
        await self._transact(lambda connection: connection.execute(gone) and None, writes=True)

    def _refs(self) -> Select[tuple[str, str, int]]:
        return select(refs.c.name, refs.c.value, refs.c.version).where(refs.c.repo_id == self._repo_id)

    def _is(self, name: str, version: int) -> tuple[ColumnElement[bool], ...]:
        return refs.c.repo_id == self._repo_id, refs.c.name == name, refs.c.version == version

    def _expired(self, now: datetime) -> tuple[ColumnElement[bool], ...]:
        return journals.c.repo_id == self._repo_id, journals.c.expires <= now

    def _require_repo(self, connection: Connection) -> None:
        if not connection.scalar(select(exists().where(repos.c.id == self._repo_id))):
            raise RepoNotFoundError(f"there is no repo with the id {shown(self._repo_id)}: it may have been purged")

    def _conflict(self, connection: Connection, name: str, expected: int | None) -> ConflictError:
        self._require_repo(connection)
        found = connection.execute(self._refs().where(refs.c.name == name)).one_or_none()
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
