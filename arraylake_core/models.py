"""What travels on the wire and what users get back, as msgspec Structs."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Literal, cast

import msgspec

from arraylake_core.display import TextPrinter, harmless, html_record, html_table, one_line, rich_record, rich_table, text_table
from arraylake_core.errors import InvalidOptionError
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "AuthConfig",
    "Author",
    "BucketConfigList",
    "BucketResponse",
    "CommitInfo",
    "CommitLog",
    "ExtraConfig",
    "Identity",
    "OrgModel",
    "Page",
    "ProbeReport",
    "RepairAction",
    "RepoKind",
    "RepoList",
    "RepoMetadata",
    "RepoMode",
    "RepoModel",
    "RepoStatus",
    "Scalar",
    "SessionStatus",
    "as_utc",
    "encode_json",
    "utc_now",
    "validate_description",
    "validate_metadata",
]

type Scalar = str | int | float | bool | None
type RepoMetadata = Mapping[str, Scalar | Sequence[Scalar]]
type ExtraConfig = dict[str, str | bool]
type AuthConfig = dict[str, str | bool | int | Secret]
"""``method`` and the options of that auth method; the secret ones are Secrets."""

MAX_DESCRIPTION = 255
MAX_METADATA_BYTES = 4096


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)


def as_utc(time: datetime) -> datetime:
    """Return a time in UTC; one without a zone is taken for UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


class RepoKind(StrEnum):
    """The repo kinds that the Arraylake API names; the string name of any installed kind is taken wherever this is."""

    V1 = "v1"
    Icechunk = "icechunk"


class RepoMode(StrEnum):
    """What may be done with a repo now."""

    Online = "online"
    Maintenance = "maintenance"
    Offline = "offline"


class Author(msgspec.Struct, frozen=True):
    """Who a commit is by.

    Parameters
    ----------
    name
        As it is shown in logs.
    email
        May be empty.
    """

    name: str
    email: str = ""

    def __str__(self) -> str:
        return f"{self.name} <{self.email}>" if self.email else self.name


class Identity(msgspec.Struct, frozen=True):
    """Who asks: what an auth method may exchange for storage credentials.

    Parameters
    ----------
    principal
        The id of the user or API token; empty on the embedded catalog, where there is one user.
    token
        The bearer token of the request, for methods that exchange it.
    """

    principal: str = ""
    token: Secret | None = None


class OrgModel(msgspec.Struct, kw_only=True):
    """An organization: what holds repos and bucket configs together."""

    id: str
    name: str
    display_name: str = ""
    description: str | None = None
    created: datetime = msgspec.field(default_factory=utc_now)
    created_by: str | None = None
    status: str = "active"
    permissions: list[str] = msgspec.field(default_factory=list)


class BucketResponse(msgspec.Struct, kw_only=True):
    """A bucket config: where repos of an organization keep their bytes, and how to get in.

    Secrets in ``auth_config`` are Secrets: they print as stars, and encode so too.
    """

    id: str
    nickname: str
    platform: str
    name: str
    prefix: str = ""
    extra_config: ExtraConfig = msgspec.field(default_factory=dict)
    auth_config: AuthConfig = msgspec.field(default_factory=dict)
    em_managed: bool = False
    is_default: bool = False
    created: datetime = msgspec.field(default_factory=utc_now)
    updated: datetime = msgspec.field(default_factory=utc_now)
    created_by: str | None = None
    health: str | None = None

    @property
    def uri(self) -> str:
        """The bucket's URI, ``platform://name[/prefix]``."""
        return f"{self.platform}://{self.name}" + (f"/{self.prefix}" if self.prefix else "")

    def _rows(self) -> dict[str, str]:
        # Of the auth_config the method alone: nobody needs to look at keys, masked or not.
        shown = {"uri": self.uri, "auth": str(self.auth_config.get("method", "anonymous"))}
        return (
            shown | {key: str(value) for key, value in self.extra_config.items()} | {"default": "yes" if self.is_default else ""}
        )

    def __rich__(self) -> "Table":
        return rich_record(self.nickname, self._rows())

    def _repr_html_(self) -> str:
        return html_record(self.nickname, self._rows())


class RepoStatus(msgspec.Struct, kw_only=True):
    """The mode that a repo is in, and why."""

    mode: RepoMode = RepoMode.Online
    message: str | None = None
    initiated_by: dict[str, str | None] = msgspec.field(default_factory=dict)
    is_user_modifiable: bool = True
    estimated_end_time: datetime | None = None


