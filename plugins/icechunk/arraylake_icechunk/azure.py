"""Azure Blob Storage for Icechunk."""

import pickle
from typing import TYPE_CHECKING

import icechunk

from arraylake_core.backends import AnonymousCredentials, CredentialProvider, ObjectStoreSpec
from arraylake_core.backends.object_store.azure import azure_credentials, azure_endpoint
from arraylake_core.errors import CredentialsError

if TYPE_CHECKING:
    from icechunk import Storage
    from icechunk.credentials import AnyAzureCredential

__all__ = ["AzureKeys", "azure_config", "azure_icechunk_credentials", "azure_storage"]

type Refreshable = (
    "icechunk.AzureRefreshableCredential.AccessKey"
    " | icechunk.AzureRefreshableCredential.SasToken | icechunk.AzureRefreshableCredential.BearerToken"
)


class AzureKeys:
    """What Icechunk calls for credentials: it pickles as the name of their source, never with a secret."""

    def __init__(self, provider: CredentialProvider) -> None:
        self._provider = provider

    def __call__(self) -> "Refreshable":
        """Return those that are valid now."""
        found = azure_credentials(self._provider.get_blocking())
        kinds = icechunk.AzureRefreshableCredential
        if found.sas_token is not None:
            return kinds.SasToken(found.sas_token.reveal().removeprefix("?"), expires_after=found.expiration)
        if found.account_key is not None:
            return kinds.AccessKey(found.account_key.reveal(), expires_after=found.expiration)
        assert found.bearer_token is not None
        return kinds.BearerToken(found.bearer_token.reveal(), expires_after=found.expiration)


async def azure_storage(spec: ObjectStoreSpec) -> "Storage":
    """Return Icechunk's Storage for a place on Azure."""
    credentials = await azure_icechunk_credentials(spec)
    return icechunk.Storage.new_azure_blob(spec.account or "", spec.bucket, spec.prefix, credentials, config=azure_config(spec))


def azure_config(spec: ObjectStoreSpec) -> dict[str, str]:
    """Return what says where requests go."""
    return {"azure_endpoint": azure_endpoint(spec), "allow_http": str(spec.allow_http).lower()}


async def azure_icechunk_credentials(spec: ObjectStoreSpec) -> "AnyAzureCredential":
    """Return what Icechunk authenticates with."""
    if spec.credentials is None:
        raise CredentialsError("an Azure store was described without credentials: name an auth method, if only anonymous")
    if isinstance(await spec.credentials.get(), AnonymousCredentials):
        return icechunk.AzureCredentials.Anonymous()
    return icechunk.AzureCredentials.Refreshable(pickle.dumps(AzureKeys(spec.credentials)), None)
