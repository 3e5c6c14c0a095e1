"""obstore over the S3 API."""

from typing import TYPE_CHECKING

from arraylake_core.backends.credentials import AnonymousCredentials, CredentialProvider, Credentials, S3Credentials
from arraylake_core.backends.storage import ObjectStoreSpec
from arraylake_core.errors import CredentialsError
from arraylake_core.secret import reveal

if TYPE_CHECKING:
    from obstore.store import S3Config, S3Credential, S3Store

__all__ = ["BlockingS3CredentialCallback", "S3CredentialCallback", "for_obstore", "open_s3_store", "s3_config", "s3_endpoint"]

_DEFAULT_REGION = "us-east-1"


async def open_s3_store(spec: ObjectStoreSpec, *, blocking: bool) -> "S3Store":
    """Return an obstore store over an S3 API; see ``open_object_store``."""
    from obstore.store import S3Store

    if spec.credentials is None:
        raise CredentialsError("an S3 store was described without credentials: name an auth method, if only anonymous")
    anonymous = isinstance(await spec.credentials.get(), AnonymousCredentials)
    callback = BlockingS3CredentialCallback if blocking else S3CredentialCallback
    return S3Store(
        spec.bucket,
        prefix=spec.prefix or None,
        config=s3_config(spec, anonymous=anonymous),
        client_options={"allow_http": spec.allow_http},
        credential_provider=None if anonymous else callback(spec.credentials),
    )


def s3_config(spec: ObjectStoreSpec, *, anonymous: bool) -> "S3Config":
    """Return obstore's configuration for a place.

    obstore reads AWS_* variables for what it is not told: everything that decides where requests go, and as whom, is told.
    """
    endpoint, virtual = s3_endpoint(spec)
    return {
        "region": spec.region or _DEFAULT_REGION,
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,
        "virtual_hosted_style_request": virtual,
        "skip_signature": anonymous,
        "s3_express": False,
        "conditional_put": "etag",
        "request_payer": False,
    }


def s3_endpoint(spec: ObjectStoreSpec) -> tuple[str, bool]:
    """Return the URL that requests begin with, and whether the bucket is in its host name."""
    region = spec.region or _DEFAULT_REGION
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    scheme, _, host = (spec.endpoint or f"http{'' if spec.allow_http else 's'}://s3.{region}.{domain}").partition("://")
    # No certificate covers a bucket's name with dots in it.
    virtual = not spec.path_style and "." not in spec.bucket
    return (f"{scheme}://{spec.bucket}.{host}" if virtual else f"{scheme}://{host}"), virtual


class S3CredentialCallback:
    """What obstore calls for S3 credentials."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    async def __call__(self) -> "S3Credential":
        """Return the set that is valid now."""
        return for_obstore(await self._provider.get())


class BlockingS3CredentialCallback:
    """The same for stores whose blocking methods are used."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    def __call__(self) -> "S3Credential":
        """Return the set that is valid now."""
        return for_obstore(self._provider.get_blocking())


def for_obstore(credentials: Credentials) -> "S3Credential":
    """Return S3 credentials as obstore takes them."""
    if not isinstance(credentials, S3Credentials):
        raise CredentialsError(f"an S3 store needs S3 credentials, not {type(credentials).__name__}")
    return {
        "access_key_id": credentials.aws_access_key_id,
        "secret_access_key": credentials.aws_secret_access_key.reveal(),
        "token": reveal(credentials.aws_session_token),
        "expires_at": credentials.expiration,
    }
