"""obstore over Azure Blob Storage."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from arraylake_core.backends.credentials import AnonymousCredentials, AzureCredentials, CredentialProvider, Credentials
from arraylake_core.backends.storage import ObjectStoreSpec
from arraylake_core.errors import CredentialsError
from arraylake_core.names import join_prefix

if TYPE_CHECKING:
    from obstore.store import AzureCredential, AzureStore

__all__ = ["azure_credentials", "azure_endpoint", "delete_singly", "needs_single_deletes", "open_azure_store"]


_AT_ONCE = 32


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


async def needs_single_deletes(spec: ObjectStoreSpec) -> bool:
    """Tell whether objects are deleted by ``delete_singly``: obstore's requests to delete go to the container, and a signature for a directory doesn't."""
    if spec.protocol != "azure" or spec.credentials is None:
        return False
    credentials = await spec.credentials.get()
    token = credentials.sas_token if isinstance(credentials, AzureCredentials) else None
    return token is not None and parse_qs(token.reveal().removeprefix("?")).get("sr") == ["d"]


async def delete_singly(spec: ObjectStoreSpec, keys: Sequence[str]) -> None:
    """Delete objects by a request for each; missing ones do no harm.

    Parameters
    ----------
    spec
        The place.
    keys
        The objects, relative to its prefix.

    Raises
    ------
    PermissionError
        The store refused.
    """
    from azure.core.credentials import AzureSasCredential
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
    from azure.storage.blob.aio import ContainerClient

    if spec.credentials is None:
        raise CredentialsError("an Azure store was described without credentials: name an auth method, if only anonymous")
    token = azure_credentials(await spec.credentials.get()).sas_token
    if token is None:
        raise CredentialsError("objects are deleted one by one with a shared access signature alone")
    signature = AzureSasCredential(token.reveal().removeprefix("?"))
    async with ContainerClient(azure_endpoint(spec), spec.bucket, credential=signature) as client:

        async def one(key: str) -> None:
            try:
                await client.delete_blob(join_prefix(spec.prefix, key))
            except ResourceNotFoundError:
                return
            except HttpResponseError as error:
                if error.status_code in (401, 403):
                    raise PermissionError("the store refused") from None
                raise

        for begin in range(0, len(keys), _AT_ONCE):
            await asyncio.gather(*map(one, keys[begin : begin + _AT_ONCE]))


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
