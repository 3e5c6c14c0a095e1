"""Repos: listing, showing, opening and changing their records."""

import json
from typing import TYPE_CHECKING, Annotated, cast

import msgspec

from arraylake_core.catalog.base import OpenRepo
from arraylake_core.errors import InvalidOptionError, PermissionDeniedError
from arraylake_core.models import Page, RepoMode, RepoStatus, Scalar
from arraylake_core.people import Role
from arraylake_core.service.access import visible_repos
from arraylake_core.service.call import Call
from arraylake_core.service.credentials import may_use_bucket
from arraylake_core.service.routes.credentials import is_signed, repo_credentials, virtual_credentials
from arraylake_core.service.routes.orgs import PageQuery
from arraylake_core.service.table import Need, Route
from arraylake_core.service.wire import WireAuthor, WireOpen, WireRepo, bucket_for, is_our_client, page_for, repo_for

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ROUTES"]

type Metadata = dict[str, Scalar | list[Scalar]]


class ListQuery(PageQuery, forbid_unknown_fields=True, kw_only=True):
    filter_metadata: Annotated[str, msgspec.Meta(max_length=5000)] | None = None
    include_ghosts: bool = False
    bucket: str | None = None


class OpenQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    full: bool = False


class StatusBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    mode: RepoMode
    message: Annotated[str, msgspec.Meta(max_length=1000)] | None = None


class ChangedRepoBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    description: str | None = None
    add_metadata: Metadata | None = None
    remove_metadata: list[str] | None = None
    update_metadata: Metadata | None = None
    optimization_config: dict[str, Scalar] | None = None
    virtual_chunk_containers: dict[str, str | None] | None = None
    status: StatusBody | None = None
    visibility: str | None = None


class ContainersBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    add: dict[str, str] = msgspec.field(default_factory=dict)
    remove: list[str] = msgspec.field(default_factory=list)


async def list_repos(call: Call) -> Page[WireRepo]:
    query = call.asked(ListQuery)
    page = await call.catalog.list_repos(
        call.org,
        filter_metadata=_filter(query.filter_metadata),
        bucket=query.bucket,
        page=query.page,
        size=query.size,
        only=await visible_repos(call.catalog, call.principal, call.org),
    )
    return page_for(call, page)


def _filter(text: str | None) -> Metadata | None:
    if text is None:
        return None
    try:
        return cast("Metadata", msgspec.json.decode(text, type=Metadata))
    except (msgspec.DecodeError, RecursionError):
        example = json.dumps({"ocean": "arctic"})
        raise InvalidOptionError(f"filter_metadata is a JSON object of scalars and lists of scalars, such as {example}") from None


async def get_repo(call: Call) -> WireRepo:
    return repo_for(call, await call.get_repo())


async def open_repo(call: Call) -> msgspec.Raw:
    found, full = await call.open_repo(), call.asked(OpenQuery).full
    key = (found.repo.id, call.principal.id, full, is_our_client(call))
    body = await call.services.answers.find(key, found, call.principal)
    if body is None:
        body = msgspec.json.encode(await _opened(call, found, full=full))
        call.services.answers.keep(key, found, call.principal, call.vended, body)
    return msgspec.Raw(body)


async def _opened(call: Call, found: OpenRepo, *, full: bool) -> WireOpen:
    repo, who = found.repo, call.principal
    answer = WireOpen(
        repo_bucket=None if repo.bucket is None else bucket_for(call, repo.bucket, repo.org),
        repo_prefix=repo.prefix,
        repo_credentials=await repo_credentials(call, repo),
        virtual_chunk_credentials=await virtual_credentials(call, repo, found.virtual_buckets),
        author=WireAuthor(name=who.name or who.email, email=who.email),
        principal_id=who.id,
        status=repo.status,
    )
    if is_signed(call, repo):
        answer.repo_access = "signed"
    if full:
        answer.repo = repo_for(call, repo)
        answer.virtual_buckets = {
            nickname: bucket_for(call, bucket, repo.org) for nickname, bucket in found.virtual_buckets.items()
        }
    return answer


