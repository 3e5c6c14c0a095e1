"""The protocol that every catalog speaks: in the process (sql.py), or over HTTP.

A catalog keeps records; it never touches a bucket. Names, descriptions and metadata are checked by the catalog itself, so that no caller gets around the
rules. Every write is one transaction: it happens whole, or not at all.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, Protocol

import msgspec

from arraylake_core.backends.coordination import Coordination
from arraylake_core.backends.credentials import Access, Credentials
from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.catalog.people import People
from arraylake_core.catalog.webhooks import Webhooks
from arraylake_core.errors import InvalidNameError
from arraylake_core.models import (
    AuthConfig,
    Author,
    BucketResponse,
    ExtraConfig,
    OrgModel,
    Page,
    RepoMetadata,
    RepoModel,
    RepoStatus,
    Scalar,
)
from arraylake_core.names import shown

__all__ = ["Catalog", "NewBucket", "NewRepo", "OpenRepo", "UnfinishedRepo"]


class NewBucket(msgspec.Struct, frozen=True, kw_only=True):
    """What a new bucket config says; checked against its platform and auth method by request.py before it gets here.

    Parameters
    ----------
    identity
        Where it really is. No two bucket configs of an organization have the same.
    """

    nickname: str
    platform: str
    name: str
    prefix: str
    extra_config: ExtraConfig
    auth_config: AuthConfig
    identity: StorageIdentity


class NewRepo(msgspec.Struct, frozen=True, kw_only=True):
    """What a new repo's record says.

    Parameters
    ----------
    bucket_id
        The bucket config.
    prefix
        The whole key prefix in the bucket.
    generated
        Whether the repo's own part of the prefix was generated, so that whatever is there is the repo's.
    identity
        Where the repo really is. No two live repos overlap: neither has the other's path, or one above or below it.
    """

    name: str
    kind: str
    bucket_id: str
    prefix: str
    generated: bool
    identity: StorageIdentity
    description: str | None = None
    metadata: Mapping[str, Scalar | Sequence[Scalar]] = msgspec.field(default_factory=dict)
    virtual_chunk_containers: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse a path with more than one spelling: two repos could be in the same place without anybody seeing it (P14)."""
        path = self.identity.path
        if path and any(part in ("", ".", "..") for part in path.split("/")):
            raise InvalidNameError(f"{shown(path)} is no normal path: no part of it may be empty, '.' or '..'")


class OpenRepo(msgspec.Struct, frozen=True, kw_only=True):
    """All that opening a repo needs, in one answer.

    Parameters
    ----------
    repo
        The record; its ``bucket`` carries the secrets of its auth_config.
    virtual_buckets
        The bucket configs that the repo's virtual chunk containers name, by nickname; those that no longer exist are left out.
    author
        Whom a service takes the caller for.
    credentials
        Those for the repo's place, where a service sent them along.
    """

    repo: RepoModel
    virtual_buckets: dict[str, BucketResponse]
    author: Author | None = None
    credentials: Credentials | None = None


class UnfinishedRepo(msgspec.Struct, frozen=True, kw_only=True):
    """A repo whose creation or deletion began and has not ended, or whose time for restoring it is over.

    Parameters
    ----------
    state
        ``pending``: the record came first, the bytes may or may not be there. ``deleted``: it can be restored. ``purging``: its bytes are going, unless
        ``repo.retain_data``.
    since
        When that state began.
    generated
        Whether whatever is at the prefix is the repo's.
    """

    repo: RepoModel
    state: Literal["pending", "deleted", "purging"]
    since: datetime
    generated: bool


