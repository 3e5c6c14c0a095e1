"""Backup and restore of the SQL catalog: one state of all tables in a file, which any kind of database takes back.

A backup has every secret as it is in the tables, sealed; the keys are never in it.
"""

import asyncio
from collections.abc import Iterator, Sequence
from itertools import batched
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnClause,
    Integer,
    LargeBinary,
    String,
    TableClause,
    Text,
    column,
    func,
    inspect,
    select,
    table,
)
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from arraylake_core.catalog.backup_file import BackupManifest, BackupReader, BackupTable, BackupWriter, ColumnKind
from arraylake_core.catalog.records import Records
from arraylake_core.catalog.schema import HEAD, REVISIONS, require_head, upgrade_tables
from arraylake_core.catalog.tables import Json, Utc, encryption_keys, metadata
from arraylake_core.errors import CatalogError
from arraylake_core.models import utc_now
from arraylake_core.names import shown

__all__ = ["BackupRecords"]

_BATCH = 200
_KINDS: dict[str, type[TypeEngine[Any]]] = {
    "text": Text,
    "integer": BigInteger,
    "boolean": Boolean,
    "bytes": LargeBinary,
    "time": Utc,
    "json": Json,
}


class BackupRecords(Records):
    """Backups."""

    async def backup(self, path: Path) -> BackupManifest:
        """Write one state of all tables to a file, while others go on working.

        Parameters
        ----------
        path
            The file, which must not exist yet.
        """
        async with self._read() as connection:
            await require_head(connection, self._home.database.where, "make a backup")
            with self._home.database.translated(), BackupWriter(path) as writer:
                for source in metadata.sorted_tables:
                    writer.begin(
                        str(source.name), [ColumnKind(name=str(found.name), kind=_kind(found)) for found in source.columns]
                    )
                    query = select(source).order_by(*source.primary_key).execution_options(yield_per=_BATCH)
                    async with connection.stream(query) as rows:
                        async for part in rows.partitions():
                            await asyncio.to_thread(writer.add, part)
                    writer.end()
                keys = (await connection.scalars(select(encryption_keys.c.id).order_by(encryption_keys.c.id))).all()
                return await asyncio.to_thread(writer.finish, revision=HEAD, created=utc_now(), keys=keys)

    async def restore(self, path: Path) -> BackupManifest:
        """Make this catalog of a backup, in an empty database, whole or not at all.

        Parameters
        ----------
        path
            The backup. The keys that its secrets need must be where this catalog's keys are kept.

        Raises
        ------
        CatalogError
            The backup is damaged or of a newer release, a key is missing, or the database is not empty; nothing was changed.
        """
        home = self._home
        with home.database.translated(), BackupReader(path) as reader:
            await asyncio.to_thread(reader.verify)
            revision = reader.manifest.revision
            if revision not in REVISIONS:
                raise CatalogError(
                    f"the backup {path} was made by a newer release (revision {shown(revision)}, this one knows {HEAD}): upgrade arraylake-core"
                )
            keyring = home.keys.load()
            for key_id in reader.manifest.keys:
                keyring.require(key_id, f"the backup {path}")
            for directory in home.directories:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            await home.database.prepare(lambda connection: _fill(connection, home.database.where, reader))
            return reader.manifest

    @property
    def key_source(self) -> str:
        """Where the keys are, for messages: whoever keeps a backup must keep them too, elsewhere."""
        return self._vault.source.load().source


async def _fill(connection: AsyncConnection, where: str, reader: BackupReader) -> None:
    if await connection.run_sync(lambda sync: inspect(sync).get_table_names()):
        raise CatalogError(f"{where} is not empty: name a new database to restore into; nothing was changed")
    await upgrade_tables(connection, reader.manifest.revision)
    for source in reader.manifest.tables:
        await _load(connection, reader, source)
    await upgrade_tables(connection)


async def _load(connection: AsyncConnection, reader: BackupReader, source: BackupTable) -> None:
    target = _target(source)
    # A row may refer to another one of its table that comes later.
    inner = _INNER.get(source.name)
    await connection.execute(target.delete())
    for rows in _batches(reader, source):
        await connection.execute(target.insert(), [row | {inner: None} if inner else row for row in rows])
    if inner is not None:
        for rows in _batches(reader, source):
            for row in rows:
                if row[inner] is not None:
                    change = target.update().where(target.c.id == row["id"])
                    await connection.execute(change.values({inner: row[inner]}))
    if connection.dialect.name == "postgresql" and source.name in _COUNTED:
        last = select(func.max(target.c.id)).scalar_subquery()
        await connection.execute(
            select(func.setval(func.pg_get_serial_sequence(source.name, "id"), func.coalesce(last, 1), last.is_not(None)))
        )


_INNER = {"tokens": "parent_id"}
_COUNTED = frozenset({"audit"})


def _batches(reader: BackupReader, source: BackupTable) -> Iterator[Sequence[dict[str, object]]]:
    return batched(reader.rows(source), _BATCH)


def _target(source: BackupTable) -> TableClause:
    columns: list[ColumnClause[object]] = []
    for found in source.columns:
        if found.kind not in _KINDS:
            raise CatalogError(
                f"the backup has a column of the kind {found.kind!r}, which this release does not know: upgrade arraylake-core"
            )
        columns.append(column(found.name, _KINDS[found.kind]()))
    return table(source.name, *columns)


def _kind(found: Column[object]) -> str:
    kinds = ((Utc, "time"), (Json, "json"), (Boolean, "boolean"), (Integer, "integer"), (LargeBinary, "bytes"), (String, "text"))
    return next(kind for type_, kind in kinds if isinstance(found.type, type_))
