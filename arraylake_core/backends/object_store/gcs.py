"""obstore over Google Cloud Storage's own API."""

from typing import TYPE_CHECKING

import msgspec

from arraylake_core.backends.credentials import (
    AnonymousCredentials,
    CredentialProvider,
    Credentials,
    GCSCredentials,
    S3Credentials,
)
from arraylake_core.backends.object_store.s3 import open_s3_store
from arraylake_core.backends.storage import ObjectStoreSpec
from arraylake_core.errors import CredentialsError

if TYPE_CHECKING:
    from obstore.store import GCSCredential, GCSStore, S3Store

__all__ = ["GOOGLE", "as_s3", "bearer_token", "open_gcs_store"]

GOOGLE = "https://storage.googleapis.com"
_PAYER = "x-goog-user-project"


async def open_gcs_store(spec: ObjectStoreSpec, *, blocking: bool) -> "GCSStore | S3Store":
    """Return an obstore store over GCS; with HMAC keys, over its S3-compatible API; see ``open_object_store``."""
    from obstore.store import GCSStore

    if spec.credentials is None:
        raise CredentialsError("a GCS store was described without credentials: name an auth method, if only anonymous")
    first = await spec.credentials.get()
    if isinstance(first, S3Credentials):
        return await open_s3_store(as_s3(spec), blocking=blocking)
    anonymous = isinstance(first, AnonymousCredentials)
    callback = BlockingGCSCredentialCallback if blocking else GCSCredentialCallback
    return GCSStore(
        spec.bucket,
        prefix=spec.prefix or None,
        # obstore reads GOOGLE_* variables for what it is not told.
        config={"base_url": spec.endpoint or GOOGLE, "skip_signature": anonymous},
        client_options={"allow_http": spec.allow_http, "default_headers": {_PAYER: spec.payer} if spec.payer else {}},
        # Where it is told to sign nothing, obstore still signs what it writes: with the identity of the machine, if nobody stops it.
        credential_provider=_no_writes if anonymous else callback(spec.credentials),
    )


def _no_writes() -> "GCSCredential":
    raise CredentialsError("nothing is written to GCS without credentials: name an auth method that has some")


def as_s3(spec: ObjectStoreSpec) -> ObjectStoreSpec:
    """Return the same place by Google's S3-compatible API, which takes HMAC keys: https://cloud.google.com/storage/docs/interoperability."""
    return msgspec.structs.replace(spec, protocol="s3", endpoint=spec.endpoint or GOOGLE, region="auto", path_style=True)


def bearer_token(credentials: Credentials) -> GCSCredentials:
    """Return credentials that are a bearer token, or raise."""
    if not isinstance(credentials, GCSCredentials):
        raise CredentialsError(f"a GCS store needs a bearer token or HMAC keys, not {type(credentials).__name__}")
    return credentials


class GCSCredentialCallback:
    """What obstore calls for a token."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    async def __call__(self) -> "GCSCredential":
        """Return the token that is valid now."""
        return _for_obstore(await self._provider.get())


class BlockingGCSCredentialCallback:
    """The same for stores whose blocking methods are used."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    def __call__(self) -> "GCSCredential":
        """Return the token that is valid now."""
        return _for_obstore(self._provider.get_blocking())


def _for_obstore(credentials: Credentials) -> "GCSCredential":
    found = bearer_token(credentials)
    return {"token": found.access_token.reveal(), "expires_at": found.expiration}
