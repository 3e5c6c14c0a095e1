"""Bucket configs."""

from collections.abc import Mapping

import msgspec

from arraylake_core.backends.storage import StoragePlatform
from arraylake_core.catalog.request import checked_auth, place_of
from arraylake_core.errors import InvalidOptionError
from arraylake_core.models import AuthConfig, BucketResponse
from arraylake_core.names import shown
from arraylake_core.service.call import Call
from arraylake_core.service.netguard import ensure_public
from arraylake_core.service.table import Answer, Need, Route
from arraylake_core.service.wire import WireBucket, WireRepo, bucket_for, is_our_client, is_readable, repo_for

__all__ = ["ROUTES", "found_bucket"]


class NewBucketBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    nickname: str
    platform: str
    name: str
    prefix: str | None = None
    extra_config: dict[str, str | bool | int | None] | None = None
    auth_config: dict[str, str | bool | int | None] | None = None
    em_managed: bool = False


class ChangedBucketBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    nickname: str | None = None
    platform: str | None = None
    name: str | None = None
    prefix: str | None = None
    extra_config: dict[str, str | bool | int | None] | None = None
    auth_config: dict[str, str | bool | int | None] | None = None
    em_managed: bool | None = None


class DeleteBucketQuery(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Whether deleted repos in it, which could still be restored, are forgotten with it; their bytes stay."""

    forget_deleted: bool = False


async def list_buckets(call: Call) -> list[WireBucket]:
    buckets = await call.catalog.list_buckets(call.org)
    return [bucket_for(call, bucket, call.org) for bucket in buckets if is_readable(call, bucket)]


async def get_bucket(call: Call) -> WireBucket:
    return bucket_for(call, await found_bucket(call), call.org)


async def get_bucket_by_id(call: Call) -> WireBucket:
    return bucket_for(call, await call.catalog.get_bucket_by_id(call.path["bucket_id"]), call.org)


async def get_default_bucket(call: Call) -> WireBucket:
    return bucket_for(call, await call.catalog.get_bucket(call.org, None), call.org)


async def create_bucket(call: Call) -> Answer:
    body = call.read(NewBucketBody)
    if body.em_managed:
        raise InvalidOptionError("this service manages no buckets of its own: give a bucket of yours, with em_managed false")
    platform = _platform(call, body.platform)
    extra = _given(body.extra_config)
    place = place_of(
        platform,
        nickname=body.nickname,
        name=body.name,
        prefix=body.prefix or "",
        extra_config=extra,
        auth_config=_given(body.auth_config),
    )
    auth = _checked_auth(call, platform, body.auth_config)
    call.target = f"{call.org}: {body.nickname}"
    made = await call.catalog.create_bucket(call.org, msgspec.structs.replace(place, auth_config=auth))
    return Answer(bucket_for(call, made, call.org), 201)


async def modify_bucket(call: Call) -> WireBucket:
    body, before = call.read(ChangedBucketBody), await found_bucket(call)
    call.target = f"{call.org}: {before.nickname}"
    moved = any(value is not None for value in (body.platform, body.name, body.prefix, body.extra_config))
    platform = body.platform or before.platform
    place = None
    if moved:
        extra = _given(body.extra_config) if body.extra_config is not None else before.extra_config
        prefix = before.prefix if body.prefix is None else body.prefix
        name = body.name or before.name
        place = place_of(_platform(call, platform), nickname=before.nickname, name=name, prefix=prefix, extra_config=extra)
    auth = None if body.auth_config is None else _checked_auth(call, _platform(call, platform), body.auth_config)
    if auth is None and platform != before.platform:
        # The way in that it has must do for where it moves to.
        checked_auth(call.services.registry, _platform(call, platform), before.auth_config)
    renamed = body.nickname if body.nickname != before.nickname else None
    changed = await call.catalog.modify_bucket(call.org, before.nickname, new_nickname=renamed, auth_config=auth, place=place)
    return bucket_for(call, changed, call.org)


async def delete_bucket(call: Call) -> None:
    """Remove a bucket config. The official client knows no way to purge deleted repos, which would keep it from removing one that it has used."""
    bucket = await found_bucket(call)
    call.target = f"{call.org}: {bucket.nickname}"
    if call.asked(DeleteBucketQuery).forget_deleted or not is_our_client(call):
        await call.catalog.forget_deleted_repos(bucket.id)
    await call.catalog.delete_bucket(call.org, bucket.nickname)


async def set_default_bucket(call: Call) -> WireBucket:
    bucket = await found_bucket(call)
    call.target = f"{call.org}: {bucket.nickname}"
    await call.catalog.set_default_bucket(call.org, bucket.nickname)
    return bucket_for(call, await call.catalog.get_bucket_by_id(bucket.id), call.org)


async def list_repos_of_bucket(call: Call) -> list[WireRepo]:
    bucket, found, number, pages = await found_bucket(call), [], 1, 1
    while number <= pages:
        page = await call.catalog.list_repos(call.org, bucket=bucket.nickname, page=number, size=100)
        found += [repo_for(call, repo) for repo in page.items]
        number, pages = number + 1, page.pages
    return found


async def found_bucket(call: Call) -> BucketResponse:
    """Return the bucket config of the path, which names it by id or by nickname."""
    named = call.path["bucket"]
    for bucket in await call.catalog.list_buckets(call.org):
        if named in (bucket.id, bucket.nickname):
            return bucket
    return await call.catalog.get_bucket(call.org, named)


def _platform(call: Call, name: str) -> StoragePlatform:
    return call.services.registry.storage_platform(name)


def _given(values: Mapping[str, str | bool | int | None] | None) -> dict[str, object]:
    """Leave out what is null: clients send it for what they leave alone."""
    return {name: value for name, value in (values or {}).items() if value is not None}


def _checked_auth(call: Call, platform: StoragePlatform, given: Mapping[str, str | bool | int | None] | None) -> AuthConfig:
    """Check an auth_config; one whose method reads files of the machine is not for a service."""
    auth = checked_auth(call.services.registry, platform, _given(given) or None)
    method = str(auth["method"])
    if call.services.registry.auth_method(method).local:
        raise InvalidOptionError(
            f"the auth method {method!r} reads a file of the machine that opens the bucket, which a service never does: take a method with a role"
        )
    return auth


async def check_endpoints(call: Call) -> None:
    """Refuse endpoints in the service's own network, which it may have to reach itself for credentials (P16)."""
    body = call.body
    if not isinstance(body, NewBucketBody | ChangedBucketBody):
        return
    allowed = (*call.services.settings.allow_networks, *call.services.settings.allow_endpoints)
    for key, value in (_given(body.extra_config) | _given(body.auth_config)).items():
        if isinstance(value, str) and ("endpoint" in key or ("://" in value and key in (body.extra_config or {}))):
            await ensure_public(value, allowed, what=shown(key), http=True)


_BUCKETS, _BUCKET = "/orgs/{org}/buckets", "/orgs/{org}/buckets/{bucket}"
ROUTES = (
    Route("GET", _BUCKETS, Need.OrgRead, list_buckets, "List the bucket configs.", answer=list[WireBucket]),
    Route(
        "POST",
        _BUCKETS,
        Need.OrgAdmin,
        create_bucket,
        "Add a bucket config.",
        body=NewBucketBody,
        check=check_endpoints,
        answer=WireBucket,
        status=201,
        changes=True,
    ),
    Route("GET", _BUCKET, Need.OrgRead, get_bucket, "Show a bucket config, by id or nickname.", answer=WireBucket),
    Route(
        "PATCH",
        _BUCKET,
        Need.OrgAdmin,
        modify_bucket,
        "Change a bucket config.",
        body=ChangedBucketBody,
        check=check_endpoints,
        answer=WireBucket,
        changes=True,
    ),
    Route(
        "DELETE",
        _BUCKET,
        Need.OrgAdmin,
        delete_bucket,
        "Remove a bucket config that no repo uses.",
        query=DeleteBucketQuery,
        status=204,
        changes=True,
    ),
    Route(
        "POST",
        "/orgs/{org}/buckets/{bucket}/default",
        Need.OrgAdmin,
        set_default_bucket,
        "Make a bucket config the default.",
        body=bytes,
        answer=WireBucket,
        changes=True,
    ),
    Route(
        "GET",
        "/orgs/{org}/buckets/{bucket}/repos",
        Need.OrgRead,
        list_repos_of_bucket,
        "List the repos of a bucket config.",
        answer=list[WireRepo],
    ),
    Route(
        "GET",
        "/orgs/{org}/default-bucket",
        Need.OrgRead,
        get_default_bucket,
        "Show the default bucket config.",
        answer=WireBucket,
    ),
    Route(
        "GET", "/buckets/{bucket_id}", Need.OrgRead, get_bucket_by_id, "Show a bucket config by its id alone.", answer=WireBucket
    ),
)
