"""The catalog's start: its files are made on first use, and its tables brought to this release's revision.

A catalog that is at that revision already, which is nearly always so, costs one read, and Alembic is not imported.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy import Connection, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.engine import SchemaError
from arraylake_core.catalog.home import Home
from arraylake_core.catalog.tables import encryption_keys, version
from arraylake_core.errors import CatalogError

__all__ = ["HEAD", "MIGRATIONS", "make_ready", "migrate", "upgrade_tables"]

HEAD = "0003"
MIGRATIONS = Path(__file__).parent / "migrations"

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
        It was made by a newer release, or by an older one and is not migrated by itself, a key is missing, or its files can't be used;
        nothing was changed.
    """
    if not await _is_current(home):
        await _prepare(home, fill, may_migrate=home.database.migrates_itself)


async def migrate(home: Home, fill: Fill) -> None:
    """Bring the catalog to this release's revision, making it where there is none; doing it again, or two at once, does no harm.

    Parameters
    ----------
    home
        Where it lives.
    fill
        Writes what a new catalog starts with.
    """
    await _prepare(home, fill, may_migrate=True)


async def _prepare(home: Home, fill: Fill, *, may_migrate: bool) -> None:
    with home.database.translated():
        for directory in home.directories:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    await home.database.prepare(lambda connection: _migrate(connection, home, fill, may_migrate=may_migrate))


async def _is_current(home: Home) -> bool:
    if not await home.database.exists():
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
        keyring.require(key_id, f"the catalog {home.database.where}")


_migrating = threading.Lock()
_POLL_SECONDS = 0.01


def _unlock_after_fork() -> None:
    global _migrating
    _migrating = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock_after_fork)


async def _migrate(connection: AsyncConnection, home: Home, fill: Fill, *, may_migrate: bool) -> None:
    where = home.database.where
    tables = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    if tables and version.name not in tables:
        raise CatalogError(f"{where} is a database of something else: name another one as the catalog; nothing was changed")
    if tables:
        await _check_keys(connection, home)
        # Somebody else may have been faster.
        found = await connection.scalar(select(version.c.version_num))
        if found == HEAD:
            return
    await upgrade_tables(connection, where, may_upgrade=may_migrate or not tables)
    if not tables:
        await fill(connection)


async def upgrade_tables(connection: AsyncConnection, where: str, revision: str = "head", *, may_upgrade: bool = True) -> None:
    """Bring the tables to a revision, within a transaction that has begun.

    Parameters
    ----------
    connection
        The transaction.
    where
        Where the catalog is, for messages.
    revision
        The revision; by default this release's.
    may_upgrade
        Whether tables that are there may be changed; otherwise it is only made sure that they need not be.
    """
    # Alembic keeps the migration that is going on in globals of its modules: one at a time in a process. Whoever waits lets its loop go on.
    while not _migrating.acquire(blocking=False):  # noqa: ASYNC110 - no event crosses from one thread's loop to another's
        await asyncio.sleep(_POLL_SECONDS)
    try:
        await connection.run_sync(_upgrade_tables, where, revision, may_upgrade=may_upgrade)
    finally:
        _migrating.release()


def _upgrade_tables(connection: Connection, where: str, revision: str, *, may_upgrade: bool) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    script = ScriptDirectory(str(MIGRATIONS))
    with EnvironmentContext(Config(), script, fn=lambda current, _: script._upgrade_revs(revision, current)) as environment:
        environment.configure(connection=connection, version_table=version.name, transactional_ddl=True)
        try:
            found = environment.get_context().get_current_revision()
            if found is not None:
                script.get_revision(found)
            if not may_upgrade:
                raise CatalogError(
                    f"the catalog {where} was made by an older release (revision {found}, this one knows {HEAD}): when all that uses it is "
                    "of this release, run `arraylake-core admin migrate --database ...`; nothing was changed"
                )
            environment.run_migrations()
        except CommandError:
            raise CatalogError(
                f"the catalog {where} was made by a newer release (revision {found}, this one knows {HEAD}): "
                "upgrade arraylake-core; nothing was changed"
            ) from None
