"""The catalog of a service, over HTTP."""

from collections.abc import Collection, Mapping, Sequence
from typing import override
from urllib.parse import quote

import msgspec

from arraylake_core.backends.coordination import Coordination
from arraylake_core.backends.credentials import Access, Credentials
from arraylake_core.catalog import http_decoding as decode
from arraylake_core.catalog.base import NewBucket, NewRepo, OpenRepo, UnfinishedRepo
from arraylake_core.catalog.http_coordination import HttpCoordination
from arraylake_core.catalog.http_people import HttpPeople
from arraylake_core.catalog.http_signing import RepoSigner
from arraylake_core.catalog.http_transport import transport_to
from arraylake_core.catalog.http_webhooks import HttpWebhooks
from arraylake_core.errors import InvalidOptionError
from arraylake_core.models import (
    AuthConfig,
    BucketResponse,
    OrgModel,
    Page,
    RepoMetadata,
    RepoModel,
    RepoStatus,
    Scalar,
    validate_metadata,
)
from arraylake_core.names import validate_nickname, validate_org, validate_repo
from arraylake_core.secret import Secret

__all__ = ["HttpCatalog"]


class HttpCatalog(HttpPeople, HttpWebhooks):
    """The catalog of a service.

    Parameters
    ----------
    base
        The service's URI, without a slash at its end.
    fingerprint
        Which token of this process to take; "" takes that of the settings.
    """

    def __init__(self, base: str, fingerprint: str) -> None:
        super().__init__(transport_to(base, fingerprint))
        self._transport.use(self)

    @property
    def uri(self) -> str:
        """Where the service is."""
        return self._transport.base

    @property
    def handle(self) -> str:
        """What opens the same catalog, with the same token where this process has it."""
        return f"{self.uri}#{self._transport.fingerprint}" if self._transport.fingerprint else self.uri

    @override
    def __repr__(self) -> str:
        return f"<catalog {self.uri}>"

    @override
    def __reduce__(self) -> tuple[object, tuple[str]]:
        from arraylake_core.catalog.open import catalog_from_uri

        return catalog_from_uri, (self.handle,)

    async def close(self) -> None:
        """Close the connections that nobody else in the process uses; the next request opens new ones."""
        await self._transport.leave(self)

    def coordination(self, repo_id: str) -> Coordination:
        """Return the refs and journals of a repo."""
        return HttpCoordination(self._transport, self.handle, repo_id)

    async def mint(self, bucket_id: str, repo_id: str, access: Access, virtual: str = "") -> Credentials | None:
        """Ask the service for credentials: for a repo's place, or, without one, for a bucket config's."""
        path = f"/repo-ids/{quote(repo_id, safe='')}" if repo_id else f"/buckets/{quote(bucket_id, safe='')}"
        reply = await self._transport.send("GET", f"{path}/credentials", query={"access": access, "virtual": virtual or None})
        return decode.credentials(reply.body, self._signer(repo_id))

    def _signer(self, repo_id: str) -> RepoSigner:
        return RepoSigner(self.uri, self._transport.fingerprint, repo_id)

    # Organizations

    async def list_orgs(self) -> list[OrgModel]:
        """Return the organizations that the caller belongs to, by name."""
        return decode.orgs((await self._transport.send("GET", "/user/orgs")).body)

    async def get_org(self, org: str) -> OrgModel:
        """Return one organization."""
        return decode.org((await self._transport.send("GET", _org(org))).body)

    async def create_org(self, org: str, *, display_name: str = "", description: str | None = None) -> OrgModel:
        """Make an organization."""
        validate_org(org)
        body = {"name": org, "display_name": display_name, "description": description}
        return decode.org((await self._transport.send("POST", "/orgs", body=body)).body)

    # Bucket configs

    async def list_buckets(self, org: str) -> list[BucketResponse]:
        """Return the bucket configs of an organization, by nickname."""
        return decode.buckets((await self._transport.send("GET", f"{_org(org)}/buckets")).body)

    async def get_bucket(self, org: str, nickname: str | None) -> BucketResponse:
        """Return a bucket config by nickname; None returns the default one."""
        path = f"{_org(org)}/default-bucket" if nickname is None else _bucket(org, nickname)
        return decode.bucket((await self._transport.send("GET", path)).body)

    async def get_bucket_by_id(self, bucket_id: str) -> BucketResponse:
        """Return a bucket config by its id."""
        return decode.bucket((await self._transport.send("GET", f"/buckets/{quote(bucket_id, safe='')}")).body)

    async def create_bucket(self, org: str, new: NewBucket) -> BucketResponse:
        """Add a bucket config; the service finds out by itself where it really is."""
        body = {"nickname": validate_nickname(new.nickname), **_place(new), "auth_config": _revealed(new.auth_config)}
        return decode.bucket((await self._transport.send("POST", f"{_org(org)}/buckets", body=body)).body)

    async def modify_bucket(
        self,
        org: str,
        nickname: str,
        *,
        new_nickname: str | None = None,
        auth_config: AuthConfig | None = None,
        place: NewBucket | None = None,
    ) -> BucketResponse:
        """Change a bucket config, each None leaving its part alone."""
        body = {
            **({"nickname": validate_nickname(new_nickname)} if new_nickname is not None else {}),
            **({"auth_config": _revealed(auth_config)} if auth_config is not None else {}),
            **(_place(place) if place is not None else {}),
        }
        return decode.bucket((await self._transport.send("PATCH", _bucket(org, nickname), body=body)).body)

    async def delete_bucket(self, org: str, nickname: str) -> None:
        """Remove a bucket config that no repo uses."""
        await self._transport.send("DELETE", _bucket(org, nickname))

    async def set_default_bucket(self, org: str, nickname: str) -> None:
        """Make a bucket config the organization's default."""
        await self._transport.send("POST", f"{_bucket(org, nickname)}/default")

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
        """Return a page of the live repos of an organization, by name."""
        if only is not None:
            raise InvalidOptionError("a service decides by itself which repos a caller sees: leave `only` out")
        for name, value in (("page", page), ("size", size)):
            if not isinstance(value, int) or isinstance(value, bool):
                raise InvalidOptionError(f"{name} must be a whole number, not a {type(value).__name__}")
        wanted = validate_metadata(filter_metadata)
        query = {
            "page": page,
            "size": size,
            "bucket": bucket,
            "filter_metadata": msgspec.json.encode(wanted).decode() if wanted else None,
        }
        return decode.page_of_repos((await self._transport.send("GET", f"{_org(org)}/repos/paginated", query=query)).body)

    async def get_repo(self, org: str, repo: str) -> RepoModel:
        """Return the record of a live repo."""
        return decode.repo((await self._transport.send("GET", _repo(org, repo))).body)

    async def open_repo(self, org: str, repo: str) -> OpenRepo:
        """Return all that opening a live repo needs, in one round trip."""
        reply = await self._transport.send("GET", f"{_repo(org, repo)}/open", query={"full": True})
        return decode.opened(reply.body, self._signer)

    async def create_repo(self, org: str, new: NewRepo) -> RepoModel:
        """Record a repo as pending."""
        validate_repo(new.name, new=True)
        body = {
            "name": new.name,
            "kind": new.kind,
            "bucket_id": new.bucket_id,
            "whole_prefix": new.prefix,
            "generated": new.generated,
            "pending": True,
            "description": new.description,
            "metadata": validate_metadata(new.metadata),
            "virtual_chunk_containers": new.virtual_chunk_containers,
        }
        return decode.repo((await self._transport.send("POST", f"{_org(org)}/repos", body=body)).body)

    async def activate_repo(self, repo_id: str) -> RepoModel:
        """Make a pending repo visible."""
        return decode.repo((await self._transport.send("POST", f"{_repo_id(repo_id)}/activate")).body)

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
        if isinstance(remove_metadata, str):
            raise InvalidOptionError("remove_metadata is a list of keys, not one text: write [key]")
        changes: dict[str, object] = {
            "description": description,
            "add_metadata": None if add_metadata is None else validate_metadata(add_metadata),
            "remove_metadata": None if remove_metadata is None else list(remove_metadata),
            "update_metadata": None if update_metadata is None else validate_metadata(update_metadata),
            "virtual_chunk_containers": virtual_chunk_containers,
            "status": None if status is None else {"mode": status.mode, "message": status.message},
            "visibility": visibility,
            "optimization_config": optimization_config,
        }
        body = {name: value for name, value in changes.items() if value is not None}
        path = f"{_org(org)}/{quote(validate_repo(repo))}"
        return decode.repo((await self._transport.send("PATCH", path, body=body)).body)

    async def rename_repo(self, org: str, repo: str, new_name: str) -> RepoModel:
        """Give a repo another name in its organization."""
        body = {"name": validate_repo(new_name, new=True)}
        return decode.repo((await self._transport.send("POST", f"{_repo(org, repo)}/rename", body=body)).body)

    async def delete_repo(self, org: str, repo: str, *, retain_data: bool = False) -> RepoModel:
        """Mark a repo as deleted."""
        path = f"{_org(org)}/{quote(validate_repo(repo))}"
        return decode.repo((await self._transport.send("DELETE", path, query={"retain_data": retain_data})).body)

    async def restore_repo(self, org: str, repo: str) -> RepoModel:
        """Bring back the repo of that name that was deleted last."""
        return decode.repo((await self._transport.send("POST", f"{_repo(org, repo)}/restore")).body)

    async def begin_purge(self, repo_id: str) -> None:
        """Make a deleted repo one that can't be restored."""
        await self._transport.send("POST", f"{_repo_id(repo_id)}/begin-purge", missing=404)

    async def purge_repo(self, repo_id: str) -> None:
        """Forget a pending or deleted repo for good."""
        await self._transport.send("DELETE", _repo_id(repo_id), missing=404)

    async def unfinished_repos(self, org: str | None = None) -> list[UnfinishedRepo]:
        """Return the pending repos and the deleted ones, of one organization or of all."""
        path = "/unfinished" if org is None else f"{_org(org)}/unfinished"
        return decode.unfinished((await self._transport.send("GET", path)).body)


def _org(org: str) -> str:
    return f"/orgs/{quote(validate_org(org))}"


def _bucket(org: str, nickname: str) -> str:
    return f"{_org(org)}/buckets/{quote(validate_nickname(nickname))}"


def _repo(org: str, repo: str) -> str:
    return f"/repos/{quote(validate_org(org))}/{quote(validate_repo(repo))}"


def _repo_id(repo_id: str) -> str:
    return f"/repo-ids/{quote(repo_id, safe='')}"


def _place(new: NewBucket) -> dict[str, object]:
    return {"platform": new.platform, "name": new.name, "prefix": new.prefix, "extra_config": new.extra_config}


def _revealed(auth: AuthConfig) -> dict[str, str | bool | int]:
    return {name: value.reveal() if isinstance(value, Secret) else value for name, value in auth.items()}
