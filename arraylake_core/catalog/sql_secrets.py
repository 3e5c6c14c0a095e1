"""The secrets of the SQL catalog itself, sealed as those of bucket configs are: so far the one that API tokens are hashed with."""

import secrets

from sqlalchemy import RowMapping, select
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.engine import insert_missing
from arraylake_core.catalog.home import Home
from arraylake_core.catalog.records import Records
from arraylake_core.catalog.sealing import associated_secret
from arraylake_core.catalog.tables import catalog_secrets, encryption_keys
from arraylake_core.errors import CatalogError
from arraylake_core.models import utc_now

__all__ = ["TOKENS", "SecretRecords"]

TOKENS = "tokens"
_BYTES = 32


class SecretRecords(Records):
    """The catalog's own secrets.

    Parameters
    ----------
    home
        Where the catalog is.
    """

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._opened: dict[str, bytes] = {}

    async def load_secrets(self) -> None:
        """Read the secrets that there are, so that the first request need not."""
        await self._secret(TOKENS)

    async def _secret(self, name: str) -> bytes | None:
        """Return a secret, or None before its first use. A secret never changes, so that it is read once."""
        if name not in self._opened:
            async with self._read(single=True) as connection:
                row = await self._secret_row(connection, name)
            if row is None:
                return None
            self._opened[name] = self._open_secret(row)
        return self._opened[name]

    async def _secret_for_writing(self, connection: AsyncConnection, name: str) -> bytes:
        """Return a secret, making it where there is none. Not remembered here: the transaction may still be undone."""
        row = await self._secret_row(connection, name)
        if row is None:
            active = self._vault.source.load().active
            await insert_missing(connection, encryption_keys, [{"id": active.id, "created": utc_now()}])
            sealed = active.seal(secrets.token_bytes(_BYTES), associated_secret(name))
            # Another replica may have been first: what counts is what is there now.
            await insert_missing(connection, catalog_secrets, [{"name": name, "secret": sealed, "key_id": active.id}])
            row = await self._secret_row(connection, name)
            if row is None:
                raise CatalogError(f"the catalog's secret {name!r} could not be made: try again")
        return self._open_secret(row)

    async def _secret_row(self, connection: AsyncConnection, name: str) -> RowMapping | None:
        return (await connection.execute(select(catalog_secrets).where(catalog_secrets.c.name == name))).mappings().one_or_none()

    def _open_secret(self, row: RowMapping) -> bytes:
        name = str(row["name"])
        key = self._vault.source.load().require(row["key_id"], f"the catalog's secret {name!r}")
        try:
            return key.open(row["secret"], associated_secret(name))
        except ValueError:
            raise CatalogError(
                f"the catalog's secret {name!r} is damaged: restore the catalog from a backup, or every token must be issued anew"
            ) from None
