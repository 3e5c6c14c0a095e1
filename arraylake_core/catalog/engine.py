"""One SQLite file as an asynchronous database: connections, transactions, and the errors of the driver in plain words.

Every operation opens a connection and closes it again. So nothing is bound to an event loop, a thread or a process, nothing is left
open, and a fork takes nothing along. All that is SQLite's own is in this module.
"""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, Table, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from arraylake_core.errors import ArraylakeError, CatalogError, ConflictError, StorageError

__all__ = ["ConstraintError", "Database", "SchemaError", "insert_missing", "translated"]

BUSY_SECONDS = 30


class ConstraintError(ConflictError):
    """A constraint of the database refused the change; whoever made it says what that means."""


class SchemaError(CatalogError):
    """The database has not the tables of a catalog."""


class Database:
    """A SQLite file, opened anew for every operation.

    Parameters
    ----------
    path
        The file, which must exist: a catalog that has gone is an error, not an empty catalog.
    durable
        Whether a commit survives a power cut; not needed for what vanishes with the process.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self.path = path
        self._durable = durable
        self._lock = threading.Lock()
        self._engines: dict[asyncio.AbstractEventLoop, AsyncEngine] = {}

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state of the database throughout, and changes nothing."""
        async with self._connected(immediate=False) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """Give a connection with the write lock: all that is done happens when the block ends well, and none of it otherwise."""
        async with self._connected(immediate=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Forget the engines; they hold no connections."""
        with self._lock:
            self._engines.clear()

    @asynccontextmanager
    async def _connected(self, *, immediate: bool) -> AsyncIterator[AsyncConnection]:
        with translated(self.path):
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
        engine = self._engine()
        return await (engine.execution_options(arraylake_immediate=True) if immediate else engine).connect()

    def _engine(self) -> AsyncEngine:
        # One engine for each running loop: SQLAlchemy guards an engine's first connection by a lock that is bound to a loop.
        loop = asyncio.get_running_loop()
        with self._lock:
            if loop not in self._engines:
                for old in [old for old in self._engines if old.is_closed()]:
                    del self._engines[old]
                self._engines[loop] = _sqlite_engine(self.path, durable=self._durable)
            return self._engines[loop]


def _sqlite_engine(path: Path, *, durable: bool) -> AsyncEngine:
    url = URL.create("sqlite+aiosqlite", database=path.as_uri(), query={"mode": "rw", "uri": "true"})
    engine = create_async_engine(
        url, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS, "isolation_level": None}
    )

    def on_connect(connection: DBAPIConnection, record: object) -> None:
        try:
            cursor = connection.cursor()
            cursor.execute("PRAGMA foreign_keys=ON")
            cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            cursor.close()
        except BaseException:
            # SQLAlchemy drops a connection whose preparation fails, as a damaged file's does, without closing it.
            connection.close()
            raise

    def on_begin(connection: Connection) -> None:
        # The write lock is taken at the start: a transaction that reads first and writes later can't get it once another has written.
        immediate = connection.get_execution_options().get("arraylake_immediate")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")

    event.listen(engine.sync_engine, "connect", on_connect)
    event.listen(engine.sync_engine, "begin", on_begin)
    return engine


async def insert_missing(connection: AsyncConnection, table: Table, rows: Sequence[Mapping[str, object]]) -> None:
    """Insert the rows whose keys are not there yet."""
    await connection.execute(sqlite.insert(table).on_conflict_do_nothing(), list(rows))


def make_wal(path: Path) -> None:
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


def _problem(path: Path, error: BaseException | None) -> ArraylakeError:
    name = str(getattr(error, "sqlite_errorname", ""))
    found = f"{name or type(error).__name__}"
    match name.removeprefix("SQLITE_").split("_")[0]:
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
        case "FULL":
            return StorageError(
                f"there is no space left for the catalog {path}, and nothing was changed: free some, and try again"
            )
        case "IOERR":
            return StorageError(
                f"reading or writing the catalog {path} failed ({found}), and nothing was changed: look at its disk"
            )
        case "ERROR" if isinstance(error, sqlite3.OperationalError) and "no such" in str(error):
            return SchemaError(f"{path} has not the tables of a catalog: restore it from a backup, or name another file")
    if isinstance(error, OSError):
        return _os_problem(path, error)
    return CatalogError(f"the catalog {path} failed ({found}), and nothing was changed")


def _os_problem(path: Path, error: OSError) -> ArraylakeError:
    import errno

    where = error.filename or path
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return StorageError(f"there is no space left for {where}: free some, and try again")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return CatalogError(
            f"{where} can't be read or written: make it and its directory readable and writable for this user, or set ARRAYLAKE_DATA__DIR"
        )
    return CatalogError(f"the catalog's files at {where} can't be used: {error.strerror or type(error).__name__}")
