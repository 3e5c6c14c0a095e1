"""The life of a repo: creation, import, renaming, deletion, restoring, and ending what was interrupted."""

import re
from typing import Annotated, Literal

import msgspec

from arraylake_core.catalog.base import NewRepo, UnfinishedRepo
from arraylake_core.catalog.request import bucket_location
from arraylake_core.errors import InvalidNameError, InvalidOptionError
from arraylake_core.models import BucketResponse
from arraylake_core.names import generate_prefix, join_prefix, shown, validate_prefix
from arraylake_core.service.call import Call
from arraylake_core.service.routes.repos import Metadata
from arraylake_core.service.table import Need, Route
from arraylake_core.service.wire import WireRepo, repo_for

__all__ = ["ROUTES"]

_GENERATED = re.compile(r"[a-z0-9]{20}\Z", re.ASCII)


class NewRepoBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A new repo; the last five are our own client's."""

    name: str
    kind: str = "icechunk"
    bucket_nickname: str | None = None
    prefix: str | None = None
    create_mode: Literal["register", "create", "import"] | None = None
    description: str | None = None
    metadata: Metadata | None = None
    spec_version: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    bucket_id: str | None = None
    whole_prefix: str | None = None
    generated: bool = False
    pending: bool = False
    virtual_chunk_containers: dict[str, str] | None = None


class ImportBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str
    prefix: str
    kind: str = "icechunk"
    bucket_nickname: str | None = None
    description: str | None = None
    metadata: Metadata | None = None


class RenameBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    name: str


class DeleteQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    immediate: bool = False
    retain_data: bool = False


class WireUnfinished(msgspec.Struct, kw_only=True):
    repo: WireRepo
    state: str
    since: str
    generated: bool


async def create_repo(call: Call) -> WireRepo:
    body = call.read(NewRepoBody)
    bucket = await (
        call.catalog.get_bucket_by_id(body.bucket_id)
        if body.bucket_id
        else call.catalog.get_bucket(call.org, body.bucket_nickname)
    )
    own, generated = _own_prefix(bucket, body, trusted=call.principal.operator)
    return await _create(call, bucket, own, generated=generated, pending=body.pending, body=body)


async def import_repo(call: Call) -> WireRepo:
    body = call.read(ImportBody)
    if not body.prefix:
        raise InvalidNameError("importing a repo needs the prefix, in the bucket config, at which it lies")
    bucket = await call.catalog.get_bucket(call.org, body.bucket_nickname)
    wanted = NewRepoBody(name=body.name, kind=body.kind, description=body.description, metadata=body.metadata)
    return await _create(call, bucket, body.prefix, generated=False, pending=False, body=wanted)


def _own_prefix(bucket: BucketResponse, body: NewRepoBody, *, trusted: bool) -> tuple[str, bool]:
    """Return the repo's own part of the prefix, and whether it was generated: only what looks generated is ever taken for it."""
    if body.whole_prefix is None:
        return body.prefix or generate_prefix(), not body.prefix
    whole = validate_prefix(body.whole_prefix, longest=1024)
    own = whole.removeprefix(bucket.prefix).strip("/")
    if join_prefix(bucket.prefix, own) != whole:
        raise InvalidNameError(
            f"the prefix {shown(whole)} lies outside the bucket config {bucket.nickname!r}: take one below its own"
        )
    if body.generated and not trusted and not _GENERATED.match(own):
        raise InvalidOptionError("a generated prefix has 20 characters of a-z and 0-9: leave the prefix out to have one made")
    return own, body.generated


async def _create(call: Call, bucket: BucketResponse, own: str, *, generated: bool, pending: bool, body: NewRepoBody) -> WireRepo:
    registry = call.services.registry
    registry.repo_kind(body.kind)
    platform = registry.storage_platform(bucket.platform)
    location = bucket_location(platform, bucket).below(validate_prefix(own))
    new = NewRepo(
        name=body.name,
        kind=body.kind,
        bucket_id=bucket.id,
        prefix=location.prefix,
        generated=generated,
        identity=platform.identity(location),
        description=body.description,
        metadata=body.metadata or {},
        virtual_chunk_containers=body.virtual_chunk_containers or {},
    )
    call.target = f"{call.org}/{body.name}"
    made = await call.catalog.create_repo(call.org, new)
    if not pending:
        made = await call.catalog.activate_repo(made.id)
        call.announce("repo.created", made)
    return repo_for(call, made)


