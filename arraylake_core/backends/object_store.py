"""A fast way to an object store: obstore, from the neutral description that a platform gives."""

from typing import TYPE_CHECKING

from arraylake_core.backends.credentials import AnonymousCredentials, CredentialProvider, S3Credentials
from arraylake_core.backends.storage import ObjectStoreSpec
from arraylake_core.errors import CredentialsError, PluginError, StorageError
from arraylake_core.secret import reveal

if TYPE_CHECKING:
    from obstore.store import LocalStore, S3Credential, S3Store

__all__ = ["open_object_store"]


async def open_object_store(spec: ObjectStoreSpec) -> "LocalStore | S3Store":
    """Return an obstore store, rooted at the description's prefix, whose credentials refresh by themselves.

    Parameters
    ----------
    spec
        What a platform's ``object_store`` returned.

    Raises
    ------
    StorageError
        There is no such store for the protocol.
    PluginError
        obstore is not installed.
    """
    try:
        from obstore.store import LocalStore, S3Store
    except ImportError:
        raise PluginError("the fast path to object stores needs obstore: pip install obstore") from None
    match spec.protocol:
        case "file":
            return LocalStore(spec.prefix, mkdir=True)
        case "s3" if spec.credentials is not None:
            anonymous = isinstance(await spec.credentials.get(), AnonymousCredentials)
            return S3Store(
                spec.bucket,
                prefix=spec.prefix or None,
                region=spec.region or "us-east-1",
                endpoint=spec.endpoint,
                virtual_hosted_style_request=not spec.path_style,
                skip_signature=anonymous,
                client_options={"allow_http": spec.allow_http},
                credential_provider=None if anonymous else S3CredentialCallback(spec.credentials),
            )
    raise StorageError(f"there is no fast path to {spec.protocol} stores in this release")


class S3CredentialCallback:
    """What obstore calls for S3 credentials."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    async def __call__(self) -> "S3Credential":
        """Return the set that is valid now."""
        credentials = await self._provider.get()
        if not isinstance(credentials, S3Credentials):
            raise CredentialsError(f"an S3 store needs S3 credentials, not {type(credentials).__name__}")
        return {
            "access_key_id": credentials.aws_access_key_id,
            "secret_access_key": credentials.aws_secret_access_key.reveal(),
            "token": reveal(credentials.aws_session_token),
            "expires_at": credentials.expiration,
        }
