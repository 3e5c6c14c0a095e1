"""Repos in the SQL catalog: looking them up, and changing what their records say."""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from math import ceil
from typing import NamedTuple, cast

from sqlalchemy import RowMapping, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from arraylake_core.catalog.base import OpenRepo, UnfinishedRepo
from arraylake_core.catalog.engine import ConstraintError, Prepared, sorted_by
from arraylake_core.catalog.home import Home
from arraylake_core.catalog.paging import validate_page
from arraylake_core.catalog.records import REPO_QUERY, Records, later, status_document
from arraylake_core.catalog.tables import buckets, metadata_index, orgs, repos
from arraylake_core.errors import AlreadyExistsError, InvalidOptionError, RepoNotFoundError
from arraylake_core.models import (
    Page,
    RepoMetadata,
    RepoModel,
    RepoStatus,
    Scalar,
    validate_description,
    validate_metadata,
)
from arraylake_core.names import shown, suggestion, validate_nickname, validate_org, validate_repo

__all__ = ["RepoRecords", "check_containers", "index_metadata"]

MAX_CONTAINERS = 100
MAX_URL = 2048
VISIBILITIES = ("PRIVATE", "AUTHENTICATED_PUBLIC")

_LIVE = REPO_QUERY.where(
    orgs.c.name == bindparam("org"),
    repos.c.name == bindparam("repo"),
    repos.c.deleted_at.is_(None),
    repos.c.state == "active",
)


_OPENED = Prepared(_LIVE)
_KEPT = 2048


class _Known(NamedTuple):
    """A repo as it was read last: the rows, and what they mean."""

    row: Sequence[object]
    virtual: Sequence[object]
    opened: OpenRepo