class Catalog(People, Webhooks, Protocol):
    """Organizations, people, bucket configs, repos, refs and journals.

    Errors are those of arraylake_core.errors: NotFoundErrors, AlreadyExistsError, InUseError, InvalidNameError, InvalidOptionError, CatalogError.
    """

    @property
    def uri(self) -> str:
        """Where the catalog is; ``catalog_from_uri`` opens the same one in another process. It carries no secret."""
        ...

    @property
    def handle(self) -> str:
        """The URI, and for a service which token of this process to take: what pickles carry. It is no secret either."""
        ...

    async def mint(self, bucket_id: str, repo_id: str, access: Access, virtual: str = "") -> Credentials | None:
        """Have credentials minted by the catalog; None where the process mints them itself, from the bucket config.

        Parameters
        ----------
        bucket_id
            The bucket config.
        repo_id
            The repo whose place they are for; "" is the whole bucket config.
        access
            To read, or to write too.
        virtual
            The URL prefix of one of the repo's virtual chunk containers, whose place they are for instead.
        """
        ...

    async def close(self) -> None:
        """Let go of everything that is held open; the catalog opens again when it is next used."""
        ...

    # Organizations

    async def list_orgs(self) -> list[OrgModel]:
        """Return the organizations, by name."""
        ...

    async def get_org(self, org: str) -> OrgModel:
        """Return one organization; OrgNotFoundError where there is none."""
        ...

    async def create_org(self, org: str, *, display_name: str = "", description: str | None = None) -> OrgModel:
        """Make an organization; AlreadyExistsError where the name is taken."""
        ...

    # Bucket configs

    async def list_buckets(self, org: str) -> list[BucketResponse]:
        """Return the bucket configs of an organization, by nickname."""
        ...

    async def get_bucket(self, org: str, nickname: str | None) -> BucketResponse:
        """Return a bucket config by nickname; None returns the default one."""
        ...

    async def get_bucket_by_id(self, bucket_id: str) -> BucketResponse:
        """Return a bucket config by its id."""
        ...

    async def create_bucket(self, org: str, new: NewBucket) -> BucketResponse:
        """Add a bucket config; the first of an organization becomes its default. AlreadyExistsError for a nickname or place that is taken."""
        ...

    async def modify_bucket(
        self,
        org: str,
        nickname: str,
        *,
        new_nickname: str | None = None,
        auth_config: AuthConfig | None = None,
        place: NewBucket | None = None,
    ) -> BucketResponse:
        """Change a bucket config, each None leaving its part alone.

        Parameters
        ----------
        new_nickname
            Another nickname.
        auth_config
            Another way in.
        place
            Another platform, name, prefix and extra_config: InUseError while a repo, even a deleted one that can be restored, uses the bucket config.
        """
        ...

    async def delete_bucket(self, org: str, nickname: str) -> None:
        """Remove a bucket config; InUseError while a repo, even a deleted one that can be restored, uses it."""
        ...

    async def set_default_bucket(self, org: str, nickname: str) -> None:
        """Make a bucket config the organization's default."""
        ...

    # Repos

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
        """Return a page of the live repos of an organization, by name.

        Parameters
        ----------
        filter_metadata
            Only repos whose metadata has all these pairs.
        bucket
            Only repos in the bucket config of this nickname.
        page
            From 1.
        size
            1 to 100.
        only
            Only repos with these ids.
        """
        ...

    async def get_repo(self, org: str, repo: str) -> RepoModel:
        """Return the record of a live repo; RepoNotFoundError says whether a deleted one can be restored."""
        ...

    async def open_repo(self, org: str, repo: str) -> OpenRepo:
        """Return all that opening a live repo needs."""
        ...

    async def create_repo(self, org: str, new: NewRepo) -> RepoModel:
        """Record a repo as pending: its name and place are taken, and nobody sees it. AlreadyExistsError where name or place is taken."""
        ...

    async def activate_repo(self, repo_id: str) -> RepoModel:
        """Make a pending repo visible, now that its objects are there. Doing it again does no harm."""
        ...

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
        """Change the record of a repo, each None leaving its part alone.

        Parameters
        ----------
        description
            Another description.
        add_metadata
            Pairs to add: InvalidOptionError where a key is there already.
        remove_metadata
            Keys to remove; a key that is not there is ignored.
        update_metadata
            Pairs to set, whether or not the key is there.
        virtual_chunk_containers
            URL prefixes and nicknames to set, None as a nickname to remove.
        status
            Another mode.
        visibility
            ``PRIVATE``, or ``AUTHENTICATED_PUBLIC``: whoever is logged in to the service may read it.
        optimization_config
            Kept for clients that have one.
        """
        ...

    async def rename_repo(self, org: str, repo: str, new_name: str) -> RepoModel:
        """Give a repo another name in its organization; its bytes stay where they are."""
        ...

    async def delete_repo(self, org: str, repo: str, *, retain_data: bool = False) -> RepoModel:
        """Mark a repo as deleted: its name is free, its place is not, and it can be restored until it is purged."""
        ...

    async def restore_repo(self, org: str, repo: str) -> RepoModel:
        """Bring back the repo of that name that was deleted last; AlreadyExistsError where the name has been taken since."""
        ...

    async def begin_purge(self, repo_id: str) -> None:
        """Make a deleted repo one that can't be restored: its bytes are about to go. Doing it again does no harm."""
        ...

    async def purge_repo(self, repo_id: str) -> None:
        """Forget a pending or deleted repo for good, with its refs and journals; its place is free. Doing it again does no harm."""
        ...

    async def unfinished_repos(self, org: str | None = None) -> list[UnfinishedRepo]:
        """Return the pending repos and the deleted ones, whether they can be restored or are being purged, of one organization or of all."""
        ...

    def coordination(self, repo_id: str) -> Coordination:
        """Return the refs and journals of a repo."""
        ...
