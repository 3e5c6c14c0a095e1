"""What the parts of the SQL catalog share: transactions, look-ups, and rows turned into models."""

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from typing import NamedTuple, cast

import msgspec
from sqlalchemy import Connection, RowMapping, Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.engine import Prepared, insert_missing
from arraylake_core.catalog.home import Home
from arraylake_core.catalog.sealing import SealedAuth, Vault
from arraylake_core.catalog.tables import buckets, encryption_keys, orgs, repos
from arraylake_core.errors import BucketConfigNotFoundError, OrgNotFoundError
from arraylake_core.models import AuthConfig, BucketResponse, OrgModel, RepoModel, RepoStatus, utc_now
from arraylake_core.names import shown, suggestion, validate_nickname, validate_org

__all__ = ["REPO_QUERY", "Records", "condition", "later", "listed", "new_id", "org_model", "status_document"]

_BUCKET = "bucket__"


class _Joined(NamedTuple):
    """The transaction of a task, which all that it does with its catalog goes on in."""

    owner: "Records"
    task: "asyncio.Task[object] | None"
    connection: AsyncConnection
    writes: bool


# Made once: making a statement of so many columns takes longer than running it.
REPO_QUERY: Select[tuple[object, ...]] = select(
    *repos.c, orgs.c.name.label("org"), *(column.label(_BUCKET + column.name) for column in buckets.c)
).select_from(repos.join(orgs, repos.c.org_id == orgs.c.id).join(buckets, repos.c.bucket_id == buckets.c.id))

_transaction: "ContextVar[_Joined | None]" = ContextVar("arraylake_transaction", default=None)


def new_id() -> str:
    """Return a new id of 96 random bits."""
    return secrets.token_hex(12)


def later(than: datetime) -> datetime:
    """Return the time now, or the next microsecond after another where the clock has not moved on since."""
    return max(utc_now(), than + timedelta(microseconds=1))


def listed(names: Iterable[str], empty: str) -> str:
    """Return up to five names in quotes, for a message."""
    found = list(names)
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    return ", ".join(map(repr, found[:5])) + more if found else empty


def condition(row: RowMapping) -> str:
    """Return what a message says of a repo that nobody sees: nothing for the others."""
    if row["state"] == "purging":
        return " (its deletion has not finished: run `arraylake-core repo repair`)"
    if row["deleted_at"] is not None:
        return " (deleted, but it can be restored)"
    return " (its creation has not finished)" if row["state"] == "pending" else ""


def org_model(row: RowMapping) -> OrgModel:
    """Make the model of an organization from its row."""
    return _model(OrgModel, dict(row))