class RepoRecords(Records):
    """The records of repos.

    Parameters
    ----------
    home
        Where the catalog is.
    """

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()

    async def list_repos(
        self,
        org: str,
        *,
        filter_metadata: RepoMetadata | None = None,
        bucket: str | None = None,
        page: int = 1,
        size: int = 50,
        only: Collection[str] | None = None,
    ) -> Page[RepoModel]:
        """Return a page of the live repos of an organization, by name."""
        validate_page(page, size)
        digests = _digests(validate_metadata(filter_metadata))
        async with self._read() as connection:
            org_id = await self._org_id(connection, org)
            wanted = [repos.c.org_id == org_id, repos.c.deleted_at.is_(None), repos.c.state == "active"]
            if bucket is not None:
                wanted.append(repos.c.bucket_id == (await self._bucket_row(connection, org_id, org, bucket))["id"])
            if digests:
                pairs = (
                    select(metadata_index.c.repo_id)
                    .where(metadata_index.c.digest.in_(digests))
                    .group_by(metadata_index.c.repo_id)
                )
                wanted.append(repos.c.id.in_(pairs.having(func.count() == len(digests))))
            if only is not None:
                wanted.append(repos.c.id.in_(sorted(only)))
            whole = bucket is None and only is None and not digests
            counted = select(orgs.c.live_repos).where(orgs.c.id == org_id) if whole else select(func.count()).where(*wanted)
            total = await connection.scalar(counted) or 0
            pages = ceil(total / size)
            # The ids come from the index alone; only what is on the page is read whole.
            by_name = sorted_by(connection, repos.c.name)
            ids = select(repos.c.id).where(*wanted).order_by(by_name).limit(size).offset((page - 1) * size)
            query = self._repo_query().where(repos.c.id.in_(ids.scalar_subquery())).order_by(by_name)
            # A page beyond the end may be beyond what the database can count to as well.
            rows = (await connection.execute(query)).mappings().all() if page <= pages else []
        return Page(items=[self._repo(row) for row in rows], total=total, page=page, size=size, pages=pages)

    async def get_repo(self, org: str, repo: str) -> RepoModel:
        """Return the record of a live repo."""
        async with self._read(single=True) as connection:
            return self._repo(await self._live(connection, org, repo))

    async def get_repo_by_id(self, repo_id: str, *, deleted: bool = False) -> RepoModel:
        """Return the record of a repo; it may still be pending.

        Parameters
        ----------
        repo_id
            Its id.
        deleted
            Whether it may be one that is deleted, and not purged yet.
        """
        async with self._read() as connection:
            query = self._repo_query().where(repos.c.id == repo_id)
            if not deleted:
                query = query.where(repos.c.deleted_at.is_(None))
            row = (await connection.execute(query)).mappings().one_or_none()
        if row is None:
            raise RepoNotFoundError(f"there is no repo with the id {shown(repo_id)}: it may have been deleted")
        return self._repo(row)

    async def open_repo(self, org: str, repo: str) -> OpenRepo:
        """Return all that opening a live repo needs, in one statement or two."""
        found = await self._read_open(org, repo, None)
        if found is None:
            async with self._read() as connection:
                raise await self._repo_missing(connection, org, repo)
        return found.opened

    async def find_open(self, org: str, repo: str) -> OpenRepo | None:
        """Return what open_repo does, or None. Where nothing has changed, it is what was returned before, and not to be changed by anyone.

        The database is asked each time, and what it says is compared: what was read before saves work, and never decides.
        """
        known = self._known.get((org, repo))
        found = await self._read_open(org, repo, known)
        if found is None:
            self._known.pop((org, repo), None)
            return None
        if found is not known:
            self._known[org, repo] = found
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return found.opened

    async def _read_open(self, org: str, repo: str, known: _Known | None) -> _Known | None:
        parameters = {"org": validate_org(org), "repo": validate_repo(repo)}
        while True:
            rows = await self._rows(_OPENED, parameters)
            if not rows:
                return None
            if known is not None and known.row == rows[0] and not known.virtual:
                return known
            row = self._home.database.decoded(_OPENED, rows[0])
            containers = cast("dict[str, str]", row["virtual_chunk_containers"])
            if not containers:
                return _Known(rows[0], (), OpenRepo(repo=self._repo(row), virtual_buckets={}))
            # The containers once more, of the same moment as the bucket configs: a bucket config may have been renamed in between.
            named = buckets.c.nickname.in_(sorted(set(containers.values())))
            query = select(repos.c.virtual_chunk_containers.label("containers"), buckets).where(repos.c.id == row["id"])
            here = repos.outerjoin(buckets, (buckets.c.org_id == repos.c.org_id) & named)
            async with self._read(single=True) as connection:
                found = (await connection.execute(query.select_from(here))).mappings().all()
            if not found or found[0]["containers"] != containers:
                continue
            virtual = tuple(tuple(bucket.values()) for bucket in found)
            if known is not None and (known.row, known.virtual) == (rows[0], virtual):
                return known
            named_so = {bucket["nickname"]: self._bucket(bucket) for bucket in found if bucket["id"] is not None}
            return _Known(rows[0], virtual, OpenRepo(repo=self._repo(row), virtual_buckets=named_so))

    async def unfinished_repos(self, org: str | None = None) -> list[UnfinishedRepo]:
        """Return the pending and the deleted repos, of one organization or of all, oldest first."""
        query = self._repo_query().where((repos.c.state == "pending") | repos.c.deleted_at.is_not(None))
        async with self._read() as connection:
            if org is not None:
                query = query.where(repos.c.org_id == await self._org_id(connection, org))
            rows = (await connection.execute(query.order_by(repos.c.created, repos.c.id))).mappings().all()
        return [
            UnfinishedRepo(
                repo=self._repo(row),
                state="pending" if row["deleted_at"] is None else "purging" if row["state"] == "purging" else "deleted",
                since=row["deleted_at"] or row["created"],
                generated=row["generated"],
            )
            for row in rows
        ]

    async def modify_repo(
        self,
        org: str,
        repo: str,
        *,
        description: str | None = None,
        add_metadata: RepoMetadata | None = None,
        remove_metadata: Sequence[str] | None = None,
        update_metadata: RepoMetadata | None = None,
        virtual_chunk_containers: Mapping[str, str | None] | None = None,
        status: RepoStatus | None = None,
        visibility: str | None = None,
        optimization_config: Mapping[str, Scalar] | None = None,
    ) -> RepoModel:
        """Change the record of a repo, each None leaving its part alone."""
        values: dict[str, object] = {}
        if description is not None:
            values["description"] = validate_description(description)
        if status is not None:
            values["status"] = status_document(status)
        if visibility is not None:
            values["visibility"] = _visibility(visibility)
        if optimization_config is not None:
            values["optimization_config"] = validate_metadata(optimization_config)
        async with self._write() as connection:
            row = await self._live(connection, org, repo)
            before = cast("dict[str, Scalar | list[Scalar]]", row["metadata"])
            after = _changed_metadata(before, add_metadata, remove_metadata, update_metadata)
            if after != before or list(map(type, after.values())) != list(map(type, before.values())):
                values["metadata"] = after
                await index_metadata(connection, row["id"], after)
            if virtual_chunk_containers is not None:
                merged = {**row["virtual_chunk_containers"], **virtual_chunk_containers}
                values["virtual_chunk_containers"] = check_containers(
                    {url: name for url, name in merged.items() if name is not None}
                )
            return await self._updated(connection, row, values)

    async def rename_repo(self, org: str, repo: str, new_name: str) -> RepoModel:
        """Give a repo another name in its organization."""
        validate_repo(new_name, new=True)
        try:
            async with self._write() as connection:
                row = await self._live(connection, org, repo)
                return await self._updated(connection, row, {"name": new_name})
        except ConstraintError:
            raise await self._taken(org, new_name) from None

    async def _updated(self, connection: AsyncConnection, row: RowMapping, values: dict[str, object]) -> RepoModel:
        await connection.execute(update(repos).where(repos.c.id == row["id"]).values(values | {"updated": later(row["updated"])}))
        return await self._by_id(connection, row["id"])

    async def _by_id(self, connection: AsyncConnection, repo_id: str) -> RepoModel:
        return self._repo((await connection.execute(self._repo_query().where(repos.c.id == repo_id))).mappings().one())

    async def _live(self, connection: AsyncConnection, org: str, repo: str) -> RowMapping:
        validate_org(org)
        validate_repo(repo)
        row = (await connection.execute(_LIVE, {"org": org, "repo": repo})).mappings().one_or_none()
        if row is None:
            raise await self._repo_missing(connection, org, repo)
        return row

    async def _repo_missing(self, connection: AsyncConnection, org: str, repo: str) -> RepoNotFoundError:
        org_id = await self._org_id(connection, org)
        query = select(repos.c.name, repos.c.state, repos.c.deleted_at).where(
            repos.c.org_id == org_id, repos.c.state != "purging"
        )
        same = (
            (await connection.execute(query.where(repos.c.name == repo).order_by(repos.c.deleted_at.is_(None).desc())))
            .mappings()
            .all()
        )
        full_name = shown(f"{org}/{repo}")
        if same and same[0]["deleted_at"] is None:
            return RepoNotFoundError(
                f"there is no repo {full_name} yet: its creation has not finished; where it was interrupted, "
                f"run `arraylake-core repo repair {org}`"
            )
        if same:
            return RepoNotFoundError(
                f"the repo {full_name} was deleted on {same[0]['deleted_at']:%Y-%m-%d}, and can be restored: "
                f"`arraylake-core repo restore {org}/{repo}`"
            )
        live = query.where(repos.c.deleted_at.is_(None), repos.c.state == "active").order_by(repos.c.name).limit(1000)
        names = [f"{org}/{row['name']}" for row in (await connection.execute(live)).mappings()]
        hint = suggestion(f"{org}/{repo}", names) or f": list those that exist with `arraylake-core repo list {org}`"
        return RepoNotFoundError(f"there is no repo {full_name}{hint}")

    async def _taken(self, org: str, repo: str) -> AlreadyExistsError:
        """Say who has a repo's name; called when the database has refused it."""
        async with self._read() as connection:
            query = select(repos.c.state).where(
                repos.c.org_id == await self._org_id(connection, org), repos.c.name == repo, repos.c.deleted_at.is_(None)
            )
            return name_taken(org, repo, await connection.scalar(query))


