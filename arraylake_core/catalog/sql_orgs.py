"""Organizations and bucket configs in the SQL catalog."""

from uuid import uuid4

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.acting import actor_id, actor_name
from arraylake_core.catalog.base import NewBucket
from arraylake_core.catalog.engine import ConstraintError, sorted_by
from arraylake_core.catalog.records import Records, condition, later, new_id, org_model
from arraylake_core.catalog.tables import buckets, orgs, repos
from arraylake_core.errors import AlreadyExistsError, BucketConfigNotFoundError, InUseError
from arraylake_core.models import AuthConfig, BucketResponse, OrgModel, utc_now, validate_description
from arraylake_core.names import join_prefix, shown, validate_nickname, validate_org, validate_prefix

__all__ = ["OrgRecords"]


class OrgRecords(Records):
    """Organizations and their bucket configs."""

    async def list_orgs(self) -> list[OrgModel]:
        """Return the organizations, by name."""
        async with self._read(single=True) as connection:
            rows = (await connection.execute(select(orgs).order_by(sorted_by(connection, orgs.c.name)))).mappings().all()
        return [org_model(row) for row in rows]

    async def get_org(self, org: str) -> OrgModel:
        """Return one organization."""
        async with self._read(single=True) as connection:
            row = (await connection.execute(select(orgs).where(orgs.c.name == validate_org(org)))).mappings().one_or_none()
            if row is None:
                raise await self._org_missing(connection, org)
        return org_model(row)

    async def create_org(self, org: str, *, display_name: str = "", description: str | None = None) -> OrgModel:
        """Make an organization."""
        validate_org(org)
        model = OrgModel(
            id=new_id(),
            name=org,
            display_name=validate_description(display_name) or "",
            description=validate_description(description),
            created_by=actor_id(),
        )
        try:
            async with self._write() as connection:
                await self._insert_org(connection, model)
        except ConstraintError:
            raise AlreadyExistsError(f"there is an organization {org!r} already: choose another name") from None
        return model

    async def _insert_org(self, connection: AsyncConnection, model: OrgModel) -> None:
        values = {column.name: getattr(model, column.name) for column in orgs.c if hasattr(model, column.name)}
        await connection.execute(insert(orgs).values(values))

    async def list_buckets(self, org: str) -> list[BucketResponse]:
        """Return the bucket configs of an organization, by nickname."""
        async with self._read() as connection:
            org_id = await self._org_id(connection, org)
            query = select(buckets).where(buckets.c.org_id == org_id).order_by(sorted_by(connection, buckets.c.nickname))
            rows = (await connection.execute(query)).mappings().all()
        return [self._bucket(row) for row in rows]

    async def get_bucket(self, org: str, nickname: str | None) -> BucketResponse:
        """Return a bucket config by nickname; None returns the default one."""
        async with self._read() as connection:
            org_id = await self._org_id(connection, org)
            if nickname is not None:
                return self._bucket(await self._bucket_row(connection, org_id, org, nickname))
            query = select(buckets).where(buckets.c.org_id == org_id, buckets.c.is_default)
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise BucketConfigNotFoundError(
                f"the organization {org!r} has no default bucket config: name one, make one with `create_bucket_config`, "
                "or choose one with `set_default_bucket_config`"
            )
        return self._bucket(row)

    async def get_bucket_by_id(self, bucket_id: str) -> BucketResponse:
        """Return a bucket config by its id."""
        async with self._read(single=True) as connection:
            row = (await connection.execute(select(buckets).where(buckets.c.id == bucket_id))).mappings().one_or_none()
        if row is None:
            raise BucketConfigNotFoundError(f"there is no bucket config with the id {shown(bucket_id)}: it may have been deleted")
        return self._bucket(row)

    async def create_bucket(self, org: str, new: NewBucket) -> BucketResponse:
        """Add a bucket config; the first of an organization becomes its default."""
        _check(new)
        try:
            async with self._write() as connection:
                return await self._insert_bucket(connection, await self._org_id(connection, org), new)
        except ConstraintError:
            raise await self._bucket_taken(org, new.nickname, new) from None

    async def _insert_bucket(self, connection: AsyncConnection, org_id: str, new: NewBucket) -> BucketResponse:
        bucket_id, now = str(uuid4()), utc_now()
        others = await connection.scalar(select(func.count()).select_from(buckets).where(buckets.c.org_id == org_id))
        sealed = await self._sealed(connection, org_id, bucket_id, new.auth_config)
        values = {
            "id": bucket_id,
            "org_id": org_id,
            "nickname": new.nickname,
            "is_default": not others,
            "created": now,
            "updated": now,
            "created_by": actor_name(),
            **_place(new),
            **sealed,
        }
        row = (await connection.execute(insert(buckets).values(values).returning(buckets))).mappings().one()
        return self._bucket(row)

    async def modify_bucket(
        self,
        org: str,
        nickname: str,
        *,
        new_nickname: str | None = None,
        auth_config: AuthConfig | None = None,
        place: NewBucket | None = None,
    ) -> BucketResponse:
        """Change a bucket config, each None leaving its part alone."""
        if new_nickname is not None:
            validate_nickname(new_nickname)
        if place is not None:
            validate_prefix(place.prefix)
        try:
            async with self._write() as connection:
                org_id = await self._org_id(connection, org)
                row = await self._bucket_row(connection, org_id, org, nickname)
                values: dict[str, object] = {"updated": later(row["updated"])}
                if new_nickname is not None:
                    values["nickname"] = new_nickname
                    await _rename_in_containers(connection, org_id, nickname, new_nickname)
                if auth_config is not None:
                    values |= await self._sealed(connection, org_id, row["id"], auth_config)
                if place is not None and any(row[name] != value for name, value in _place(place).items()):
                    await self._refuse_use(connection, row["id"], org, nickname, "moved")
                    values |= _place(place)
                query = update(buckets).where(buckets.c.id == row["id"]).values(values).returning(buckets)
                return self._bucket((await connection.execute(query)).mappings().one())
        except ConstraintError:
            raise await self._bucket_taken(org, new_nickname or nickname, place, but=nickname) from None

    async def delete_bucket(self, org: str, nickname: str) -> None:
        """Remove a bucket config that no repo uses."""
        async with self._write() as connection:
            row = await self._bucket_row(connection, await self._org_id(connection, org), org, nickname)
            await self._refuse_use(connection, row["id"], org, nickname, "deleted")
            await connection.execute(delete(buckets).where(buckets.c.id == row["id"]))

    async def set_default_bucket(self, org: str, nickname: str) -> None:
        """Make a bucket config the organization's default."""
        async with self._write() as connection:
            org_id = await self._org_id(connection, org)
            row = await self._bucket_row(connection, org_id, org, nickname)
            if row["is_default"]:
                return
            query = select(buckets).where(buckets.c.org_id == org_id, buckets.c.is_default)
            former = (await connection.execute(query)).mappings().one_or_none()
            # In this order: there is one default at most, at every moment.
            for changed, is_default in ((former, False), (row, True)):
                if changed is not None:
                    values = {"is_default": is_default, "updated": later(changed["updated"])}
                    await connection.execute(update(buckets).where(buckets.c.id == changed["id"]).values(values))

    async def _refuse_use(self, connection: AsyncConnection, bucket_id: str, org: str, nickname: str, done: str) -> None:
        count = await connection.scalar(select(func.count()).select_from(repos).where(repos.c.bucket_id == bucket_id))
        if not count:
            return
        query = (
            select(repos).where(repos.c.bucket_id == bucket_id).order_by(repos.c.deleted_at.is_not(None), repos.c.name).limit(3)
        )
        users = [f"{row['name']!r}{condition(row)}" for row in (await connection.execute(query)).mappings()]
        more = f" and {count - len(users)} more" if count > len(users) else ""
        raise InUseError(
            f"the bucket config {nickname!r} can't be {done} while a repo of {org!r} uses it: {', '.join(users)}{more}; "
            "delete these first (with `immediate` where they shall not be restored)"
        )

    async def _bucket_taken(self, org: str, nickname: str, place: NewBucket | None, but: str = "") -> AlreadyExistsError:
        async with self._read() as connection:
            org_id = await self._org_id(connection, org)
            query = select(buckets.c.nickname, buckets.c.store, buckets.c.path).where(
                buckets.c.org_id == org_id, buckets.c.nickname != but
            )
            others = {name: (store, path) for name, store, path in (await connection.execute(query)).all()}
        if nickname in others:
            return AlreadyExistsError(
                f"the organization {org!r} has a bucket config {nickname!r} already: choose another nickname"
            )
        uri = f"{place.platform}://{join_prefix(place.name, place.prefix)}" if place else "its place"
        holders = [name for name, where in others.items() if place is not None and where == tuple(place.identity)]
        by = f"as the bucket config {holders[0]!r}" if holders else "already"
        return AlreadyExistsError(f"{uri} is registered in {org!r} {by}: use that one, or choose another prefix")


def _check(new: NewBucket) -> None:
    validate_nickname(new.nickname)
    validate_prefix(new.prefix)


async def _rename_in_containers(connection: AsyncConnection, org_id: str, old: str, new: str) -> None:
    """Let the virtual chunk containers that name a bucket config name it as it is called now."""
    naming = select(repos.c.id, repos.c.virtual_chunk_containers).where(repos.c.org_id == org_id)
    for row in (await connection.execute(naming)).mappings().all():
        containers: dict[str, str] = row["virtual_chunk_containers"]
        if old in containers.values():
            renamed = {url: new if nickname == old else nickname for url, nickname in containers.items()}
            await connection.execute(update(repos).where(repos.c.id == row["id"]).values(virtual_chunk_containers=renamed))


def _place(new: NewBucket) -> dict[str, object]:
    return {
        "platform": new.platform,
        "name": new.name,
        "prefix": new.prefix,
        "extra_config": new.extra_config,
        "store": new.identity.store,
        "path": new.identity.path,
    }
