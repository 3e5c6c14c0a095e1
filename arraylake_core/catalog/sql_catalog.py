"""The SQL catalog: every part of the protocol, on one database."""

from typing import override

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.backends.coordination import Coordination
from arraylake_core.backends.credentials import Access, Credentials
from arraylake_core.catalog.engine import insert_missing
from arraylake_core.catalog.home import Home
from arraylake_core.catalog.records import new_id
from arraylake_core.catalog.schema import make_ready, migrate
from arraylake_core.catalog.sql_access import AccessRecords
from arraylake_core.catalog.sql_backup import BackupRecords
from arraylake_core.catalog.sql_coordination import SqlCoordination
from arraylake_core.catalog.sql_idempotency import IdempotencyRecords
from arraylake_core.catalog.sql_lifecycle import LifecycleRecords
from arraylake_core.catalog.sql_orgs import OrgRecords
from arraylake_core.catalog.sql_people import PeopleRecords
from arraylake_core.catalog.sql_rotation import RotationRecords
from arraylake_core.catalog.sql_webhooks import WebhookRecords
from arraylake_core.catalog.tables import encryption_keys
from arraylake_core.models import OrgModel, utc_now

__all__ = ["FIRST_ORG", "SqlCatalog"]

FIRST_ORG = "me"


class SqlCatalog(
    OrgRecords,
    LifecycleRecords,
    PeopleRecords,
    AccessRecords,
    IdempotencyRecords,
    WebhookRecords,
    RotationRecords,
    BackupRecords,
):
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
        self._known.clear()
        await self._home.database.close()

    async def migrate(self) -> str:
        """Bring the catalog to this release's revision, or leave it at a newer one that this release can work with, and return which."""
        return await migrate(self._home, self._fill)

    @property
    def handle(self) -> str:
        """What opens the same catalog in another process."""
        return self.uri

    async def mint(self, bucket_id: str, repo_id: str, access: Access, virtual: str = "") -> Credentials | None:
        """Return None: whoever opens the catalog itself has the bucket config, and mints by its auth method."""
        return None

    async def ping(self) -> None:
        """Make sure that the catalog is there and answers; CatalogError where it does not."""
        async with self._read() as connection:
            await connection.execute(select(encryption_keys.c.id).limit(1))

    def coordination(self, repo_id: str) -> Coordination:
        """Return the refs and journals of a repo."""
        return SqlCoordination(repo_id, self._transact)

    @override
    async def _ready(self) -> None:
        if not self._is_ready:
            await make_ready(self._home, self._fill)
            self._is_ready = True

    async def _fill(self, connection: AsyncConnection) -> None:
        """Write what a new catalog starts with."""
        active = self._home.keys.create().active
        await insert_missing(connection, encryption_keys, [{"id": active.id, "created": utc_now()}])
        if self._home.bucket is not None:
            org = OrgModel(id=new_id(), name=FIRST_ORG)
            await self._insert_org(connection, org)
            await self._insert_bucket(connection, org.id, self._home.bucket)