def name_taken(org: str, repo: str, state: str | None) -> AlreadyExistsError:
    """Return the error for a name that a repo in this state has."""
    if state == "pending":
        return AlreadyExistsError(
            f"the repo {org}/{repo} is being created, or its creation was interrupted: try again in a minute, "
            f"when an interrupted one can be taken over, or run `arraylake-core repo repair {org}` then"
        )
    return AlreadyExistsError(
        f"there is a repo {org}/{repo} already: open it with get_repo or get_or_create_repo, or choose another name"
    )


async def index_metadata(connection: AsyncConnection, repo_id: str, metadata: Mapping[str, Scalar | Sequence[Scalar]]) -> None:
    """Make a repo findable by these pairs, and by no others."""
    await connection.execute(delete(metadata_index).where(metadata_index.c.repo_id == repo_id))
    rows = [{"digest": digest, "repo_id": repo_id} for digest in _digests(metadata)]
    if rows:
        await connection.execute(insert(metadata_index), rows)


def check_containers(containers: Mapping[str, str]) -> dict[str, str]:
    """Check virtual chunk containers: URL prefixes and nicknames."""
    if len(containers) > MAX_CONTAINERS:
        raise InvalidOptionError(
            f"a repo may have {MAX_CONTAINERS} virtual chunk containers, not {len(containers)}: use shorter URL prefixes"
        )
    for url, nickname in containers.items():
        if not isinstance(url, str) or "://" not in url or len(url) > MAX_URL or not url.isascii():
            raise InvalidOptionError(f"{shown(url)} is no URL prefix of virtual chunks: write platform://bucket/prefix")
        validate_nickname(nickname)
    return dict(containers)


