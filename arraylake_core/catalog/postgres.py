"""A PostgreSQL database as the database of a catalog: connections, transactions, and the errors of the driver in plain words.

Connections are kept, in one pool for each running event loop. A statement by itself costs one round trip: connections commit by themselves, and what begins
and ends a transaction is sent here. All that is PostgreSQL's own is in this module.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, suppress
from typing import Any, cast, override

import asyncpg
from sqlalchemy import Dialect, event
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, MissingGreenlet, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.engine import ConstraintError, Engines, Prepared, SchemaError, os_problem
from arraylake_core.errors import ArraylakeError, CatalogError, InvalidOptionError, StorageError

__all__ = ["PostgresDatabase"]

CONNECT_SECONDS = 10
POOL_SECONDS = 30
IDLE_SECONDS = 30
PING_SECONDS = 5
SERVER_SETTINGS = {
    "application_name": "arraylake-core",
    "statement_timeout": "30s",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "60s",
    # Statements are short; compiling them takes longer than running them.
    "jit": "off",
}

# Any two numbers that no other application of the same database takes.
_WRITERS = 0x61726C6B01
_PREPARERS = 0x61726C6B02

_LOCK = f"SELECT pg_advisory_xact_lock({_WRITERS})"
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
# What the driver raises; the third where a connection is cut at a moment that it does not know how to deal with.
_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
# What a database says that is going down, coming up, or has cut a connection; and what never reached it.
_DIALECT = cast("Dialect", asyncpg_dialect.dialect())  # type: ignore[no-untyped-call]
_GONE = ("08", "57P01", "57P02", "57P03", "57P05", "25P03")


class PostgresDatabase:
    """A PostgreSQL database.

    Parameters
    ----------
    dsn
        Where it is.
    """

    migrates_itself = False

    def __init__(self, dsn: Dsn) -> None:
        self._dsn = dsn
        self._engines = Engines(self._engine)

    @property
    def where(self) -> str:
        """Its URI, without secrets."""
        return self._dsn.uri

    @asynccontextmanager
    async def read(self, *, single: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state throughout, or, for a single statement, one that saves the round trips for that."""
        async with self._connected("" if single else _SNAPSHOT) as connection:
            yield connection

    async def rows(
        self, statement: Prepared, parameters: Mapping[str, object], connection: AsyncConnection | None = None
    ) -> Sequence[Sequence[object]]:
        """Return the rows of one statement, past SQLAlchemy, which would take longer over it than the database itself."""
        if statement.compiled is None:
            compiled = statement.query.compile(dialect=_DIALECT)
            statement.compiled = str(compiled), {name: compiled.params[name] for name in compiled.positiontup or ()}
        text, given = statement.compiled
        arguments = [parameters.get(name, value) for name, value in given.items()]
        with self.translated():
            if connection is not None:
                return cast("Sequence[Sequence[object]]", await _driver(connection).fetch(text, *arguments))
            pool = cast("QueuePool", (await self._engines.current()).pool)
            for left in range(self._dsn.pool_size, -1, -1):
                held = await _checked_out(pool)
                driver = cast("asyncpg.Connection[asyncpg.Record]", held.driver_connection)
                try:
                    return cast("Sequence[Sequence[object]]", await driver.fetch(text, *arguments))
                except _ERRORS as error:
                    # As in _begun: each one of the pool may be lost.
                    if not _is_lost(error, driver):
                        raise
                    driver.terminate()
                    await greenlet_spawn(held.invalidate)
                    if not left:
                        raise
                finally:
                    # Waits for nothing: there is no transaction to end.
                    held.close()
        raise AssertionError("unreachable")

    def decoded(self, statement: Prepared, row: Sequence[object]) -> dict[str, object]:
        """Return what such a row means, by the names of the columns."""
        return statement.decoded(row, _DIALECT)

    @asynccontextmanager
    async def write(self, *, exclusive: bool = True) -> AsyncIterator[AsyncConnection]:
        """Give a connection with a transaction, which all other exclusive ones wait for where this is one."""
        async with self._connected(f"{_BEGIN}; {_LOCK}" if exclusive else _BEGIN) as connection:
            yield connection
            # What somebody has caught without a savepoint has ended the transaction: the answer to COMMIT tells.
            if await _driver(connection).execute("COMMIT") != "COMMIT":
                raise CatalogError(f"the catalog {self.where} refused a part of the change, and nothing was changed: try again")

    @asynccontextmanager
    async def nested(self, connection: AsyncConnection, *, exclusive: bool = True) -> AsyncIterator[AsyncConnection]:
        """Go on in a transaction that has begun, behind a savepoint."""
        with self.translated():
            if exclusive and not (isinstance(connection, _Transaction) and connection.exclusive):
                # Behind a savepoint, a lock goes with it.
                lasting = not connection.in_nested_transaction()
                await _driver(connection).execute(_LOCK)
                if lasting and isinstance(connection, _Transaction):
                    connection.exclusive = True
            async with connection.begin_nested():
                yield connection

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Keep other processes out by a lock of the session; one that dies lets go."""
        # A connection beside the pool, which may have one only: others work meanwhile. The lock ends with the connection.
        with self.translated():
            driver = await self._connect()
            try:
                await driver.execute(f"SELECT pg_advisory_lock({_PREPARERS})")
                yield
            finally:
                await asyncio.shield(asyncio.ensure_future(driver.close(timeout=PING_SECONDS)))

    def translated(self) -> AbstractContextManager[None]:
        """Turn errors into ArraylakeErrors."""
        return _translated(self.where)

    async def exists(self) -> bool:
        """Return True: where it is not there, connecting says so."""
        return True

    async def prepare(self, migrate: Callable[[AsyncConnection], Awaitable[None]]) -> None:
        """Make or change the tables in one transaction, which may take its time."""
        async with self.write() as connection:
            await _driver(connection).execute(
                "SET LOCAL statement_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = 0"
            )
            await migrate(connection)

    async def close(self) -> None:
        """Close the connections that nobody uses now."""
        await self._engines.dispose()

    @asynccontextmanager
    async def _connected(self, begin: str) -> AsyncIterator[AsyncConnection]:
        with self.translated():
            connection = await self._begun(begin)
            try:
                yield connection
            finally:
                if connection.invalidated or not _in_transaction(_driver(connection)):
                    # Nothing is sent, so nothing can be interrupted.
                    await connection.close()
                else:
                    await asyncio.shield(asyncio.ensure_future(_end(connection)))

    async def _begun(self, begin: str) -> AsyncConnection:
        """Return a connection of the pool, in a transaction; one that turns out to be lost is replaced by another."""
        engine = await self._engines.current()
        # Where the database was restarted, all that the pool holds may be lost; where a new connection is lost too, it is the database that is.
        for left in range(self._dsn.pool_size, -1, -1):
            connection = _Transaction(engine) if begin else _Repeating(engine)
            await connection.start()
            driver = _driver(connection)
            try:
                if isinstance(connection, _Transaction):
                    await driver.execute(begin)
                    connection.exclusive = begin.endswith(_LOCK)
                return connection
            except BaseException as error:
                lost = _is_lost(error, driver)
                await asyncio.shield(asyncio.ensure_future(_end(connection, lost=lost)))
                if not (lost and left):
                    raise
        raise AssertionError("unreachable")

    def _engine(self) -> AsyncEngine:
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect,
            pool_size=self._dsn.pool_size,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
            # The ones used last come first, so that those that are not needed age and are looked at before they are used.
            pool_use_lifo=True,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
        )
        event.listen(engine.sync_engine, "checkout", _on_checkout)
        event.listen(engine.sync_engine, "checkin", _on_checkin)
        return engine

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                uri, password = self._dsn.connection()
                return await asyncpg.connect(uri, password=password, timeout=CONNECT_SECONDS, server_settings=SERVER_SETTINGS)
            except asyncpg.CannotConnectNowError:
                # It is starting.
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)


class _Transaction(AsyncConnection):
    """A connection with a transaction that was begun here."""

    exclusive = False


class _Repeating(AsyncConnection):
    """A connection for statements that stand for themselves and change nothing: where one comes upon a lost connection, it is repeated on another."""

    @override
    async def execute(self, *arguments: Any, **options: Any) -> Any:
        for left in (2, 1, 0):
            if self.invalidated:
                await self.get_raw_connection()
            driver = _driver(self)
            try:
                return await super().execute(*arguments, **options)
            except DBAPIError as error:
                if not (left and _is_lost(_cause(error), driver)):
                    raise
            await self.rollback()
            await self.invalidate()
        raise AssertionError("unreachable")


async def _checked_out(pool: QueuePool) -> PoolProxiedConnection:
    """Return a connection of the pool: at once where one is at hand that needs no look, which SQLAlchemy does not know a way for."""
    if pool.checkedin():
        with suppress(MissingGreenlet):
            return pool.connect()
    return await greenlet_spawn(pool.connect)


def _driver(connection: AsyncConnection) -> "asyncpg.Connection[asyncpg.Record]":
    sync = connection.sync_connection
    if sync is None or sync.invalidated:
        raise asyncpg.InterfaceError("the connection is lost")
    return cast("asyncpg.Connection[asyncpg.Record]", sync.connection.driver_connection)


def _in_transaction(driver: "asyncpg.Connection[asyncpg.Record]") -> bool:
    return not driver.is_closed() and bool(driver.is_in_transaction())


async def _end(connection: AsyncConnection, *, lost: bool = False) -> None:
    """Give a connection back to the pool, without a transaction; one that can't be brought to that is closed."""
    if not connection.invalidated:
        driver = _driver(connection)
        try:
            if not lost and _in_transaction(driver):
                await driver.execute("ROLLBACK", timeout=PING_SECONDS)
        except _ERRORS:
            lost = True
        if lost or driver.is_closed():
            await connection.invalidate()
    await connection.close()


