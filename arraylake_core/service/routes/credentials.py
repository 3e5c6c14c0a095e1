"""Storage credentials: for one repo, or for a whole bucket config."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Literal

import msgspec

from arraylake_core.backends.credentials import Access, AnonymousCredentials, Credentials
from arraylake_core.backends.signing import SignsRequests
from arraylake_core.backends.storage import Location
from arraylake_core.catalog.request import bucket_location, container_location
from arraylake_core.errors import CredentialsError, InvalidNameError, NotFoundError, PermissionDeniedError
from arraylake_core.models import BucketResponse, RepoMode, RepoModel
from arraylake_core.names import shown
from arraylake_core.people import Role
from arraylake_core.service.call import Call
from arraylake_core.service.credentials import may_use_bucket, repo_location
from arraylake_core.service.table import Answer, Need, Route
from arraylake_core.service.wire import credentials_for, is_our_client

__all__ = ["ROUTES", "is_signed", "repo_by_id", "repo_credentials", "require_access", "virtual_credentials"]

_PRIVATE = {"cache-control": "no-store"}


class AccessQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    access: Literal["read", "write"] | None = None


class PlaceQuery(AccessQuery, forbid_unknown_fields=True, kw_only=True):
    """With the URL prefix of one of the repo's virtual chunk containers, whose place the credentials are for instead."""

    virtual: Annotated[str, msgspec.Meta(max_length=2048)] | None = None


async def repo_credentials(call: Call, repo: RepoModel) -> dict[str, object] | None:
    """Return the credentials of a repo for opening it: None where requests need no signature, or each its own, or the repo is offline."""
    if repo.status.mode is RepoMode.Offline or is_signed(call, repo):
        return None
    access: Access = "write" if _may_write(call, repo) else "read"
    return _unsigned(await _for_repo(call, repo, access))


async def virtual_credentials(
    call: Call, repo: RepoModel, buckets: Mapping[str, BucketResponse]
) -> dict[str, dict[str, object] | None]:
    """Return the credentials for each place that the repo's virtual chunks lie in, where the caller may have them."""
    found: dict[str, dict[str, object] | None] = {}
    for url, nickname in repo.virtual_chunk_containers.items():
        bucket = buckets.get(nickname)
        if bucket is None or (call.services.vendor.is_open_handed(bucket) and not may_use_bucket(call, repo.org)):
            continue
        # One that lies outside its bucket config opens nothing; whoever reads there is told so.
        with suppress(InvalidNameError):
            found[url] = _unsigned(await _for_container(call, bucket, url))
    return found


async def get_repo_credentials(call: Call) -> Answer:
    repo = await call.get_repo()
    return Answer(credentials_for(await _asked(call, repo)), 200, _PRIVATE)


async def get_credentials_by_repo_id(call: Call) -> Answer:
    repo = await repo_by_id(call)
    virtual = call.asked(PlaceQuery).virtual
    if virtual is None and is_signed(call, repo):
        require_access(call, repo, _access(call, repo))
        return Answer({"type": "signed"}, 200, _PRIVATE)
    found = await (_asked(call, repo) if virtual is None else _asked_container(call, repo, virtual))
    return Answer(credentials_for(found, tagged=True), 200, _PRIVATE)


async def repo_by_id(call: Call) -> RepoModel:
    """Return the repo of the path. Who may write to it reaches a deleted one too, until its bytes are purged, which needs credentials."""
    may_purge = call.role is not None and call.role.covers(Role.Writer)
    return await call.catalog.get_repo_by_id(call.path["repo_id"], deleted=may_purge)


async def get_bucket_credentials(call: Call) -> Answer:
    from arraylake_core.service.routes.buckets import found_bucket

    return Answer(credentials_for(await _asked_bucket(call, await found_bucket(call))), 200, _PRIVATE)


async def get_credentials_by_bucket_id(call: Call) -> Answer:
    bucket = await call.catalog.get_bucket_by_id(call.path["bucket_id"])
    return Answer(credentials_for(await _asked_bucket(call, bucket), tagged=True), 200, _PRIVATE)


async def _asked(call: Call, repo: RepoModel) -> Credentials:
    """Return what was asked for, or what the caller's role allows; a repo that is not online gives no credentials to write."""
    access = _access(call, repo)
    require_access(call, repo, access)
    return await _for_repo(call, repo, access)


def _access(call: Call, repo: RepoModel) -> Access:
    return call.asked(AccessQuery).access or ("write" if _may_write(call, repo) else "read")


