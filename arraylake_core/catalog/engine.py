"""The database of a catalog: what SQLite (sqlite.py) and PostgreSQL (postgres.py) have in common."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, suppress
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

from sqlalchemy import ColumnElement, Connection, Dialect, Select, Table
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.types import TypeDecorator

from arraylake_core.errors import ArraylakeError, CatalogError, ConflictError, StorageError
from arraylake_core.loops import at_loop_end

if TYPE_CHECKING:
    from sqlalchemy.dialects import postgresql

__all__ = [
    "ConstraintError",
    "Database",
    "Engines",
    "Prepared",
    "SchemaError",
    "insert_into",
    "insert_missing",
    "os_problem",
    "sorted_by",
]


class ConstraintError(ConflictError):
    """A constraint of the database refused the change; whoever made it says what that means."""


class SchemaError(CatalogError):
    """The database has not the tables of a catalog."""


class Prepared:
    """A SELECT that is compiled once, and whose rows come as the driver has them: cheap to fetch, and to compare with what was fetched before.

    Parameters
    ----------
    query
        The query; its parameters are bound by name.
    """

    def __init__(self, query: Select[tuple[object, ...]]) -> None:
        self.query = query
        self.compiled: tuple[str, Mapping[str, object]] | None = None
        self._columns = [
            (name, column.type if isinstance(column.type, TypeDecorator) else None)
            for name, column in query.selected_columns.items()
        ]

    def decoded(self, row: Sequence[object], dialect: Dialect) -> dict[str, object]:
        """Return what a row means, by the names of the columns."""
        columns = zip(self._columns, row, strict=True)
        return {name: kind.process_result_value(value, dialect) if kind else value for (name, kind), value in columns}


class Database(Protocol):
    """A database in which a catalog is kept.

    Errors of its driver come as ArraylakeErrors that say what to do, without what was being written; ConstraintError and SchemaError are for
    whoever made the statement.
    """

    migrates_itself: bool
    """Whether whoever opens a catalog of an older release brings it up to date, as opposed to an operator."""

    @property
    def where(self) -> str:
        """Where it is, for messages: it shows no secret."""
        ...

    def read(self, *, single: bool = False) -> AbstractAsyncContextManager[AsyncConnection]:
        """Give a connection that sees one state of the database throughout, and changes nothing.

        Parameters
        ----------
        single
            Whether each statement may see a state of its own, which saves what beginning and ending a transaction costs.
        """
        ...

    async def rows(
        self, statement: Prepared, parameters: Mapping[str, object], connection: AsyncConnection | None = None
    ) -> Sequence[Sequence[object]]:
        """Return the rows of one statement, as the driver has them.

        Parameters
        ----------
        statement, parameters
            What is asked.
        connection
            The transaction to ask in; None asks by itself.
        """
        ...

    def decoded(self, statement: Prepared, row: Sequence[object]) -> dict[str, object]:
        """Return what such a row means, by the names of the columns."""
        ...

    async def transact[T](self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Do something small in a transaction of its own that excludes nobody, and return what it returns.

        Parameters
        ----------
        work
            What is done; where it only reads, it may be done again from its start.
        writes
            Whether it changes anything.
        """
        ...

    def write(self, *, exclusive: bool = True) -> AbstractAsyncContextManager[AsyncConnection]:
        """Give a connection with a transaction: all that is done happens when the block ends well, and none of it otherwise.

        Parameters
        ----------
        exclusive
            Whether all others that ask for this are kept out meanwhile, so that what was looked up holds until the end. Without it, each
            statement must be right by itself, whatever others do beside it.
        """
        ...

    def nested(self, connection: AsyncConnection, *, exclusive: bool = True) -> AbstractAsyncContextManager[AsyncConnection]:
        """Go on in a transaction that has begun: what is done in the block is undone by itself where it fails."""
        ...

    def alone(self) -> AbstractAsyncContextManager[None]:
        """Keep other processes from changing the catalog's keys; whoever dies lets go."""
        ...

    def translated(self) -> AbstractContextManager[None]:
        """Turn the errors of the driver and of the operating system into ArraylakeErrors."""
        ...

    async def exists(self) -> bool:
        """Tell whether the database is there at all."""
        ...

    async def prepare(self, migrate: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Make what is missing, and call ``migrate`` in a transaction that no other process prepares the catalog beside."""
        ...

    async def close(self) -> None:
        """Let go of all connections that nobody uses now; it opens new ones when it is next used."""
        ...


class Engines:
    """One SQLAlchemy engine for each running loop: what an engine holds is bound to the loop that it was made on.

    An engine's connections are closed when its loop shuts down (as asyncio.run does at its end), and a forked child never uses its parent's.

    Parameters
    ----------
    make
        What makes an engine.
    """

    def __init__(self, make: Callable[[], AsyncEngine]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._held: dict[asyncio.AbstractEventLoop, _Held] = {}
        _all.add(self)

    async def current(self) -> AsyncEngine:
        """Return the engine of the running loop."""
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            with self._lock:
                for old in [old for old in self._held if old.is_closed()]:
                    del self._held[old]
                held = self._held.setdefault(loop, _Held(self._make()))
            await held.begin()
        return held.engine

    async def dispose(self) -> None:
        """Close the connections of this loop, and let the other loops close theirs."""
        here = asyncio.get_running_loop()
        with self._lock:
            loops = {loop: held for loop, held in self._held.items() if loop is here or loop.is_running()}
            for loop in loops:
                del self._held[loop]
        for loop, held in loops.items():
            if loop is not here:
                # Where the other loop ends first, its own shutdown does the same.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(held.end_soon)
        if here in loops:
            await loops[here].end()

    def _forget(self) -> None:
        # Kept, never closed: closing the parent's connections in the child would end them for both.
        _inherited.append(self._held)
        self._held, self._lock = {}, threading.Lock()


class _Held:
    """An engine, and what closes its connections when its loop shuts down."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine
        self._life: AsyncGenerator[None] | None = None
        self._begun = False
        self._ending: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._life = await at_loop_end(self.engine.dispose)

    async def end(self) -> None:
        if self._life is not None:
            await self._life.aclose()

    def end_soon(self) -> None:
        self._ending = asyncio.get_running_loop().create_task(self.end())


_all: WeakSet[Engines] = WeakSet()
_inherited: list[object] = []


def _forget_after_fork() -> None:
    for engines in list(_all):
        engines._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def sorted_by(connection: AsyncConnection, column: ColumnElement[str]) -> ColumnElement[str]:
    """Return what rows are ordered by that come in the order of a text, as Python and SQLite have it, whatever language the database was made for."""
    return column if connection.dialect.name == "sqlite" else column.collate("C")


def insert_into(connection: AsyncConnection | Connection, table: Table) -> "sqlite.Insert | postgresql.Insert":
    """Return an INSERT that can say what to do where the row is there already, in the database's own dialect."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql

    return postgresql.insert(table)


async def insert_missing(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert the rows whose keys are not there yet."""
    await connection.execute(insert_into(connection, table).on_conflict_do_nothing(), list(rows))


def os_problem(where: str, error: OSError, what: str = "the catalog's files") -> ArraylakeError:
    """Return what to tell of an error of the operating system about a file.

    Parameters
    ----------
    where
        The file, where the error names none.
    error
        What happened.
    what
        What the file is.
    """
    place = error.filename or where
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(f"there is no space left for {place}: free some, and try again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CatalogError(
            f"{place} can't be read or written: make it and its directory readable and writable for this user, or set ARRAYLAKE_DATA__DIR"
        )
    return CatalogError(f"{what} at {place} can't be used: {error.strerror or type(error).__name__}")