def _on_checkin(connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
    entry.info["used"] = time.monotonic()


def _on_checkout(connection: DBAPIConnection, entry: ConnectionPoolEntry, proxy: object) -> None:
    driver: asyncpg.Connection[asyncpg.Record] = entry.driver_connection
    if driver.is_closed():
        raise DisconnectionError
    # One that was not needed for a while may have been cut off on the way without a word.
    if time.monotonic() - entry.info.get("used", time.monotonic()) > IDLE_SECONDS:
        try:
            await_only(driver.execute("SELECT 1", timeout=PING_SECONDS))
        except _ERRORS:
            driver.terminate()
            raise DisconnectionError from None


def _is_lost(error: BaseException | None, driver: "asyncpg.Connection[asyncpg.Record]") -> bool:
    if isinstance(error, asyncio.CancelledError):
        return False
    return (
        driver.is_closed()
        or isinstance(error, OSError | asyncpg.InternalClientError)
        or str(getattr(error, "sqlstate", None)).startswith(_GONE)
    )


def _cause(error: BaseException) -> BaseException:
    """Return the driver's own error."""
    found = getattr(error, "orig", None) or error
    return found.__cause__ or found


@contextmanager
def _translated(where: str) -> Iterator[None]:
    problem: ArraylakeError
    try:
        yield
        return
    except (SQLAlchemyError, *_ERRORS) as error:
        problem = _problem(where, _cause(error))
    raise problem from None


def _problem(where: str, error: BaseException) -> ArraylakeError:
    state = str(getattr(error, "sqlstate", None) or "")
    for start, problem, text in _PROBLEMS:
        if state.startswith(start) and state:
            return problem(text.format(where=where))
    if isinstance(error, PoolTimeoutError):
        return CatalogError(
            f"all connections to {where} were in use for {POOL_SECONDS} seconds, and nothing was changed: "
            "try again, or raise pool_size in its URI"
        )
    if isinstance(error, asyncpg.DataError):
        return InvalidOptionError(_NO_VALUE)
    if isinstance(error, asyncpg.ClientConfigurationError):
        return InvalidOptionError(f"the URI {where} can't be used: check the names and values after its question mark")
    if isinstance(error, asyncpg.InterfaceError | asyncpg.InternalClientError):
        return CatalogError(_CUT.format(where=where))
    if isinstance(error, OSError):
        if error.filename is not None:
            return os_problem(where, error)
        return CatalogError(
            f"the database {where} can't be reached ({_reason(error)}): check its host and port, that it runs, and that the network lets you through"
        )
    return CatalogError(f"the catalog {where} failed ({state or type(error).__name__}), and nothing was changed")


def _reason(error: OSError) -> str:
    import socket

    if isinstance(error, socket.gaierror):
        return "the host is unknown"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS} seconds"
    return "the connection was refused" if isinstance(error, ConnectionRefusedError) else type(error).__name__


