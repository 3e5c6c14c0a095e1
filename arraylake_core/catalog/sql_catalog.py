"""The SQL catalog: every part of the protocol, on one database."""

from typing import override

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.backends.coordination import Coordination
from arraylake_core.catalog.engine import insert_missing, translated
from arraylake_core.catalog.home import Home
from arraylake_core.catalog.records import new_id
from arraylake_core.catalog.schema import locked, make_ready
from arraylake_core.catalog.sql_coordination import SqlCoordination
from arraylake_core.catalog.sql_lifecycle import LifecycleRecords
from arraylake_core.catalog.sql_orgs import OrgRecords
from arraylake_core.catalog.sql_people import PeopleRecords
from arraylake_core.catalog.tables import buckets, encryption_keys
from arraylake_core.errors import CatalogError
from arraylake_core.models import OrgModel, utc_now

__all__ = ["FIRST_ORG", "SqlCatalog"]

FIRST_ORG = "me"


class SqlCatalog(OrgRecords, LifecycleRecords, PeopleRecords):
    """A catalog in an SQL database.

    Parameters
    ----------
    home
        Where it is.
    """

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._is_ready = False

    async def close(self) -> None:
        """Let go of everything; the catalog opens again when it is next used."""
        self._is_ready = False
        self._opened.clear()
        self._home.database.close()

    def coordination(self, repo_id: str) -> Coordination:
        """Return the refs and journals of a repo."""
        return SqlCoordination(repo_id, self._read, self._write)

    async def rotate_key(self) -> int:
        """Encrypt every secret with a new key, row by row while others go on working, and return how many there were.

        The former keys stay in the key file, for whoever has read a row before. Where the keys come from the setting ``catalog.key``, a new one
        must have been put in front of it; the former ones can be taken out of it afterwards.

        Raises
        ------
        CatalogError
            The setting has no new key.
        """
        await self._ready()
        async with locked(self._home.database.path):
            with translated(self._home.database.path):
                active = self._vault.source.rotate().active
            async with self._write() as connection:
                used = set((await connection.scalars(select(encryption_keys.c.id))).all())
                if used == {active.id}:
                    raise CatalogError(
                        "the first key of the setting catalog.key is in use already: put a new one in front of it, and a comma"
                    )
                await insert_missing(connection, encryption_keys, [{"id": active.id, "created": utc_now()}])
            count = 0
            while await self._seal_again(active.id):
                count += 1
            async with self._write() as connection:
                needed = select(buckets.c.key_id).where(buckets.c.key_id.is_not(None))
                await connection.execute(
                    delete(encryption_keys).where(encryption_keys.c.id != active.id, encryption_keys.c.id.not_in(needed))
                )
        return count

    async def _seal_again(self, key_id: str) -> bool:
        async with self._write() as connection:
            old = select(buckets).where(buckets.c.key_id.is_not(None), buckets.c.key_id != key_id).limit(1)
            row = (await connection.execute(old)).mappings().one_or_none()
            if row is None:
                return False
            auth = self._bucket(row).auth_config
            sealed = await self._sealed(connection, row["org_id"], row["id"], auth)
            await connection.execute(update(buckets).where(buckets.c.id == row["id"]).values(**sealed))
            return True

    @override
    async def _ready(self) -> None:
        if not self._is_ready:
            await make_ready(self._home, self._fill)
            self._is_ready = True

    async def _fill(self, connection: AsyncConnection) -> None:
        """Write what a new embedded catalog starts with."""
        active = self._home.keys.create().active
        await insert_missing(connection, encryption_keys, [{"id": active.id, "created": utc_now()}])
        org = OrgModel(id=new_id(), name=FIRST_ORG)
        await self._insert_org(connection, org)
        await self._insert_bucket(connection, org.id, self._home.bucket)