async def modify_repo(call: Call) -> WireRepo:
    body = call.read(ChangedRepoBody)
    if body.status is not None or body.visibility is not None:
        call.require(Role.Admin, "change the mode or the visibility of a repo")
    if body.virtual_chunk_containers:
        _require_use_of_buckets(call)
    changed = await call.catalog.modify_repo(
        call.path["org"],
        call.path["repo"],
        description=body.description,
        add_metadata=body.add_metadata,
        remove_metadata=body.remove_metadata,
        update_metadata=body.update_metadata,
        virtual_chunk_containers=body.virtual_chunk_containers,
        status=None if body.status is None else _status(call, body.status),
        visibility=body.visibility,
        optimization_config=body.optimization_config,
    )
    told = [f"mode {changed.status.mode}"] if body.status else []
    if body.visibility:
        told.append("private" if changed.visibility == "PRIVATE" else "public")
    if told:
        call.target += f": {', '.join(told)}"
    call.announce("repo.modified", changed)
    return repo_for(call, changed)


def _require_use_of_buckets(call: Call) -> None:
    """Let nobody reach, through a container of one repo, bucket configs that a role in the organization is needed for (P20)."""
    if not may_use_bucket(call, call.org):
        raise PermissionDeniedError(
            "to grant virtual chunks you need a role in the organization that may have its buckets' keys: ask one of its admins"
        )


async def set_status(call: Call) -> WireRepo:
    changed = await call.catalog.modify_repo(call.path["org"], call.path["repo"], status=_status(call, call.read(StatusBody)))
    call.target += f": mode {changed.status.mode}"
    call.announce("repo.modified", changed)
    return repo_for(call, changed)


def _status(call: Call, body: StatusBody) -> RepoStatus:
    return RepoStatus(
        mode=body.mode, message=body.message, initiated_by={"principal_id": call.principal.id, "email": call.principal.email}
    )


async def get_containers(call: Call) -> dict[str, str]:
    return (await call.get_repo()).virtual_chunk_containers


async def change_containers(call: Call) -> dict[str, str]:
    body = call.read(ContainersBody)
    if both := body.add.keys() & set(body.remove):
        raise InvalidOptionError(f"can't add and remove the container {min(both)!r} in one call: ask for one of the two")
    _require_use_of_buckets(call)
    change: Mapping[str, str | None] = {**body.add, **dict.fromkeys(body.remove)}
    for nickname in {*body.add.values()}:
        await call.catalog.get_bucket(call.org, nickname)
    changed = await call.catalog.modify_repo(call.path["org"], call.path["repo"], virtual_chunk_containers=change)
    call.announce("repo.modified", changed)
    return changed.virtual_chunk_containers


_CONTAINERS = "/repos/icechunk/{org}/{repo}/virtual-chunk-containers"
ROUTES = (
    # First, for the router looks through them in turn, and this one is asked most.
    Route(
        "GET",
        "/repos/{org}/{repo}/open",
        Need.RepoRead,
        open_repo,
        "Give all that opening a repo needs.",
        query=OpenQuery,
        answer=WireOpen,
    ),
    Route(
        "GET", "/orgs/{org}/repos/paginated", Need.OrgMember, list_repos, "List repos.", query=ListQuery, answer=Page[WireRepo]
    ),
    Route("GET", "/repos/{org}/{repo}", Need.RepoRead, get_repo, "Show a repo.", answer=WireRepo),
    Route(
        "PATCH",
        "/orgs/{org}/{repo}",
        Need.RepoWrite,
        modify_repo,
        "Change a repo's record.",
        body=ChangedRepoBody,
        answer=WireRepo,
        changes=True,
    ),
    Route(
        "PUT",
        "/orgs/{org}/{repo}/status",
        Need.RepoAdmin,
        set_status,
        "Change a repo's mode.",
        body=StatusBody,
        answer=WireRepo,
        changes=True,
    ),
    Route(
        "GET",
        _CONTAINERS,
        Need.RepoRead,
        get_containers,
        "Show the virtual chunk containers.",
        answer=cast("object", dict[str, str]),
    ),
    Route(
        "PATCH",
        _CONTAINERS,
        Need.RepoAdmin,
        change_containers,
        "Change the virtual chunk containers.",
        body=ContainersBody,
        answer=cast("object", dict[str, str]),
        changes=True,
    ),
)
