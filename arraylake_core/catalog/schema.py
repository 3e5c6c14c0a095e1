"""The catalog's start: its files are made on first use, and its tables brought to this release's revision.

A catalog that is at that revision already, which is nearly always so, costs one read, and Alembic is not imported.

Each migration says ``compatible_from``: the oldest revision whose releases can go on working with the tables after it. The database keeps it beside the
revision, where releases read it that don't know the migration, so that a replica of the former release starts while the others are being replaced (P24).
A migration that only adds (tables, indexes, columns that may be left out) names the revision before it, or that one's ``compatible_from``; one that takes
away or changes what is there names itself, or the first revision that does without.
"""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, inspect, select
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.engine import SchemaError
from arraylake_core.catalog.home import Home
from arraylake_core.catalog.tables import encryption_keys, metadata, version
from arraylake_core.errors import CatalogError

__all__ = [
    "DECLARED",
    "DECLARED_COMPATIBLE_FROM",
    "HEAD",
    "MIGRATIONS",
    "REVISIONS",
    "make_ready",
    "migrate",
    "require_head",
    "upgrade_tables",
]

REVISIONS = ("0001", "0002", "0003", "0004")
HEAD = REVISIONS[-1]
DECLARED, DECLARED_COMPATIBLE_FROM = "0004", "0003"
"""The revision that tables.py describes, and its ``compatible_from``: a new SQLite file is made from it, several times sooner than by Alembic."""
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
        It was made by a newer release that this one can't work beside, or by an older one and is not migrated by itself, a key is missing, or its
        files can't be used; nothing was changed.
    """
    if not await _is_current(home):
        await _prepare(home, fill, may_migrate=home.database.migrates_itself)


async def migrate(home: Home, fill: Fill) -> str:
    """Bring the catalog to this release's revision, making it where there is none; doing it again, or two at once, does no harm.

    Returns the revision that it is at then: a newer release's, where this one can work with that.

    Parameters
    ----------
    home
        Where it lives.
    fill
        Writes what a new catalog starts with.
    """
    await _prepare(home, fill, may_migrate=True)
    async with home.database.read() as connection:
        return (await _found(connection)).revision


async def require_head(connection: AsyncConnection, where: str, what: str) -> None:
    """Refuse what takes all tables into account where a newer release has made some that this one does not know.

    Parameters
    ----------
    connection
        The transaction that it is done in.
    where
        Where the catalog is, for messages.
    what
        What shall be done.
    """
    found = await _found(connection)
    if found.revision != HEAD:
        raise CatalogError(
            f"the catalog {where} is at the revision {found.revision} of a newer release, and this one, which knows {HEAD}, does not know all that is in "
            f"it: {what} with that release; nothing was changed"
        )


async def _prepare(home: Home, fill: Fill, *, may_migrate: bool) -> None:
    with home.database.translated():
        for directory in home.directories:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    await home.database.prepare(lambda connection: _migrate(connection, home, fill, may_migrate=may_migrate))


class _Found(NamedTuple):
    """The revision that a catalog is at, and the oldest one whose releases can work with it."""

    revision: str
    compatible_from: str | None

    @property
    def is_usable(self) -> bool:
        """Whether this release can work with it as it is."""
        return self.revision == HEAD or (self.revision not in REVISIONS and self.compatible_from in REVISIONS)


async def _found(connection: AsyncConnection) -> _Found:
    """Read the revision; SchemaError where that is one before ``compatible_from`` was kept, or there are no tables."""
    row = (await connection.execute(select(version.c.version_num, version.c.compatible_from))).one_or_none()
    if row is None:
        raise SchemaError("the catalog has no revision: restore it from a backup")
    return _Found(*row)


async def _is_current(home: Home) -> bool:
    if not await home.database.exists():
        return False
    try:
        async with home.database.read() as connection:
            if not (await _found(connection)).is_usable:
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
    tables, keeps = await connection.run_sync(_tables)
    if tables and version.name not in tables:
        raise CatalogError(f"{where} is a database of something else: name another one as the catalog; nothing was changed")
    if tables:
        await _check_keys(connection, home)
        # Somebody else may have been faster.
        found = await _found(connection) if keeps else _Found(str(await connection.scalar(select(version.c.version_num))), None)
        if found.is_usable:
            return
        if found.revision not in REVISIONS:
            raise CatalogError(
                f"the catalog {where} was made by a newer release (revision {found.revision}, for releases that know "
                f"{found.compatible_from or found.revision}; this one knows {HEAD}): upgrade arraylake-core; nothing was changed"
            )
        if not may_migrate:
            raise CatalogError(
                f"the catalog {where} was made by an older release (revision {found.revision}, this one knows {HEAD}): "
                "run `arraylake-core admin migrate --database ...` first; nothing was changed"
            )
    if not tables and connection.dialect.name == "sqlite" and HEAD == DECLARED:
        await connection.run_sync(_make_tables)
    else:
        await upgrade_tables(connection)
    if not tables:
        await fill(connection)


def _tables(connection: Connection) -> tuple[set[str], bool]:
    """Return the names of the tables, and whether ``compatible_from`` is kept among them."""
    inspector = inspect(connection)
    names = set(inspector.get_table_names())
    columns = inspector.get_columns(version.name) if version.name in names else ()
    return names, any(column["name"] == version.c.compatible_from.name for column in columns)


def _make_tables(connection: Connection) -> None:
    metadata.create_all(connection, checkfirst=False)
    version.create(connection)
    connection.execute(version.insert().values(version_num=DECLARED, compatible_from=DECLARED_COMPATIBLE_FROM))


async def upgrade_tables(connection: AsyncConnection, revision: str = "head") -> None:
    """Bring the tables to a revision, within a transaction that has begun.

    Parameters
    ----------
    connection
        The transaction.
    revision
        The revision; by default this release's.
    """
    # Alembic keeps the migration that is going on in globals of its modules: one at a time in a process. Whoever waits lets its loop go on.
    while not _migrating.acquire(blocking=False):  # noqa: ASYNC110 - no event crosses from one thread's loop to another's
        await asyncio.sleep(_POLL_SECONDS)
    try:
        await connection.run_sync(_upgrade_tables, revision)
    finally:
        _migrating.release()


def _upgrade_tables(connection: Connection, revision: str) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS))
    with EnvironmentContext(Config(), script, fn=lambda current, _: script._upgrade_revs(revision, current)) as environment:
        environment.configure(connection=connection, version_table=version.name, transactional_ddl=True)
        environment.run_migrations()
    _, keeps = _tables(connection)
    if keeps:
        reached = script.get_revision(str(connection.scalar(select(version.c.version_num))))
        oldest = getattr(reached.module, "compatible_from", reached.revision)
        connection.execute(version.update().values(compatible_from=oldest))