async def activate_repo(call: Call) -> WireRepo:
    active = await call.catalog.activate_repo(call.path["repo_id"])
    call.target = active.full_name
    call.announce("repo.created", active)
    return repo_for(call, active)


async def rename_repo(call: Call) -> WireRepo:
    new_name = call.read(RenameBody).name
    renamed = await call.catalog.rename_repo(call.path["org"], call.path["repo"], new_name)
    call.target = f"{call.org}/{call.path['repo']} is {new_name}"
    call.announce("repo.modified", renamed)
    return repo_for(call, renamed)


async def delete_repo(call: Call) -> WireRepo:
    query = call.asked(DeleteQuery)
    deleted = await call.catalog.delete_repo(call.path["org"], call.path["repo"], retain_data=query.retain_data)
    call.announce("repo.deleted", deleted)
    if query.immediate:
        await call.catalog.begin_purge(deleted.id)
        if query.retain_data:
            await call.catalog.purge_repo(deleted.id)
    return repo_for(call, deleted)


async def restore_repo(call: Call) -> WireRepo:
    restored = await call.catalog.restore_repo(call.org, call.path["repo"])
    call.announce("repo.restored", restored)
    return repo_for(call, restored)


async def begin_purge(call: Call) -> None:
    await call.catalog.begin_purge(call.path["repo_id"])


async def purge_repo(call: Call) -> None:
    await call.catalog.purge_repo(call.path["repo_id"])


async def list_unfinished(call: Call) -> list[WireUnfinished]:
    return [_unfinished(call, found) for found in await call.catalog.unfinished_repos(call.org or None)]


async def list_all_unfinished(call: Call) -> list[WireUnfinished]:
    return await list_unfinished(call)


def _unfinished(call: Call, found: UnfinishedRepo) -> WireUnfinished:
    return WireUnfinished(
        repo=repo_for(call, found.repo), state=found.state, since=found.since.isoformat(), generated=found.generated
    )


_REPOS, _ID = "/orgs/{org}/repos", "/repo-ids/{repo_id}"
ROUTES = (
    Route(
        "POST", _REPOS, Need.OrgWrite, create_repo, "Create a repo.", body=NewRepoBody, answer=WireRepo, status=201, changes=True
    ),
    Route(
        "POST",
        _REPOS + "/import",
        Need.OrgAdmin,
        import_repo,
        "Import a repo.",
        body=ImportBody,
        answer=WireRepo,
        status=201,
        changes=True,
    ),
    Route(
        "POST",
        _ID + "/activate",
        Need.RepoWrite,
        activate_repo,
        "Make a pending repo visible.",
        body=bytes,
        answer=WireRepo,
        changes=True,
    ),
    Route(
        "POST",
        "/repos/{org}/{repo}/rename",
        Need.RepoAdmin,
        rename_repo,
        "Rename a repo.",
        body=RenameBody,
        answer=WireRepo,
        changes=True,
    ),
    Route(
        "DELETE",
        "/orgs/{org}/{repo}",
        Need.RepoWrite,
        delete_repo,
        "Delete a repo.",
        query=DeleteQuery,
        answer=WireRepo,
        changes=True,
    ),
    Route(
        "POST",
        "/repos/{org}/{repo}/restore",
        Need.OrgWrite,
        restore_repo,
        "Bring back a deleted repo.",
        body=bytes,
        answer=WireRepo,
        changes=True,
    ),
    Route(
        "POST",
        _ID + "/begin-purge",
        Need.RepoWrite,
        begin_purge,
        "Let a deleted repo not be restored.",
        body=bytes,
        status=204,
        changes=True,
    ),
    Route("DELETE", _ID, Need.RepoWrite, purge_repo, "Forget a pending or deleted repo.", status=204, changes=True),
    Route(
        "GET",
        "/orgs/{org}/unfinished",
        Need.OrgWrite,
        list_unfinished,
        "List what was not finished.",
        answer=list[WireUnfinished],
    ),
    Route(
        "GET",
        "/unfinished",
        Need.Operator,
        list_all_unfinished,
        "List what was not finished in every organization.",
        answer=list[WireUnfinished],
    ),
)
