"""New keys for old in the SQL catalog: everything that is sealed is opened and sealed anew, a few rows at a time, while others go on working."""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Column, RowMapping, Table, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.engine import insert_missing
from arraylake_core.catalog.keys import Keyring
from arraylake_core.catalog.records import Records
from arraylake_core.catalog.schema import require_head
from arraylake_core.catalog.sealing import associated_answer, associated_auth, associated_secret, associated_webhook
from arraylake_core.catalog.tables import buckets, catalog_secrets, encryption_keys, idempotency, webhooks
from arraylake_core.errors import CatalogError
from arraylake_core.models import utc_now

__all__ = ["SEALED", "RotationRecords", "Sealed"]

_BATCH = 50


class Sealed(NamedTuple):
    """A column with something sealed in it; ``key_id`` beside it says by which key.

    Parameters
    ----------
    column
        The column.
    associated
        What it is bound to, from its row.
    what
        What it is, for messages.
    """

    column: Column[bytes]
    associated: Callable[[RowMapping], bytes]
    what: Callable[[RowMapping], str]

    @property
    def table(self) -> Table:
        """The table."""
        return self.column.table


SEALED = (
    Sealed(
        buckets.c.secrets,
        lambda row: associated_auth(row["org_id"], row["id"]),
        lambda row: f"the auth_config of bucket config {row['nickname']!r}",
    ),
    Sealed(
        catalog_secrets.c.secret, lambda row: associated_secret(row["name"]), lambda row: f"the catalog's secret {row['name']!r}"
    ),
    Sealed(
        webhooks.c.secret,
        lambda row: associated_webhook(row["org_id"], row["id"]),
        lambda row: f"the secret of the webhook {row['id']}",
    ),
    Sealed(
        idempotency.c.answer,
        lambda row: associated_answer(row["principal_id"], row["key"]),
        lambda row: "the answer to a repeated request",
    ),
)


class RotationRecords(Records):
    """The rotation of keys."""

    async def rotate_key(self) -> int:
        """Encrypt every secret with a new key, a few rows at a time while others go on working, and return how many there were.

        The former keys stay in the key file, for whoever has read a row before. Where the keys come from the setting ``catalog.key``, a new one
        must have been put in front of it; the former ones can be taken out of it afterwards.

        Raises
        ------
        CatalogError
            The setting has no new key, or something that is sealed can't be opened.
        """
        await self._ready()
        async with self._home.database.alone():
            async with self._read() as connection:
                await require_head(connection, self._home.database.where, "rotate its keys")
            with self._home.database.translated():
                keyring = self._vault.source.rotate()
            async with self._write() as connection:
                used = set((await connection.scalars(select(encryption_keys.c.id))).all())
                if used == {keyring.active.id}:
                    raise CatalogError(
                        "the first key of the setting catalog.key is in use already: put a new one in front of it, and a comma"
                    )
                await insert_missing(connection, encryption_keys, [{"id": keyring.active.id, "created": utc_now()}])
            count = 0
            for sealed in SEALED:
                while found := await self._seal_again(sealed, keyring):
                    count += found
            async with self._write() as connection:
                gone = delete(encryption_keys).where(encryption_keys.c.id != keyring.active.id)
                for sealed in SEALED:
                    used_here = select(sealed.table.c.key_id).where(sealed.table.c.key_id.is_not(None))
                    gone = gone.where(encryption_keys.c.id.not_in(used_here))
                await connection.execute(gone)
        return count

    async def _seal_again(self, sealed: Sealed, keyring: Keyring) -> int:
        key_id = sealed.table.c.key_id
        async with self._write() as connection:
            old = select(sealed.table).where(key_id.is_not(None), key_id != keyring.active.id).limit(_BATCH)
            rows = (await connection.execute(old)).mappings().all()
            for row in rows:
                await _seal_row(connection, sealed, row, keyring)
        return len(rows)


async def _seal_row(connection: AsyncConnection, sealed: Sealed, row: RowMapping, keyring: Keyring) -> None:
    blob = row[sealed.column.name]
    try:
        plain = keyring.require(row["key_id"], sealed.what(row)).open(blob, sealed.associated(row))
    except ValueError:
        raise CatalogError(f"{sealed.what(row)} is damaged or was moved from elsewhere: set it again, or delete it") from None
    values = {sealed.column.name: keyring.active.seal(plain, sealed.associated(row)), "key_id": keyring.active.id}
    # Whoever has changed it since has sealed it too; such a row comes up again if that was with an old key.
    here = [column == row[column.name] for column in sealed.table.primary_key]
    await connection.execute(update(sealed.table).where(*here, sealed.column == blob).values(values))
