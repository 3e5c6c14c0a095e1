"""Credentials for a bucket config of a catalog, minted anew in whatever process asks."""

from datetime import datetime

import msgspec

from arraylake_core.backends.credentials import Access, CredentialProvider, Credentials, provider_for
from arraylake_core.backends.storage import Location
from arraylake_core.catalog.open import catalog_from_uri
from arraylake_core.models import BucketResponse, Identity
from arraylake_core.plugins import PluginRegistry, registry_of

__all__ = ["BucketCredentials", "bucket_provider"]


class BucketCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """The name of credentials: where the catalog is, and which bucket config of it opens which place.

    Parameters
    ----------
    catalog
        The catalog's handle.
    registry
        The token of the plugin registry; "" is the process's own.
    bucket_id, nickname
        The bucket config.
    version
        When the bucket config last changed: after a change, credentials are minted anew.
    location
        What the credentials must reach.
    access
        To read, or to write too.
    repo_id
        The repo whose place that is, if it is one's.
    virtual
        The URL prefix of the repo's virtual chunk container that it is, if it is one.
    """

    catalog: str
    registry: str
    bucket_id: str
    nickname: str
    version: datetime
    location: Location
    access: Access
    repo_id: str = ""
    virtual: str = ""

    def __repr__(self) -> str:
        return f"the credentials of the bucket config {self.nickname!r}"

    async def mint(self) -> Credentials:
        """Ask the catalog for credentials, and where it leaves that to us, for the bucket config, and its auth method for credentials."""
        catalog = catalog_from_uri(self.catalog)
        minted = await catalog.mint(self.bucket_id, self.repo_id, self.access, self.virtual)
        if minted is not None:
            return minted
        bucket = await catalog.get_bucket_by_id(self.bucket_id)
        options = dict(bucket.auth_config)
        method = registry_of(self.registry).auth_method(str(options.pop("method", "anonymous")))
        identity = Identity()
        if method.identified:
            from arraylake_core.login.account import identity_token

            identity = Identity(token=await identity_token())
        return await method.credentials(method.decode_config(options), self.location, self.access, identity)


def bucket_provider(
    catalog: str,
    registry: PluginRegistry,
    bucket: BucketResponse,
    location: Location,
    access: Access,
    repo_id: str = "",
    virtual: str = "",
) -> CredentialProvider:
    """Return the process's provider of credentials for a place in a bucket config."""
    source = BucketCredentials(
        catalog=catalog,
        registry=registry.token,
        bucket_id=bucket.id,
        nickname=bucket.nickname,
        version=bucket.updated,
        location=location,
        access=access,
        repo_id=repo_id,
        virtual=virtual,
    )
    return provider_for(source)
