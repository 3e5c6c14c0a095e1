"""One SQLite file as the database of a catalog: connections, transactions, and the errors of the driver in plain words.

Every operation opens a connection and closes it again. So nothing is bound to an event loop, a thread or a process, nothing is left
open, and a fork takes nothing along. All that is SQLite's own is in this module.

Most operations go on over several statements and awaits, by a connection that a thread of its own serves. What happens often, to the refs of a repo, is done
in one go by a thread of a pool: handing each step to a thread and its result back takes several times as long as the steps.
"""

import asyncio
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from contextvars import copy_context
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from filelock import AsyncFileLock, Timeout
from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from arraylake_core.catalog.engine import ConstraintError, Engines, Prepared, SchemaError, os_problem
from arraylake_core.errors import ArraylakeError, CatalogError, StorageError
from arraylake_core.threads import Threads

__all__ = ["SqliteDatabase", "translated"]

_PAGE = 4096
BUSY_SECONDS = 30
LOCK_SECONDS = 120
_THREADS = 8

_threads = Threads(_THREADS, "arraylake-catalog")
_SETTINGS: dict[str, Any] = {
    "poolclass": NullPool,
    "hide_parameters": True,
    "connect_args": {"timeout": BUSY_SECONDS, "isolation_level": None},
}


class SqliteDatabase:
    """A SQLite file, opened anew for every operation.

    Parameters
    ----------
    path
        The file, which must exist: a catalog that has gone is an error, not an empty catalog.
    durable
        Whether a commit survives a power cut; not needed for what vanishes with the process.
    """

    migrates_itself = True

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        self._engines = Engines(self._engine)

    @property
    def where(self) -> str:
        """The file's path."""
        return str(self.path)

    @asynccontextmanager
    async def read(self, *, single: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database throughout; ``single`` saves nothing here."""
        async with self._connected(immediate=False) as connection:
            yield connection

    async def rows(
        self, statement: Prepared, parameters: Mapping[str, object], connection: AsyncConnection | None = None
    ) -> Sequence[Sequence[object]]:
        """Return the rows of one statement."""
        if connection is not None:
            return (await connection.execute(statement.query, parameters)).all()
        return await self.transact(lambda own: own.execute(statement.query, parameters).all(), writes=False)

    def decoded(self, statement: Prepared, row: Sequence[object]) -> dict[str, object]:
        """Return such a row by the names of the columns: it was decoded on the way."""
        return dict(zip(statement.query.selected_columns.keys(), row, strict=True))

    @asynccontextmanager
    async def write(self, *, exclusive: bool = True) -> AsyncIterator[AsyncConnection]:
        """Give a connection with the write lock, which keeps all other writers out, ``exclusive`` or not."""
        async with self._connected(immediate=True) as connection, connection.begin():
            yield connection

    async def transact[T](self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Do something in a transaction of its own, in one go in a thread. Whoever is cancelled meanwhile does not hear how it ended."""
        call = partial(copy_context().run, self._transact, work, writes=writes)
        return await asyncio.get_running_loop().run_in_executor(_threads(), call)

    @cached_property
    def _direct(self) -> Engine:
        return self._listened(create_engine(self._url("pysqlite"), **_SETTINGS))

    def _transact[T](self, work: Callable[[Connection], T], *, writes: bool) -> T:
        with self.translated():
            engine = self._direct.execution_options(arraylake_immediate=True) if writes else self._direct
            with engine.connect() as connection, connection.begin():
                return work(connection)

    @asynccontextmanager
    async def nested(self, connection: AsyncConnection, *, exclusive: bool = True) -> AsyncIterator[AsyncConnection]:
        """Go on in a transaction that has begun, behind a savepoint."""
        with self.translated():
            async with connection.begin_nested():
                yield connection

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep other processes out by a file lock; a lock whose process dies is free again."""
        lock = AsyncFileLock(self.path.with_name(f"{self.path.name}.lock"), timeout=LOCK_SECONDS, mode=0o600)
        try:
            await lock.acquire()
        except Timeout:
            raise CatalogError(
                f"another process has kept {self.path}.lock for {LOCK_SECONDS} seconds: find out which one hangs, and try again"
            ) from None
        try:
            yield
        finally:
            await lock.release()

    def translated(self) -> AbstractContextManager[None]:
        """Turn errors into ArraylakeErrors."""
        return translated(self.path)

    async def exists(self) -> bool:
        """Tell whether the file is there."""
        with self.translated():
            return self.path.exists()

    async def prepare(self, migrate: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Make the file, or change the one that is there, whole or not at all."""
        with self.translated():
            async with self.alone():
                if self.path.exists() and self.path.stat().st_size > 0:
                    async with self.write() as connection:
                        await migrate(connection)
                else:
                    await self._make(migrate)

    async def _make(self, migrate: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Make the file under another name and move it into place whole, so that nobody ever sees half of it."""
        draft = self.path.with_name(f".{self.path.name}.new")
        _remove(draft)
        try:
            os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            _make_wal(draft)
            database = SqliteDatabase(draft, durable=self._durable)
            async with database.write() as connection:
                await migrate(connection)
            await database.close()
            draft.replace(self.path)
        finally:
            _remove(draft)

    async def close(self) -> None:
        """Forget the engines; they hold no connections."""
        await self._engines.dispose()

    @asynccontextmanager
    async def _connected(self, *, immediate: bool) -> AsyncIterator[AsyncConnection]:
        with self.translated():
            connection = await self._connect(immediate=immediate)
            try:
                yield connection
            finally:
                await asyncio.shield(asyncio.ensure_future(connection.close()))

    async def _connect(self, *, immediate: bool) -> AsyncConnection:
        # A task that is cancelled while the driver's thread opens the file would lose the connection without closing it.
        starting = asyncio.ensure_future(self._start(immediate=immediate))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            if not starting.cancelled() and (await asyncio.wait([starting])) and starting.exception() is None:
                await starting.result().close()
            raise

    async def _start(self, *, immediate: bool) -> AsyncConnection:
        engine = await self._engines.current()
        return await (engine.execution_options(arraylake_immediate=True) if immediate else engine).connect()

    def _url(self, driver: str) -> URL:
        return URL.create(f"sqlite+{driver}", database=self.path.as_uri(), query={"mode": "rw", "uri": "true"})

    def _engine(self) -> AsyncEngine:
        engine = create_async_engine(self._url("aiosqlite"), **_SETTINGS)
        self._listened(engine.sync_engine)
        return engine

    def _listened(self, engine: Engine) -> Engine:
        def on_connect(connection: DBAPIConnection, record: object) -> None:
            try:
                cursor = connection.cursor()
                cursor.execute("PRAGMA foreign_keys=ON")
                cursor.execute(f"PRAGMA synchronous={'FULL' if self._durable else 'OFF'}")
                cursor.close()
            except BaseException:
                # SQLAlchemy drops a connection whose preparation fails, as a damaged file's does, without closing it.
                connection.close()
                raise

        def on_begin(connection: Connection) -> None:
            # The write lock is taken at the start: a transaction that reads first and writes later can't get it once another has written.
            immediate = connection.get_execution_options().get("arraylake_immediate")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "begin", on_begin)
        return engine


def _remove(draft: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)


def _make_wal(path: Path) -> None:
    """Let readers and a writer work at the same time; the file remembers it. Nobody else may have the file open."""
    with translated(path):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn the errors of the driver and of the operating system into ArraylakeErrors that say what to do, without what was being written."""
    problem: ArraylakeError
    try:
        yield
        return
    except DBAPIError as error:
        problem = _problem(path, error.orig)
    except (sqlite3.Error, OSError) as error:
        problem = _problem(path, error)
    raise problem from None


def _is_full(path: Path) -> bool:
    """Tell whether there is no room for a page more: SQLite says so in several ways, one of them to whoever only reads."""
    with suppress(OSError):
        return shutil.disk_usage(path.parent).free < _PAGE
    return False


def _problem(path: Path, error: BaseException | None) -> ArraylakeError:
    name = str(getattr(error, "sqlite_errorname", ""))
    found = f"{name or type(error).__name__}"
    match name.removeprefix("SQLITE_").split("_")[0]:
        case "FULL" | "IOERR" | "CANTOPEN" if name == "SQLITE_FULL" or _is_full(path):
            return StorageError(
                f"there is no space left for the catalog {path}, and nothing was changed: free some, and try again"
            )
        case "CONSTRAINT":
            return ConstraintError("somebody else changed the catalog at the same moment, and nothing was changed: try again")
        case "NOTADB":
            return CatalogError(f"{path} is not a SQLite database: move it away, or name another file as the catalog")
        case "CORRUPT":
            return CatalogError(f"the catalog {path} is damaged: restore it from a backup, together with its key file")
        case "READONLY" | "PERM" | "AUTH":
            return CatalogError(f"the catalog {path} can't be written: make the file and its directory writable for this user")
        case "CANTOPEN":
            return CatalogError(
                f"the catalog {path} can't be opened: check that the file is there, and that this user may read and write it and its directory"
            )
        case "BUSY" | "LOCKED":
            return CatalogError(
                f"another process has kept the catalog {path} locked for {BUSY_SECONDS} seconds, and nothing was changed: "
                "find out which one hangs (`fuser`), and try again"
            )
        case "IOERR":
            return StorageError(
                f"reading or writing the catalog {path} failed ({found}), and nothing was changed: look at its disk"
            )
        case "ERROR" if isinstance(error, sqlite3.OperationalError) and "no such" in str(error):
            return SchemaError(f"{path} has not the tables of a catalog: restore it from a backup, or name another file")
    if isinstance(error, OSError):
        return os_problem(str(path), error)
    return CatalogError(f"the catalog {path} failed ({found}), and nothing was changed")