class Records(ABC):
    """A catalog's database and vault, and how its rows become models.

    Parameters
    ----------
    home
        Where the catalog is.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._vault = Vault(home.keys)

    @property
    def uri(self) -> str:
        """Where the catalog is."""
        return self._home.uri

    @asynccontextmanager
    async def transaction(self, *, exclusive: bool = True) -> AsyncIterator[AsyncConnection]:
        """Do all that this task does in the block in one transaction: whole, or, where the block raises, not at all.

        Parameters
        ----------
        exclusive
            Whether to keep out others that change what is not protected by a version: all but refs and journals.
        """
        async with self._write(exclusive=exclusive) as connection, self._join(connection, writes=True):
            yield connection

    @asynccontextmanager
    async def read_transaction(self) -> AsyncIterator[AsyncConnection]:
        """Let all that this task reads in the block come from one state of the catalog; what it writes is a matter of its own."""
        async with self._read() as connection, self._join(connection, writes=self._joined(writing=True) is not None):
            yield connection

    @asynccontextmanager
    async def _join(self, connection: AsyncConnection, *, writes: bool) -> AsyncIterator[None]:
        token = _transaction.set(_Joined(self, asyncio.current_task(), connection, writes))
        try:
            yield
        finally:
            _transaction.reset(token)

    def _joined(self, *, writing: bool) -> AsyncConnection | None:
        joined = _transaction.get()
        if joined is None or joined.owner is not self or joined.task is not asyncio.current_task() or writing > joined.writes:
            return None
        return joined.connection

    @asynccontextmanager
    async def _read(self, *, single: bool = False) -> AsyncIterator[AsyncConnection]:
        joined = self._joined(writing=False)
        if joined is not None:
            yield joined
            return
        await self._ready()
        async with self._home.database.read(single=single) as connection:
            yield connection

    @asynccontextmanager
    async def _write(self, *, exclusive: bool = True) -> AsyncIterator[AsyncConnection]:
        joined = self._joined(writing=True)
        if joined is not None:
            async with self._home.database.nested(joined, exclusive=exclusive):
                yield joined
            return
        await self._ready()
        async with self._home.database.write(exclusive=exclusive) as connection:
            yield connection

    async def _transact[T](self, work: Callable[[Connection], T], *, writes: bool) -> T:
        """Do something small at once, in the transaction of this task where there is one, and else in one of its own."""
        joined = self._joined(writing=writes)
        if joined is None:
            await self._ready()
            return await self._home.database.transact(work, writes=writes)
        if not writes:
            return await joined.run_sync(work)
        async with self._home.database.nested(joined, exclusive=False):
            return await joined.run_sync(work)

    async def _rows(self, statement: Prepared, parameters: Mapping[str, object]) -> Sequence[Sequence[object]]:
        """Return the rows of one statement, as the driver has them."""
        joined = self._joined(writing=False)
        if joined is None:
            await self._ready()
        return await self._home.database.rows(statement, parameters, joined)

    @abstractmethod
    async def _ready(self) -> None:
        """Make sure that the catalog can be used."""

    async def _org_id(self, connection: AsyncConnection, org: str) -> str:
        found = await connection.scalar(select(orgs.c.id).where(orgs.c.name == validate_org(org)))
        if found is None:
            raise await self._org_missing(connection, org)
        return str(found)

    async def _org_missing(self, connection: AsyncConnection, org: str) -> OrgNotFoundError:
        names = (await connection.scalars(select(orgs.c.name).order_by(orgs.c.name).limit(1000))).all()
        return OrgNotFoundError(
            f"there is no organization {shown(org)}{suggestion(org, names)}; this catalog has {listed(names, 'none')}: "
            "check the name, or make it with `arraylake-core org create`"
        )

    async def _bucket_row(self, connection: AsyncConnection, org_id: str, org: str, nickname: str) -> RowMapping:
        query = select(buckets).where(buckets.c.org_id == org_id, buckets.c.nickname == validate_nickname(nickname))
        row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            names = (
                await connection.scalars(
                    select(buckets.c.nickname).where(buckets.c.org_id == org_id).order_by(buckets.c.nickname)
                )
            ).all()
            raise BucketConfigNotFoundError(
                f"the organization {org!r} has no bucket config {shown(nickname)}{suggestion(nickname, names)}; "
                f"it has {listed(names, 'none')}"
            )
        return row

    def _bucket(self, row: RowMapping) -> BucketResponse:
        return self._bucket_model(dict(row))

    def _bucket_model(self, row: dict[str, object]) -> BucketResponse:
        sealed = cast("SealedAuth", {name: row[name] for name in ("auth_config", "secrets", "key_id")})
        auth = self._vault.open(str(row["org_id"]), str(row["id"]), str(row["nickname"]), sealed)
        return _model(BucketResponse, {**row, "auth_config": auth})

    async def _sealed(self, connection: AsyncConnection, org_id: str, bucket_id: str, auth: AuthConfig) -> SealedAuth:
        """Seal an auth_config, and note its key: the catalog knows every key that it needs."""
        sealed = self._vault.seal(org_id, bucket_id, auth)
        if sealed["key_id"] is not None:
            await insert_missing(connection, encryption_keys, [{"id": sealed["key_id"], "created": utc_now()}])
        return sealed

    def _repo_query(self) -> Select[tuple[object, ...]]:
        """Select repos with the name of their organization and all of their bucket config."""
        return REPO_QUERY

    def _repo(self, row: RowMapping | Mapping[str, object]) -> RepoModel:
        bucket = {name.removeprefix(_BUCKET): value for name, value in row.items() if name.startswith(_BUCKET)}
        status = msgspec.convert(row["status"], RepoStatus)
        return _model(RepoModel, {**row, "status": status, "bucket": self._bucket_model(bucket)})


def _model[S: msgspec.Struct](struct: type[S], row: Mapping[str, object]) -> S:
    """Fill a Struct from the columns that are named as its fields are; they hold what the catalog itself has checked."""
    return struct(**{name: row[name] for name in struct.__struct_fields__ if name in row})


def status_document(status: RepoStatus) -> dict[str, object]:
    """Return a repo's status as the JSON document that its column holds."""
    return cast("dict[str, object]", msgspec.to_builtins(status))