def _digests(metadata: Mapping[str, Scalar | Sequence[Scalar]]) -> list[str]:
    """Return a digest of each pair, by which equal JSON values are equal, however long: 1 and 1.0 are, 1 and true are not."""
    pairs = (json.dumps([key, _plain(value)], separators=(",", ":")) for key, value in metadata.items())
    return [hashlib.sha256(pair.encode()).hexdigest() for pair in pairs]


def _plain(value: Scalar | Sequence[Scalar]) -> Scalar | list[Scalar]:
    if isinstance(value, list | tuple):
        return [cast("Scalar", _plain(item)) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else cast("Scalar", value)


def _changed_metadata(
    before: Mapping[str, Scalar | list[Scalar]],
    add: RepoMetadata | None,
    remove: Sequence[str] | None,
    change: RepoMetadata | None,
) -> dict[str, Scalar | list[Scalar]]:
    if isinstance(remove, str):
        raise InvalidOptionError("remove_metadata is a list of keys, not one text: write [key]")
    added, removed, changed = validate_metadata(add), set(remove or ()), validate_metadata(change)
    for one, other, names in (
        (set(added), removed, "add and remove"),
        (set(added), set(changed), "add and update"),
        (removed, set(changed), "remove and update"),
    ):
        if one & other:
            raise InvalidOptionError(f"can't {names} the metadata {shown(min(one & other))} in one call: ask for one of the two")
    for key in added:
        if key in before:
            raise InvalidOptionError(f"the repo has metadata {shown(key)} already: use update_metadata to change it")
    return validate_metadata({key: value for key, value in before.items() if key not in removed} | added | changed)


def _visibility(value: str) -> str:
    if value not in VISIBILITIES:
        raise InvalidOptionError(f"{shown(value)} is no visibility: take {' or '.join(VISIBILITIES)}")
    return value
