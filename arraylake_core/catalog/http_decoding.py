"""From the service's JSON to the catalog's models, with secrets as Secrets."""

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, cast

import msgspec

from arraylake_core.backends.coordination import Ref
from arraylake_core.backends.credentials import (
    AnonymousCredentials,
    AzureCredentials,
    Credentials,
    GCSCredentials,
    PasswordCredentials,
    S3Credentials,
    SignedCredentials,
)
from arraylake_core.backends.signing import RequestSigner
from arraylake_core.catalog.base import OpenRepo, UnfinishedRepo
from arraylake_core.errors import ServiceError
from arraylake_core.models import Author, BucketResponse, OrgModel, Page, RepoModel
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "bucket",
    "buckets",
    "credentials",
    "decoded",
    "opened",
    "org",
    "orgs",
    "page_of_repos",
    "ref",
    "refs",
    "repo",
    "unfinished",
]

_NOBODY = "00000000-0000-0000-0000-000000000000"


def _plain(model: type[msgspec.Struct], **other: object) -> type[msgspec.Struct]:
    """Return a Struct with the fields of a model, some of other types: msgspec decodes no unions with types of our own."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(model):
        kind = other.get(field.name, field.type)
        options: dict[str, Any] = {"name": field.encode_name}
        if field.default is not msgspec.NODEFAULT:
            options["default"] = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            options["default_factory"] = field.default_factory
        fields.append((field.name, kind, msgspec.field(**options)))
    more: list[Any] = [("secret_fields", list[str], msgspec.field(default_factory=list))] if model is BucketResponse else []
    return msgspec.defstruct(f"Wire{model.__name__}", [*fields, *more], kw_only=True)


_Bucket = _plain(BucketResponse, auth_config=dict[str, str | bool | int])
_Repo = _plain(RepoModel, bucket=_Bucket | None)


class _Open(msgspec.Struct):
    repo: _Repo  # type: ignore[valid-type]
    virtual_buckets: dict[str, _Bucket]  # type: ignore[valid-type]
    author: Author | None = None
    repo_credentials: dict[str, str | None] | None = None
    repo_access: str = ""


class _Unfinished(msgspec.Struct):
    repo: _Repo  # type: ignore[valid-type]
    state: Literal["pending", "deleted", "purging"]
    since: datetime
    generated: bool


class _Ref(msgspec.Struct):
    name: str
    value: Any
    version: int


class _Credentials(msgspec.Struct):
    type: str
    storage_account: str | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = None
    aws_session_token: str | None = None
    access_token: str | None = None
    principal: str = ""
    sas_token: str | None = None
    account_key: str | None = None
    bearer_token: str | None = None
    username: str | None = None
    password: str | None = None
    expiration: datetime | None = None


_SECRETS = (
    "aws_secret_access_key",
    "aws_session_token",
    "access_token",
    "sas_token",
    "account_key",
    "bearer_token",
    "password",
)


def decoded[T](body: bytes, kind: type[T]) -> T:
    """Decode an answer; ServiceError where it is not what was asked for."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {str(error)[:200]}" if isinstance(error, msgspec.ValidationError) else "it is no JSON"
    raise ServiceError(f"the service's answer can't be read ({problem}): check that its release and this one go together")


def org(body: bytes) -> OrgModel:
    """Decode an organization."""
    return _org(decoded(body, OrgModel))


def orgs(body: bytes) -> list[OrgModel]:
    """Decode organizations."""
    return [_org(found) for found in decoded(body, list[OrgModel])]


def _org(found: OrgModel) -> OrgModel:
    return msgspec.structs.replace(found, created_by=None if found.created_by == _NOBODY else found.created_by)


def bucket(body: bytes) -> BucketResponse:
    """Decode a bucket config."""
    return _bucket(decoded(body, _Bucket))


def buckets(body: bytes) -> list[BucketResponse]:
    """Decode bucket configs."""
    return [_bucket(found) for found in decoded(body, cast("type[list[msgspec.Struct]]", list[_Bucket]))]  # type: ignore[valid-type]


