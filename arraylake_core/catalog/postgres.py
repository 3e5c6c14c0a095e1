"""A PostgreSQL database as the database of a catalog: connections and transactions.

Connections are kept, in one pool for each running event loop. A statement by itself costs one round trip: connections commit by themselves, and what begins
and ends a transaction is sent here. All that is PostgreSQL's own is in this module, and in postgres_errors.py.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from functools import partial
from typing import Any, cast, override

import asyncpg
from sqlalchemy import Connection, Dialect, event
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DBAPIError, DisconnectionError, MissingGreenlet
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool
from sqlalchemy.util import await_only, greenlet_spawn

from arraylake_core.catalog.dsn import Dsn
from arraylake_core.catalog.engine import Engines, Prepared
from arraylake_core.catalog.postgres_errors import CONNECT_SECONDS, DRIVER_ERRORS, POOL_SECONDS, cause_of, is_lost, translated
from arraylake_core.errors import CatalogError

__all__ = ["PostgresDatabase"]

IDLE_SECONDS = 30
PING_SECONDS = 5
APPLICATION = "arraylake-core"
LIMITS = {
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
_DIALECT = cast("Dialect", asyncpg_dialect.dialect())  # type: ignore[no-untyped-call]


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
        # Whoever shares connections out takes no settings for one: each transaction has its own.
        limits = "".join(f"; SET LOCAL {name} = '{value}'" for name, value in LIMITS.items()) if dsn.is_shared else ""
        self._snapshot, self._begin = _SNAPSHOT + limits, _BEGIN + limits

    @property
    def where(self) -> str:
        """Its URI, without secrets."""
        return self._dsn.uri

    @asynccontextmanager
    async def read(self, *, single: bool = False) -> AsyncIterator[AsyncConnection]:
        """Give a connection that sees one state throughout, or, for a single statement, one that saves the round trips for that."""
        async with self._connected("" if single and not self._dsn.is_shared else self._snapshot) as connection:
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
        if connection is None and self._dsn.is_shared:
            async with self.read() as own:
                return await self.rows(statement, parameters, own)
        with self.translated():
            if connection is not None:
                return cast("Sequence[Sequence[object]]", await _driver(connection).fetch(text, *arguments))
            pool = cast("QueuePool", (await self._engines.current()).pool)
            for left in range(self._dsn.pool_size, -1, -1):
                held = await _checked_out(pool)
                driver = cast("asyncpg.Connection[asyncpg.Record]", held.driver_connection)
                try:
                    return cast("Sequence[Sequence[object]]", await driver.fetch(text, *arguments))
                except DRIVER_ERRORS as error:
                    # As in _begun: each one of the pool may be lost.
                    if not is_lost(error, driver):
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

    async def transact[T](self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Do something in a transaction of its own, or, where it only reads, without one."""
        async with self.write(exclusive=False) if writes else self.read(single=True) as connection:
            return await connection.run_sync(work)

    @asynccontextmanager
    async def write(self, *, exclusive: bool = True) -> AsyncIterator[AsyncConnection]:
        """Give a connection with a transaction, which all other exclusive ones wait for where this is one."""
        async with self._connected(f"{self._begin}; {_LOCK}" if exclusive else self._begin) as connection:
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
        """Keep other processes out by a lock of a transaction; one that dies lets go."""
        # A connection beside the pool, which may have one only: others work meanwhile. The lock ends with the connection.
        with self.translated():
            driver = await self._connect()
            try:
                await driver.execute(f"{_BEGIN}; SET LOCAL idle_in_transaction_session_timeout = 0")
                await driver.execute(f"SELECT pg_advisory_xact_lock({_PREPARERS})")
                yield
            finally:
                await asyncio.shield(asyncio.ensure_future(driver.close(timeout=PING_SECONDS)))

    def translated(self) -> AbstractContextManager[None]:
        """Turn errors into ArraylakeErrors."""
        return translated(self.where)

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
                lost = is_lost(error, driver)
                await asyncio.shield(asyncio.ensure_future(_end(connection, lost=lost)))
                if not (lost and left):
                    raise
        raise AssertionError("unreachable")

    def _engine(self) -> AsyncEngine:
        cache = self._dsn.statement_cache_size
        # A statement with a name would be left behind in whichever connection it was prepared.
        unnamed = {"prepared_statement_name_func": lambda: ""}
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=self._connect_to_share if self._dsn.is_shared else self._connect,
            pool_size=self._dsn.pool_size,
            max_overflow=0,
            pool_timeout=POOL_SECONDS,
            # The ones used last come first, so that those that are not needed age and are looked at before they are used.
            pool_use_lifo=True,
            hide_parameters=True,
            isolation_level="AUTOCOMMIT",
            connect_args={} if cache is None else {"prepared_statement_cache_size": cache} | ({} if cache else unnamed),
        )
        event.listen(engine.sync_engine, "checkout", _on_checkout)
        event.listen(engine.sync_engine, "checkin", _on_checkin)
        if self._dsn.is_shared:
            event.listen(engine.sync_engine, "connect", _on_first_questions)
        return engine

    async def _connect_to_share(self) -> "asyncpg.Connection[asyncpg.Record]":
        """Return a new connection in a transaction: SQLAlchemy asks some questions first, by statements that it prepares."""
        driver = await self._connect()
        await driver.execute(_BEGIN)
        return driver

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record]":
        size = self._dsn.statement_cache_size
        cache = {} if size is None else {"statement_cache_size": size}
        deadline = time.monotonic() + CONNECT_SECONDS
        while True:
            try:
                uri, password = self._dsn.connection()
                return await asyncpg.connect(
                    uri,
                    password=password,
                    timeout=CONNECT_SECONDS,
                    server_settings={"application_name": APPLICATION} | ({} if self._dsn.is_shared else LIMITS),
                    **cache,
                )
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
        return await self._repeated(partial(super().execute, *arguments, **options))

    @override
    async def run_sync(self, *arguments: Any, **options: Any) -> Any:
        return await self._repeated(partial(super().run_sync, *arguments, **options))

    async def _repeated[T](self, attempt: Callable[[], Awaitable[T]]) -> T:
        for left in (2, 1, 0):
            if self.invalidated:
                await self.get_raw_connection()
            driver = _driver(self)
            try:
                return await attempt()
            except DBAPIError as error:
                if not (left and is_lost(cause_of(error), driver)):
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
        except DRIVER_ERRORS:
            lost = True
        if lost or driver.is_closed():
            await connection.invalidate()
    await connection.close()


def _on_first_questions(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
    """End the transaction that a new connection came with."""
    await_only(cast("asyncpg.Connection[asyncpg.Record]", entry.driver_connection).execute("COMMIT"))


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
        except DRIVER_ERRORS:
            driver.terminate()
            raise DisconnectionError from None
