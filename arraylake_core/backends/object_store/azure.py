"""obstore over Azure Blob Storage."""

from typing import TYPE_CHECKING

from arraylake_core.backends.credentials import AnonymousCredentials, AzureCredentials, CredentialProvider, Credentials
from arraylake_core.backends.storage import ObjectStoreSpec
from arraylake_core.errors import CredentialsError

if TYPE_CHECKING:
    from obstore.store import AzureCredential, AzureStore

__all__ = ["azure_credentials", "azure_endpoint", "open_azure_store"]


async def open_azure_store(spec: ObjectStoreSpec, *, blocking: bool) -> "AzureStore":
    """Return an obstore store over Azure; see ``open_object_store``."""
    from obstore.store import AzureStore

    if spec.credentials is None:
        raise CredentialsError("an Azure store was described without credentials: name an auth method, if only anonymous")
    anonymous = isinstance(await spec.credentials.get(), AnonymousCredentials)
    callback = BlockingAzureCredentialCallback if blocking else AzureCredentialCallback
    return AzureStore(
        spec.bucket,
        prefix=spec.prefix or None,
        # obstore reads AZURE_* variables for what it is not told.
        config={
            "account_name": spec.account or "",
            "endpoint": azure_endpoint(spec),
            "skip_signature": anonymous,
            "use_emulator": False,
            "use_fabric_endpoint": False,
            "use_azure_cli": False,
        },
        client_options={"allow_http": spec.allow_http},
        credential_provider=None if anonymous else callback(spec.credentials),
    )


def azure_endpoint(spec: ObjectStoreSpec) -> str:
    """Return the URL of the account's blob service."""
    return spec.endpoint or f"https://{spec.account}.blob.core.windows.net"


def azure_credentials(credentials: Credentials) -> AzureCredentials:
    """Return credentials that are for Azure, and hold something, or raise."""
    if not isinstance(credentials, AzureCredentials):
        raise CredentialsError(
            f"an Azure store needs a shared access signature, an account key or a bearer token, not {type(credentials).__name__}"
        )
    if not (credentials.sas_token or credentials.account_key or credentials.bearer_token):
        raise CredentialsError(
            "the Azure credentials hold neither a shared access signature nor an account key nor a bearer token"
        )
    return credentials


class AzureCredentialCallback:
    """What obstore calls for credentials."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    async def __call__(self) -> "AzureCredential":
        """Return those that are valid now."""
        return _for_obstore(await self._provider.get())


class BlockingAzureCredentialCallback:
    """The same for stores whose blocking methods are used."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    def __call__(self) -> "AzureCredential":
        """Return those that are valid now."""
        return _for_obstore(self._provider.get_blocking())


def _for_obstore(credentials: Credentials) -> "AzureCredential":
    found = azure_credentials(credentials)
    if found.sas_token is not None:
        return {"sas_token": found.sas_token.reveal().removeprefix("?"), "expires_at": found.expiration}
    if found.account_key is not None:
        return {"access_key": found.account_key.reveal(), "expires_at": found.expiration}
    assert found.bearer_token is not None
    return {"token": found.bearer_token.reveal(), "expires_at": found.expiration}
