"""The life of a repo in the SQL catalog: pending, active, deleted, and either restored or purged; and the place in storage that it holds."""

from sqlalchemy import RowMapping, delete, exists, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog.acting import actor_id
from arraylake_core.catalog.base import NewRepo
from arraylake_core.catalog.engine import ConstraintError, insert_missing
from arraylake_core.catalog.records import condition, later, new_id, status_document
from arraylake_core.catalog.sql_repos import RepoRecords, check_containers, index_metadata
from arraylake_core.catalog.tables import buckets, orgs, place_claims, places, repos
from arraylake_core.errors import (
    AlreadyExistsError,
    BucketConfigNotFoundError,
    InUseError,
    RepoNotFoundError,
)
from arraylake_core.models import RepoModel, RepoStatus, utc_now, validate_description, validate_metadata
from arraylake_core.names import shown, validate_prefix, validate_repo

__all__ = ["LifecycleRecords"]


class LifecycleRecords(RepoRecords):
    """Creation, deletion and what lies between."""

    async def create_repo(self, org: str, new: NewRepo) -> RepoModel:
        """Record a repo as pending: its name and place are taken, and nobody sees it."""
        validate_repo(new.name, new=True)
        repo_id, now, metadata = new_id(), utc_now(), validate_metadata(new.metadata)
        values = {
            "id": repo_id,
            "bucket_id": new.bucket_id,
            "name": new.name,
            "kind": new.kind,
            "prefix": validate_prefix(new.prefix),
            "generated": new.generated,
            "state": "pending",
            "description": validate_description(new.description),
            "metadata": metadata,
            "virtual_chunk_containers": check_containers(new.virtual_chunk_containers),
            "status": status_document(RepoStatus()),
            "created": now,
            "updated": now,
            "created_by": actor_id(),
            "retain_data": False,
            "ref_floor": 0,
        }
        claims = _claims(repo_id, new.identity)
        try:
            async with self._write() as connection:
                org_id = await self._org_id(connection, org)
                if not await connection.scalar(select(exists().where(buckets.c.id == new.bucket_id, buckets.c.org_id == org_id))):
                    raise BucketConfigNotFoundError(
                        f"the organization {org!r} has no bucket config with the id {shown(new.bucket_id)}: it may have been deleted since"
                    )
                await connection.execute(insert(repos).values(values | {"org_id": org_id}))
                await insert_missing(
                    connection, places, [{name: claim[name] for name in ("store", "path", "role")} for claim in claims]
                )
                await connection.execute(insert(place_claims), claims)
                await index_metadata(connection, repo_id, metadata)
                return await self._by_id(connection, repo_id)
        except ConstraintError:
            raise await self._refused(org, new) from None

    async def activate_repo(self, repo_id: str) -> RepoModel:
        """Make a pending repo visible. Doing it again does no harm."""
        async with self._write() as connection:
            row = await self._row(connection, repo_id)
            if row is None or row["deleted_at"] is not None:
                what = "was deleted" if row is not None else "does not exist, or was purged"
                raise RepoNotFoundError(
                    f"the repo with the id {shown(repo_id)} {what}, so it can't be activated: create it again"
                )
            if row["state"] == "active":
                return await self._by_id(connection, repo_id)
            await _count(connection, row["org_id"], 1)
            return await self._updated(connection, row, {"state": "active"})

    async def delete_repo(self, org: str, repo: str, *, retain_data: bool = False) -> RepoModel:
        """Mark a repo as deleted: its name is free, its place is not."""
        async with self._write() as connection:
            row = await self._live(connection, org, repo)
            await _count(connection, row["org_id"], -1)
            values: dict[str, object] = {
                "deleted_at": later(row["updated"]),
                "deleted_by": actor_id(),
                "retain_data": retain_data,
            }
            return await self._updated(connection, row, values)

    async def restore_repo(self, org: str, repo: str) -> RepoModel:
        """Bring back the repo of that name that was deleted last."""
        validate_repo(repo)
        try:
            async with self._write() as connection:
                org_id = await self._org_id(connection, org)
                deleted = select(repos).where(
                    repos.c.org_id == org_id, repos.c.name == repo, repos.c.deleted_at.is_not(None), repos.c.state == "active"
                )
                row = (await connection.execute(deleted.order_by(repos.c.deleted_at.desc()).limit(1))).mappings().one_or_none()
                if row is None:
                    raise RepoNotFoundError(f"there is no deleted repo {shown(f'{org}/{repo}')} that could be restored")
                await _count(connection, org_id, 1)
                return await self._updated(connection, row, {"deleted_at": None, "deleted_by": None, "retain_data": False})
        except ConstraintError:
            taken = await self._taken(org, repo)
            raise AlreadyExistsError(f"{taken}; to restore the deleted one, rename or delete that one first") from None

    async def begin_purge(self, repo_id: str) -> None:
        """Make a deleted repo one that can't be restored. Doing it again does no harm."""
        async with self._write() as connection:
            row = await self._row(connection, repo_id)
            if row is None or row["state"] == "purging":
                return
            if row["deleted_at"] is None:
                raise InUseError(f"the repo {row['name']!r} is live, so it can't be purged: delete it first")
            await self._updated(connection, row, {"state": "purging"})

    async def purge_repo(self, repo_id: str) -> None:
        """Forget a pending or deleted repo for good. Doing it again does no harm."""
        async with self._write() as connection:
            row = await self._row(connection, repo_id)
            if row is None:
                return
            if row["deleted_at"] is None and row["state"] == "active":
                raise InUseError(f"the repo {row['name']!r} is live, so it can't be purged: delete it first")
            held = (await connection.execute(select(place_claims).where(place_claims.c.repo_id == repo_id))).mappings().all()
            await connection.execute(delete(place_claims).where(place_claims.c.repo_id == repo_id))
            for claim in held:
                here = (places.c.store == claim["store"], places.c.path == claim["path"])
                others = exists().where(place_claims.c.store == places.c.store, place_claims.c.path == places.c.path)
                await connection.execute(delete(places).where(*here, ~others))
            # The refs, journals and metadata index go with it, by their foreign keys.
            await connection.execute(delete(repos).where(repos.c.id == repo_id))

    async def forget_deleted_repos(self, bucket_id: str) -> None:
        """Forget the deleted repos of a bucket config for good; their bytes stay where they are."""
        async with self._read() as connection:
            gone = select(repos.c.id).where(repos.c.bucket_id == bucket_id, repos.c.deleted_at.is_not(None))
            ids = (await connection.scalars(gone)).all()
        for repo_id in ids:
            await self.purge_repo(repo_id)

    async def _row(self, connection: AsyncConnection, repo_id: str) -> RowMapping | None:
        return (await connection.execute(select(repos).where(repos.c.id == repo_id))).mappings().one_or_none()

    async def _refused(self, org: str, new: NewRepo) -> AlreadyExistsError:
        """Say which name or place a new repo collided with; called when the database has refused it."""
        store, path = new.identity
        above = [claim["path"] for claim in _claims("", new.identity)]
        async with self._read() as connection:
            org_id = await self._org_id(connection, org)
            mine = select(repos.c.name, repos.c.state, repos.c.deleted_at).where(repos.c.org_id == org_id)
            named = mine.where(repos.c.name == new.name, repos.c.deleted_at.is_(None))
            if (await connection.execute(named)).first() is not None:
                return await self._taken(org, new.name)
            # A claim on the very path comes from a repo there or below; one by an owner further up, from a repo above.
            overlap = (place_claims.c.path == path) | (place_claims.c.path.in_(above) & (place_claims.c.role == "owner"))
            query = mine.join(place_claims, place_claims.c.repo_id == repos.c.id).where(place_claims.c.store == store, overlap)
            row = (await connection.execute(query.order_by(repos.c.name).limit(1))).mappings().one_or_none()
        # Another organization's repos are none of the caller's business, so they stay nameless.
        holder = f"the repo {org}/{row['name']}{condition(row)}" if row is not None else "another repo"
        return AlreadyExistsError(
            f"the place {shown(new.prefix)} of {org}/{new.name} in its bucket is at, above or below the place of {holder}: choose another prefix"
        )


async def _count(connection: AsyncConnection, org_id: str, change: int) -> None:
    """Keep the number of an organization's live repos: counting a million of them anew for each page would take a while."""
    await connection.execute(update(orgs).where(orgs.c.id == org_id).values(live_repos=orgs.c.live_repos + change))


def _claims(repo_id: str, identity: StorageIdentity) -> list[dict[str, str]]:
    """Return the claims of a repo: its own path as the owner, and every path above it as a passage."""
    store, path = identity
    parts = path.split("/") if path else []
    return [
        {
            "repo_id": repo_id,
            "store": store,
            "path": "/".join(parts[:depth]),
            "role": "owner" if depth == len(parts) else "passage",
        }
        for depth in range(len(parts) + 1)
    ]