def repo(body: bytes) -> RepoModel:
    """Decode a repo."""
    return _repo(decoded(body, _Repo))


def page_of_repos(body: bytes) -> Page[RepoModel]:
    """Decode a page of repos."""
    page = decoded(body, cast("type[Page[msgspec.Struct]]", Page[_Repo]))  # type: ignore[valid-type]
    return Page(items=[_repo(found) for found in page.items], total=page.total, page=page.page, size=page.size, pages=page.pages)


def opened(body: bytes, signer: "Callable[[str], RequestSigner]") -> OpenRepo:
    """Decode all that opening a repo needs.

    Parameters
    ----------
    body
        The answer.
    signer
        Returns what signs requests to the repo with an id.
    """
    found = decoded(body, _Open)
    repo = _repo(found.repo)
    vended = None if found.repo_credentials is None else _tagged(found.repo_credentials)
    if found.repo_access == "signed":
        vended = SignedCredentials(signer=signer(repo.id))
    return OpenRepo(
        repo=repo,
        virtual_buckets={name: _bucket(one) for name, one in found.virtual_buckets.items()},
        author=found.author,
        credentials=vended,
    )


def unfinished(body: bytes) -> list[UnfinishedRepo]:
    """Decode what was not finished."""
    return [
        UnfinishedRepo(repo=_repo(found.repo), state=found.state, since=found.since, generated=found.generated)
        for found in decoded(body, list[_Unfinished])
    ]


def ref(body: bytes) -> Ref:
    """Decode a ref."""
    found = decoded(body, _Ref)
    return Ref(name=found.name, value=found.value, version=found.version)


def refs(body: bytes) -> list[Ref]:
    """Decode refs."""
    return [Ref(name=found.name, value=found.value, version=found.version) for found in decoded(body, list[_Ref])]


def credentials(body: bytes, signer: RequestSigner) -> Credentials:
    """Decode credentials, or that there are none and the signer is to be asked."""
    found = decoded(body, _Credentials)
    return SignedCredentials(signer=signer) if found.type == "signed" else _credentials(found)


def _tagged(fields: dict[str, str | None]) -> Credentials | None:
    """Decode credentials that do not say which kind they are, by the field that only one kind has."""
    marks = {"aws_access_key_id": "s3", "access_token": "gcs", "sas_token": "azure", "password": "password"}
    kind = next((kind for mark, kind in marks.items() if fields.get(mark)), None)
    if kind is None:
        return None
    return _credentials(msgspec.convert({**fields, "type": kind}, _Credentials))


def _credentials(found: _Credentials) -> Credentials:
    secrets = {name: Secret(value) for name in _SECRETS if (value := getattr(found, name)) is not None}
    plain: Mapping[str, object] = {name: getattr(found, name) for name in found.__struct_fields__ if name not in _SECRETS}
    kinds: dict[str, type[msgspec.Struct]] = {
        "anonymous": AnonymousCredentials,
        "s3": S3Credentials,
        "gcs": GCSCredentials,
        "azure": AzureCredentials,
        "password": PasswordCredentials,
    }
    if found.type not in kinds:
        raise ServiceError(
            f"the service vends credentials of a kind that this release does not know: {found.type[:40]!r}; upgrade it"
        )
    kind = kinds[found.type]
    fields = {name: value for name, value in {**plain, **secrets}.items() if name in kind.__struct_fields__}
    return cast("Credentials", kind(**fields))


def _bucket(found: msgspec.Struct) -> BucketResponse:
    fields = msgspec.structs.asdict(found)
    hidden = fields.pop("secret_fields")
    auth = {
        name: Secret(value) if name in hidden and isinstance(value, str) else value
        for name, value in fields.pop("auth_config").items()
    }
    return BucketResponse(**{**fields, "auth_config": auth, "created_by": fields["created_by"] or None})


def _repo(found: msgspec.Struct) -> RepoModel:
    fields = msgspec.structs.asdict(found)
    place = fields.pop("bucket")
    created_by = None if fields["created_by"] == _NOBODY else fields["created_by"]
    return RepoModel(**{**fields, "bucket": None if place is None else _bucket(place), "created_by": created_by})
