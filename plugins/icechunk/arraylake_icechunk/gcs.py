"""Google Cloud Storage for Icechunk."""

import pickle
from datetime import datetime
from typing import TYPE_CHECKING

import icechunk

from arraylake_core.backends import AnonymousCredentials, CredentialProvider, ObjectStoreSpec, S3Credentials
from arraylake_core.backends.object_store.gcs import GOOGLE, bearer_token
from arraylake_core.errors import CredentialsError
from arraylake_core.models import utc_now

if TYPE_CHECKING:
    from icechunk import Storage
    from icechunk.credentials import AnyGcsCredential

__all__ = ["GCSToken", "gcs_config", "gcs_credentials", "gcs_storage"]


class GCSToken:
    """What Icechunk calls for a token: it pickles as the name of its source, never with a secret."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    def __call__(self) -> icechunk.GcsBearerCredential:
        """Return the token that is valid now."""
        credentials = self._provider.get_blocking()
        if isinstance(credentials, S3Credentials):
            # A repo with HMAC keys is reached by the S3-compatible API, and has no token; only references to gs:// come here.
            raise CredentialsError(
                "Icechunk reads references to gs:// with a token or without credentials, and not with HMAC keys: "
                "give the bucket config that they lead to another auth method"
            )
        found = bearer_token(credentials)
        return icechunk.GcsBearerCredential(found.access_token.reveal(), expires_after=_early(found.expiration))


def _early(expiration: datetime | None) -> datetime | None:
    """Return a time before a token's end: Icechunk uses one until the moment that it is told, and its last requests would come too late."""
    if expiration is None:
        return None
    return expiration - (expiration - utc_now()) / 5


async def gcs_storage(spec: ObjectStoreSpec) -> "Storage":
    """Return Icechunk's Storage for a place on GCS."""
    return icechunk.Storage.new_gcs(spec.bucket, spec.prefix, await gcs_credentials(spec), config=gcs_config(spec))


def gcs_config(spec: ObjectStoreSpec) -> dict[str, str]:
    """Return what says where requests go: all of it, since Icechunk looks for the rest in the environment."""
    return {"google_base_url": spec.endpoint or GOOGLE, "allow_http": str(spec.allow_http).lower()}


async def gcs_credentials(spec: ObjectStoreSpec) -> "AnyGcsCredential":
    """Return what Icechunk authenticates with."""
    if spec.credentials is None:
        raise CredentialsError("a GCS store was described without credentials: name an auth method, if only anonymous")
    if isinstance(await spec.credentials.get(), AnonymousCredentials):
        return icechunk.GcsCredentials.Anonymous()
    return icechunk.GcsCredentials.Refreshable(pickle.dumps(GCSToken(spec.credentials)), None)