class RepoModel(msgspec.Struct, kw_only=True):
    """The catalog's record of a repo."""

    id: str = msgspec.field(name="_id")
    org: str
    name: str
    kind: str
    bucket: BucketResponse | None = None
    prefix: str = ""
    description: str | None = None
    metadata: dict[str, Scalar | list[Scalar]] = msgspec.field(default_factory=dict)
    created: datetime = msgspec.field(default_factory=utc_now)
    updated: datetime = msgspec.field(default_factory=utc_now)
    created_by: str | None = None
    visibility: str = "PRIVATE"
    subscription: None = None
    status: RepoStatus = msgspec.field(default_factory=RepoStatus)
    optimization_config: dict[str, Scalar] = msgspec.field(default_factory=dict)
    permissions: list[dict[str, str | list[str]]] = msgspec.field(default_factory=list)
    virtual_chunk_containers: dict[str, str] = msgspec.field(default_factory=dict)
    deleted_at: datetime | None = None
    deleted_by: str | None = None
    retain_data: bool = False

    @property
    def may_write(self) -> bool:
        """Whether the caller may write to it: a service says so in its record; the embedded catalog says nothing, and lets everybody."""
        return not self.permissions or any("CAN_WRITE" in permission["actions"] for permission in self.permissions)

    @property
    def full_name(self) -> str:
        """The name with the organization, ``org/repo``."""
        return f"{self.org}/{self.name}"

    def _rows(self) -> dict[str, str]:
        return {
            "kind": self.kind,
            "bucket": self.bucket.nickname if self.bucket else "",
            "prefix": self.prefix,
            "description": self.description or "",
            "created": f"{self.created:%Y-%m-%d %H:%M}",
            **{key: str(value) for key, value in self.metadata.items()},
        }

    def __rich__(self) -> "Table":
        return rich_record(self.full_name, self._rows())

    def _repr_html_(self) -> str:
        return html_record(self.full_name, self._rows())


class RepoList(list[RepoModel]):
    """Repos, as a list that shows itself as a table in terminals and notebooks."""

    def __rich__(self) -> "Table":
        return rich_table(_REPO_COLUMNS, map(_repo_row, self))

    def _repr_html_(self) -> str:
        return html_table(_REPO_COLUMNS, map(_repo_row, self))

    def _repr_pretty_(self, printer: TextPrinter, cycle: bool) -> None:
        printer.text(text_table(_REPO_COLUMNS, map(_repo_row, self)))


class BucketConfigList(list[BucketResponse]):
    """Bucket configs, as a list that shows itself as a table in terminals and notebooks; without secrets."""

    def __rich__(self) -> "Table":
        return rich_table(_BUCKET_COLUMNS, map(_bucket_row, self))

    def _repr_html_(self) -> str:
        return html_table(_BUCKET_COLUMNS, map(_bucket_row, self))

    def _repr_pretty_(self, printer: TextPrinter, cycle: bool) -> None:
        printer.text(text_table(_BUCKET_COLUMNS, map(_bucket_row, self)))


_REPO_COLUMNS = ("repo", "kind", "bucket", "updated", "description")
_BUCKET_COLUMNS = ("nickname", "uri", "auth", "default")


def _repo_row(repo: RepoModel) -> tuple[str, ...]:
    nickname = repo.bucket.nickname if repo.bucket else ""
    return repo.full_name, repo.kind, nickname, f"{repo.updated:%Y-%m-%d %H:%M}", repo.description or ""


def _bucket_row(bucket: BucketResponse) -> tuple[str, ...]:
    method = bucket.auth_config.get("method", "anonymous")
    return bucket.nickname, bucket.uri, str(method), "yes" if bucket.is_default else ""


class Page[T](msgspec.Struct, kw_only=True):
    """One page of a listing.

    Parameters
    ----------
    items
        What is on it.
    total
        How many there are on all pages.
    page
        Its number, from 1.
    size
        How many fit on a page, 1 to 100.
    pages
        How many pages there are.
    """

    items: list[T]
    total: int
    page: int
    size: int
    pages: int


class CommitInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One commit of a repo."""

    id: str
    parent: str | None
    message: str
    time: datetime
    author: Author | None = None
    metadata: dict[str, object] = msgspec.field(default_factory=dict)


class CommitLog(list[CommitInfo]):
    """Commits, newest first."""

    def __str__(self) -> str:
        return "\n".join(
            harmless(
                f"{commit.id}  {commit.time:%Y-%m-%d %H:%M:%S}  {commit.author.name + '  ' if commit.author else ''}{commit.message}"
            )
            for commit in self
        )

    def __rich__(self) -> "Table":
        return rich_table(_COMMIT_COLUMNS, map(_commit_row, self))

    def _repr_html_(self) -> str:
        return html_table(_COMMIT_COLUMNS, map(_commit_row, self))


_COMMIT_COLUMNS = ("commit", "time", "author", "message")


def _commit_row(commit: CommitInfo) -> tuple[str, ...]:
    author = str(commit.author) if commit.author else ""
    return commit.id, f"{commit.time:%Y-%m-%d %H:%M:%S}", author, commit.message


class SessionStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What has changed in a checkout since its base commit."""

    repo: str
    branch: str | None
    base: str
    session_id: str | None = None
    modified: dict[str, str] = msgspec.field(default_factory=dict)
    """Each changed path, with what was done to it: added, deleted, metadata, or the number of chunks written."""

    def __str__(self) -> str:
        head = f"{self.repo}: on branch {self.branch}" if self.branch else f"{self.repo}: at {self.base} (read-only)"
        if not self.modified:
            return f"{head}, nothing changed since {self.base}"
        width = max(len(what) for what in self.modified.values())
        return "\n".join([head, *(f"  {what:<{width}}  {one_line(path)}" for path, what in self.modified.items())])


class ProbeReport(msgspec.Struct, kw_only=True):
    """What a probe of a bucket found.

    Parameters
    ----------
    uri
        The bucket that was probed.
    reachable, readable, writable
        What worked; a step that was not reached is False.
    conditional_create, conditional_update
        Whether of many racing conditional writes exactly one won, and its bytes stayed.
    safe_for_concurrent_writes
        Whether several processes may commit to one Icechunk repo in this bucket at the same time.
    problems
        What is wrong, each with the next step.
    notes
        What is worth knowing, but no fault.
    """

    uri: str
    reachable: bool = False
    readable: bool = False
    writable: bool = False
    conditional_create: bool = False
    conditional_update: bool = False
    safe_for_concurrent_writes: bool = False
    problems: list[str] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether repos can be kept there."""
        return self.reachable and self.readable and self.writable


class RepairAction(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a repair did to a repo whose creation or deletion had been interrupted."""

    repo: str
    action: Literal["activated", "dropped", "purged"]
    reason: str


def validate_description(description: str | None) -> str | None:
    """Check the description of a repo: at most 255 characters."""
    if description is not None and (not isinstance(description, str) or len(description) > MAX_DESCRIPTION):
        size = f"{len(description)} characters" if isinstance(description, str) else f"a {type(description).__name__}"
        raise InvalidOptionError(f"a description is text of at most {MAX_DESCRIPTION} characters; this is {size}")
    if description is not None and not _is_unicode(description):
        raise InvalidOptionError("a description is valid Unicode text; this one has half of a surrogate pair in it")
    return description


def validate_metadata(metadata: RepoMetadata | None) -> dict[str, Scalar | list[Scalar]]:
    """Check the metadata of a repo: scalars or lists of scalars, at most 4 kB as JSON.

    Examples
    --------
    >>> validate_metadata({"ocean": "arctic", "levels": [1, 2]})
    {'ocean': 'arctic', 'levels': [1, 2]}
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping) or not all(isinstance(key, str) for key in metadata):
        raise InvalidOptionError("repo metadata is a mapping from strings to scalars or lists of scalars")
    checked: dict[str, Scalar | list[Scalar]] = {}
    for key, value in metadata.items():
        several = isinstance(value, list | tuple)
        items: list[Scalar] = list(value) if isinstance(value, list | tuple) else [cast("Scalar", value)]
        if not all(item is None or isinstance(item, str | int | float | bool) for item in items):
            raise InvalidOptionError(
                f"repo metadata {key!r} must be a string, number, boolean, null, or a list of those, not a {type(value).__name__}"
            )
        if not all(map(_is_json, (key, *items))):
            raise InvalidOptionError(f"repo metadata {key!a} has no form in JSON: NaN, infinity and broken Unicode have none")
        checked[key] = items if several else items[0]
    size = len(msgspec.json.encode(checked))
    if size > MAX_METADATA_BYTES:
        raise InvalidOptionError(
            f"repo metadata may have {MAX_METADATA_BYTES} bytes as JSON, this has {size}: keep large documents in the repo itself"
        )
    return checked


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _is_json(value: Scalar) -> bool:
    return _is_unicode(value) if isinstance(value, str) else not isinstance(value, float) or isfinite(value)


def _encode_secret(value: object) -> object:
    if isinstance(value, Secret):
        return str(value)
    raise TypeError(f"can't encode a {type(value).__name__}")


def encode_json(value: object) -> bytes:
    """Encode Structs and plain data as JSON, every Secret as stars."""
    return msgspec.json.encode(value, enc_hook=_encode_secret)
