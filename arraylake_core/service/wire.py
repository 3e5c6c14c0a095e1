"""What answers look like: the catalog's models, without what must not leave, in the shapes that the official client reads."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from arraylake_core.backends.credentials import Credentials
from arraylake_core.models import BucketResponse, ExtraConfig, OrgModel, Page, RepoModel, RepoStatus, Scalar
from arraylake_core.people import Principal, Role
from arraylake_core.secret import Secret, reveal
from arraylake_core.service.credentials import may_use_bucket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arraylake_core.service.call import Call

__all__ = [
    "WireBucket",
    "WireOpen",
    "WireOrg",
    "WireRepo",
    "WireUser",
    "bucket_for",
    "credentials_for",
    "is_our_client",
    "org_for",
    "page_for",
    "principal_for",
    "repo_for",
]

NOBODY_ID = "00000000-0000-0000-0000-000000000000"
# Clients want a number: the first second of the year 3000.
NEVER = 32_503_680_000
EXPECTED = frozenset({"aws_session_token", "sas_token", "expiration"})
OUR_CLIENT = "arraylake-core"
# What the official client can read.
KNOWN_PLATFORMS = frozenset({"s3", "s3-compatible", "minio", "gs", "azure"})
KNOWN_METHODS = frozenset(
    {
        "anonymous",
        "hmac",
        "aws_customer_managed_role",
        "customer_managed_role",
        "gcp_customer_managed_role",
        "r2_customer_managed_role",
        "azure_credential_delegation",
        "bucket_policy",
    }
)
ORG_ACTIONS: dict[Role | None, list[str]] = {
    None: [],
    Role.Reader: ["CAN_READ_REPOS"],
    Role.Writer: ["CAN_READ_REPOS", "CAN_WRITE_REPOS"],
    Role.Admin: ["CAN_READ_REPOS", "CAN_WRITE_REPOS", "CAN_MANAGE_USERS"],
}
REPO_ACTIONS: dict[Role | None, list[str]] = {
    None: [],
    Role.Reader: ["CAN_READ"],
    Role.Writer: ["CAN_READ", "CAN_WRITE"],
    Role.Admin: ["CAN_READ", "CAN_WRITE", "CAN_MANAGE_USERS"],
}


class WireUser(msgspec.Struct, kw_only=True):
    """Who the caller is: a person has names, an API token has a client_id."""

    id: str
    email: str
    first_name: str | msgspec.UnsetType = msgspec.UNSET
    family_name: str | msgspec.UnsetType = msgspec.UNSET
    client_id: str | msgspec.UnsetType = msgspec.UNSET
    expiration: int | msgspec.UnsetType = msgspec.UNSET


class WireOrg(msgspec.Struct, kw_only=True):
    """An organization, with what the caller may do in it."""

    id: str
    name: str
    display_name: str
    description: str | None
    created: datetime
    created_by: str
    status: str
    permissions: list[str]


class WireBucket(msgspec.Struct, kw_only=True):
    """A bucket config; secrets of its auth_config only for those who may use the bucket."""

    id: str
    nickname: str
    platform: str
    name: str
    prefix: str
    extra_config: ExtraConfig
    em_managed: bool
    created: datetime
    updated: datetime
    created_by: str
    is_default: bool
    auth_config: dict[str, str | bool | int]
    secret_fields: list[str]
    health: str | None


class WireRepo(msgspec.Struct, kw_only=True):
    """A repo."""

    id: str = msgspec.field(name="_id")
    org: str
    name: str
    kind: str
    bucket: WireBucket | None
    prefix: str
    description: str | None
    metadata: dict[str, Scalar | list[Scalar]]
    created: datetime
    updated: datetime
    created_by: str
    visibility: str
    subscription: None = None
    status: RepoStatus
    optimization_config: dict[str, Scalar]
    permissions: list[dict[str, str | list[str]]]
    virtual_chunk_containers: dict[str, str]
    deleted_at: datetime | None
    deleted_by: str | None
    retain_data: bool


class WireAuthor(msgspec.Struct, kw_only=True):
    """Whom commits are by."""

    name: str
    email: str


class WireOpen(msgspec.Struct, kw_only=True, omit_defaults=True):
    """All that opening a repo needs; with the access "signed", there are no credentials: the route ``sign`` signs each request."""

    repo_bucket: WireBucket | None
    repo_prefix: str
    repo_credentials: dict[str, Any] | None
    virtual_chunk_credentials: dict[str, dict[str, Any] | None]
    author: WireAuthor
    principal_id: str
    status: RepoStatus
    repo_access: Literal["signed"] | msgspec.UnsetType = msgspec.UNSET
    repo: WireRepo | msgspec.UnsetType = msgspec.UNSET
    virtual_buckets: dict[str, WireBucket] | msgspec.UnsetType = msgspec.UNSET


def is_our_client(call: "Call") -> bool:
    """Tell whether the caller is this project's own client, which knows platforms that the official one does not."""
    return call.headers.get("client-name") == OUR_CLIENT