_NO_VALUE = "a value can't be kept in the catalog: text may have no NUL characters, and numbers must be of a sensible size"
_CUT = "the connection to {where} was cut, and whether the last change was made is not known: look, and try again"
_ACCESS = (
    "{where} refused the login: check the user and the password. A URI that was printed or pickled has no password: set PGPASSWORD, put it in "
    "~/.pgpass, or set service.database or service.uri (ARRAYLAKE_SERVICE__DATABASE, ARRAYLAKE_SERVICE__URI) to the same URI with its password"
)
_AGAIN = "somebody else changed the catalog at the same moment, and nothing was changed: try again"

# The starts of SQLSTATEs; the first that fits counts.
_PROBLEMS: tuple[tuple[str, type[ArraylakeError], str], ...] = (
    ("23", ConstraintError, _AGAIN),
    ("40P01", CatalogError, _AGAIN),
    ("40001", CatalogError, _AGAIN),
    ("22", InvalidOptionError, _NO_VALUE),
    ("28", CatalogError, _ACCESS),
    ("3D000", CatalogError, "the database {where} does not exist: make it with `createdb`, or correct its name"),
    ("42P01", SchemaError, "{where} has not the tables of a catalog: restore it from a backup, or name another database"),
    ("42703", SchemaError, "{where} has not the columns of this release's catalog: run `arraylake-core admin migrate`"),
    (
        "42501",
        CatalogError,
        "the user of {where} lacks the rights for that: let it own the database, or grant it CREATE on the schema and all on its tables",
    ),
    (
        "53300",
        CatalogError,
        "{where} has no connections left, and nothing was changed: raise max_connections there, or lower pool_size in the URIs",
    ),
    ("53100", StorageError, "the disk of {where} is full, and nothing was changed: free some space there, and try again"),
    ("53", CatalogError, "{where} has run out of resources, and nothing was changed: look into its log, and try again"),
    ("25006", CatalogError, "{where} is read-only, and nothing was changed: it may be a standby; name the primary instead"),
    (
        "55P03",
        CatalogError,
        "somebody has kept the catalog {where} locked for 30 seconds, and nothing was changed: find out who hangs, and try again",
    ),
    (
        "57014",
        CatalogError,
        "{where} took longer than 30 seconds, and nothing was changed: look what keeps it busy, and try again",
    ),
    ("57P03", CatalogError, "{where} is starting up or shutting down: try again"),
    ("57P", CatalogError, _CUT),
    ("25P03", CatalogError, _CUT),
    ("08", CatalogError, _CUT),
    ("58", StorageError, "{where} can't use its own files, and nothing was changed: look into its log"),
    ("XX", StorageError, "{where} is damaged: look into its log, and restore it from a backup"),
)