def require_access(call: Call, repo: RepoModel, access: Access) -> None:
    """Raise PermissionDeniedError where the repo's mode or the caller's role does not allow it."""
    if repo.status.mode is RepoMode.Offline or (access == "write" and repo.status.mode is not RepoMode.Online):
        why = f" ({repo.status.message})" if repo.status.message else ""
        raise PermissionDeniedError(
            f"the repo {repo.full_name} is in the mode {repo.status.mode}{why}: wait until it is online again"
        )
    if access == "write":
        call.require(Role.Writer, "write to the repo")


def is_signed(call: Call, repo: RepoModel) -> bool:
    """Tell whether the caller gets its requests signed one by one, instead of keys that open more than it may; other clients than ours can't use that."""
    bucket = repo.bucket
    if bucket is None or may_use_bucket(call, repo.org) or not is_our_client(call):
        return False
    vendor = call.services.vendor
    return vendor.is_open_handed(bucket) and isinstance(vendor.registry.storage_platform(bucket.platform), SignsRequests)


async def _asked_container(call: Call, repo: RepoModel, url: str) -> Credentials:
    if url not in repo.virtual_chunk_containers:
        raise NotFoundError(f"{repo.full_name} has no virtual chunk container {shown(url)}: grant it first")
    if call.asked(PlaceQuery).access == "write":
        raise PermissionDeniedError("virtual chunks are read only: ask for access=read")
    bucket = await call.catalog.get_bucket(repo.org, repo.virtual_chunk_containers[url])
    return await _for_container(call, bucket, url)


async def _asked_bucket(call: Call, bucket: BucketResponse) -> Credentials:
    access: Access = call.asked(AccessQuery).access or "read"
    if access == "write":
        call.require(Role.Writer, "write to the bucket")
    return await _for_bucket(call, bucket, access)


async def _for_repo(call: Call, repo: RepoModel, access: Access) -> Credentials:
    if repo.bucket is None:
        raise CredentialsError(f"{repo.full_name} has no bucket config any more")
    location = repo_location(call.services.registry, repo, repo.bucket)
    may_use = may_use_bucket(call, repo.org)
    return await call.services.vendor.credentials(
        call.principal, call.token, repo.bucket, location, access, may_use=may_use, vended=call.vended
    )


async def _for_bucket(call: Call, bucket: BucketResponse, access: Access) -> Credentials:
    platform = call.services.registry.storage_platform(bucket.platform)
    return await _for_place(call, bucket, bucket_location(platform, bucket), access)


async def _for_container(call: Call, bucket: BucketResponse, url: str) -> Credentials:
    platform = call.services.registry.storage_platform(bucket.platform)
    return await _for_place(call, bucket, container_location(platform, bucket, url), "read")


async def _for_place(call: Call, bucket: BucketResponse, location: Location, access: Access) -> Credentials:
    may_use = may_use_bucket(call, call.org)
    return await call.services.vendor.credentials(
        call.principal, call.token, bucket, location, access, may_use=may_use, vended=call.vended
    )


def _may_write(call: Call, repo: RepoModel) -> bool:
    return repo.status.mode is RepoMode.Online and call.role is not None and call.role.covers(Role.Writer)


def _unsigned(credentials: Credentials) -> dict[str, object] | None:
    return None if isinstance(credentials, AnonymousCredentials) else credentials_for(credentials)


ROUTES = (
    Route(
        "GET",
        "/repos/{org}/{repo}/bucket-credentials",
        Need.RepoRead,
        get_repo_credentials,
        "Give credentials for a repo's place.",
        query=AccessQuery,
        answer=dict[str, Any],
    ),
    Route(
        "GET",
        "/repo-ids/{repo_id}/credentials",
        Need.RepoRead,
        get_credentials_by_repo_id,
        "Give credentials for a repo's place, by its id.",
        query=PlaceQuery,
        answer=dict[str, Any],
    ),
    Route(
        "GET",
        "/orgs/{org}/buckets/{bucket}/credentials",
        Need.OrgRead,
        get_bucket_credentials,
        "Give credentials for a bucket config.",
        query=AccessQuery,
        answer=dict[str, Any],
    ),
    Route(
        "GET",
        "/buckets/{bucket_id}/credentials",
        Need.OrgRead,
        get_credentials_by_bucket_id,
        "Give credentials for a bucket config, by its id.",
        query=AccessQuery,
        answer=dict[str, Any],
    ),
)