def principal_for(principal: Principal) -> WireUser:
    """Return who the caller is."""
    if principal.is_token:
        end = int(principal.expiration.timestamp()) if principal.expiration else NEVER
        return WireUser(id=principal.id, email=principal.email, client_id=principal.id, expiration=end)
    first_name = principal.first_name or principal.email.partition("@")[0]
    return WireUser(id=principal.id, email=principal.email, first_name=first_name, family_name=principal.family_name)


def org_for(principal: Principal, org: OrgModel) -> WireOrg:
    """Return an organization as the caller sees it."""
    return WireOrg(
        id=org.id,
        name=org.name,
        display_name=org.display_name or org.name,
        description=org.description,
        created=org.created,
        created_by=org.created_by or NOBODY_ID,
        status=org.status,
        permissions=ORG_ACTIONS[principal.role_in(org.name)],
    )


def bucket_for(call: "Call", bucket: BucketResponse, org: str) -> WireBucket:
    """Return a bucket config as the caller may see it."""
    hidden = {name for name, value in bucket.auth_config.items() if isinstance(value, Secret)}
    shown = hidden if hidden and may_use_bucket(call, org) and call.services.vendor.is_open_handed(bucket) else set()
    auth = {
        name: cast("str | bool | int", reveal(value) if isinstance(value, Secret) else value)
        for name, value in bucket.auth_config.items()
    }
    return WireBucket(
        id=bucket.id,
        nickname=bucket.nickname,
        platform=bucket.platform,
        name=bucket.name,
        prefix=bucket.prefix,
        extra_config=bucket.extra_config,
        em_managed=False,
        created=bucket.created,
        updated=bucket.updated,
        created_by=bucket.created_by or "",
        is_default=bucket.is_default,
        auth_config={name: value for name, value in auth.items() if name not in hidden or name in shown},
        secret_fields=sorted(shown),
        health=bucket.health,
    )


def is_readable(call: "Call", bucket: BucketResponse) -> bool:
    """Tell whether the caller's client can read a bucket config at all."""
    known = bucket.platform in KNOWN_PLATFORMS and bucket.auth_config.get("method", "anonymous") in KNOWN_METHODS
    return known or is_our_client(call)


def repo_for(call: "Call", repo: RepoModel) -> WireRepo:
    """Return a repo as the caller may see it."""
    bucket = repo.bucket
    role = call.principal.role_on(repo.org, repo.id, public=repo.visibility != "PRIVATE")
    return WireRepo(
        id=repo.id,
        org=repo.org,
        name=repo.name,
        kind=repo.kind,
        bucket=bucket_for(call, bucket, repo.org) if bucket is not None and is_readable(call, bucket) else None,
        prefix=repo.prefix,
        description=repo.description,
        metadata=repo.metadata,
        created=repo.created,
        updated=repo.updated,
        created_by=repo.created_by or NOBODY_ID,
        visibility=repo.visibility,
        status=repo.status,
        optimization_config=repo.optimization_config,
        permissions=[{"principal_id": call.principal.id, "actions": REPO_ACTIONS[role]}],
        virtual_chunk_containers=repo.virtual_chunk_containers,
        deleted_at=repo.deleted_at,
        deleted_by=repo.deleted_by,
        retain_data=repo.retain_data,
    )


def page_for(call: "Call", page: Page[RepoModel]) -> Page[WireRepo]:
    """Return a page of repos as the caller may see them."""
    items = [repo_for(call, repo) for repo in page.items]
    return Page(items=items, total=page.total, page=page.page, size=page.size, pages=page.pages)


def credentials_for(credentials: Credentials, *, tagged: bool = False) -> dict[str, object]:
    """Return credentials with their secrets in the clear, for whoever was found to be allowed to have them.

    Parameters
    ----------
    credentials
        The credentials.
    tagged
        Whether ``type`` says which kind they are, for our own client.
    """
    fields: Mapping[str, object] = msgspec.structs.asdict(credentials)
    plain = {name: reveal(value) if isinstance(value, Secret) else value for name, value in fields.items()}
    tag = {"type": type(credentials).__struct_config__.tag} if tagged else {}
    # Clients want these three, null where there is none.
    return {**tag, **{name: value for name, value in plain.items() if value is not None or name in EXPECTED}}
