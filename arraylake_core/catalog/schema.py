"""The catalog's start: its files are made on first use, and its tables brought to this release's revision.

A catalog that is at that revision already, which is nearly always so, costs one read, and Alembic is not imported.
"""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from filelock import AsyncFileLock, Timeout
from sqlalchemy import Connection, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.engine import Database, SchemaError, make_wal, translated
from arraylake_core.catalog.home import Home
from arraylake_core.catalog.tables import encryption_keys, version
from arraylake_core.errors import CatalogError

__all__ = ["HEAD", "MIGRATIONS", "locked", "make_ready"]

HEAD = "0002"
MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_SECONDS = 120

type Fill = Callable[[AsyncConnection], Awaitable[None]]


async def make_ready(home: Home, fill: Fill) -> None:
    """Make sure that the catalog is there, at this release's revision, and that its keys are at hand.

    Parameters
    ----------
    home
        Where it lives.
    fill
        Writes what a new catalog starts with.

    Raises
    ------
    CatalogError
        It was made by a newer release, a key is missing, or its files can't be used; nothing was changed.
    """
    path = home.database.path
    if await _is_current(home):
        return
    with translated(path):
        for directory in home.directories:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        async with locked(path):
            if not path.exists() or path.stat().st_size == 0:
                await _make(home, fill)
            elif not await _is_current(home):
                async with home.database.write() as connection:
                    await _migrate(connection, home, fill)


@asynccontextmanager
async def locked(path: Path) -> AsyncIterator[None]:
    """Keep other processes from preparing the catalog or changing its keys; a lock whose process dies is free again."""
    lock = AsyncFileLock(path.with_name(f"{path.name}.lock"), timeout=LOCK_SECONDS, mode=0o600)
    try:
        await lock.acquire()
    except Timeout:
        raise CatalogError(
            f"another process has kept {path}.lock for {LOCK_SECONDS} seconds: find out which one hangs, and try again"
        ) from None
    try:
        yield
    finally:
        await lock.release()


async def _is_current(home: Home) -> bool:
    with translated(home.database.path):
        if not home.database.path.exists():
            return False
    try:
        async with home.database.read() as connection:
            revision = await connection.scalar(select(version.c.version_num))
            if revision != HEAD:
                return False
            await _check_keys(connection, home)
    except SchemaError:
        return False
    return True


async def _check_keys(connection: AsyncConnection, home: Home) -> None:
    needed = (await connection.scalars(select(encryption_keys.c.id))).all()
    keyring = home.keys.load()
    for key_id in needed:
        keyring.require(key_id, f"the catalog {home.database.path}")


async def _make(home: Home, fill: Fill) -> None:
    """Make the catalog under another name and move it into place whole, so that nobody ever sees half of it."""
    path = home.database.path
    draft = path.with_name(f".{path.name}.new")
    _remove(draft)
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        make_wal(draft)
        async with Database(draft, durable=home.durable).write() as connection:
            await _migrate(connection, home, fill)
        draft.replace(path)
    finally:
        _remove(draft)


def _remove(draft: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        draft.with_name(draft.name + suffix).unlink(missing_ok=True)


_migrating = threading.Lock()
_POLL_SECONDS = 0.01


def _unlock_after_fork() -> None:
    global _migrating
    _migrating = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)


async def _migrate(connection: AsyncConnection, home: Home, fill: Fill) -> None:
    path = home.database.path
    tables = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    if tables and version.name not in tables:
        raise CatalogError(
            f"{path} is a SQLite database of something else: name another file as the catalog; nothing was changed"
        )
    if tables:
        await _check_keys(connection, home)
    # Alembic keeps the migration that is going on in globals of its modules: one at a time in a process. Whoever waits lets its loop go on.
    while not _migrating.acquire(blocking=False):  # noqa: ASYNC110 - no event crosses from one thread's loop to another's
        await asyncio.sleep(_POLL_SECONDS)
    try:
        await connection.run_sync(_upgrade_tables, path)
    finally:
        _migrating.release()
    if not tables:
        await fill(connection)


def _upgrade_tables(connection: Connection, path: Path) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    script = ScriptDirectory(str(MIGRATIONS))
    with EnvironmentContext(Config(), script, fn=lambda revision, _: script._upgrade_revs("head", revision)) as environment:
        environment.configure(connection=connection, version_table=version.name, transactional_ddl=True)
        try:
            environment.run_migrations()
        except CommandError:
            found = environment.get_context().get_current_revision()
            raise CatalogError(
                f"the catalog {path} was made by a newer release (revision {found}, this one knows {HEAD}): "
                "upgrade arraylake-core; nothing was changed"
            ) from None
