"""Signatures that the deployment makes with its own application of Entra: no key of the account is kept anywhere."""

import msgspec

from arraylake_azure.platform import endpoint_of
from arraylake_core.backends import Access, AuthMethod, Credentials, Location
from arraylake_core.backends.delegation import operator_secret, operator_setting
from arraylake_core.backends.exchange.azure import client_secret_token, token_endpoint
from arraylake_core.backends.exchange.azure_sas import is_confined, user_delegation_sas
from arraylake_core.errors import CredentialsError
from arraylake_core.models import Identity

__all__ = ["AzureDelegation", "AzureDelegationConfig"]


class AzureDelegationConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of ``{"method": "azure_credential_delegation"}``.

    Parameters
    ----------
    tenant_id
        The directory of the account's owner, in which the deployment's application has a service principal.
    storage_account
        The storage account, on which that has the roles Storage Blob Delegator and Storage Blob Data Contributor.
    """

    tenant_id: str
    storage_account: str


class AzureDelegation(AuthMethod):
    """User delegation signatures that end within the hour, for a repo's directory where the account has directories, else for its container."""

    name = "azure_credential_delegation"
    config = AzureDelegationConfig
    platforms = frozenset({"azure"})
    delegated = True

    def check(self, config: msgspec.Struct, platform: str) -> None:
        """Refuse what is no directory: it becomes a part of a URL."""
        token_endpoint(_checked(config).tenant_id)

    def confines(self, location: Location) -> bool:
        """Tell whether a signature can be limited to the location."""
        return is_confined(location)

    async def credentials(self, config: msgspec.Struct, location: Location, access: Access, identity: Identity) -> Credentials:
        """Return a signature.

        Raises
        ------
        CredentialsError
            Entra or the account refused, or nothing is set to make it with.
        """
        config = _checked(config)
        client_id, secret = operator_setting("azure.client_id"), operator_secret("azure.client_secret")
        if client_id is None or secret is None:
            raise CredentialsError(
                "nobody may sign here: set delegation.azure.client_id and delegation.azure.client_secret_file to those of the deployment's "
                "application in Entra"
            )
        token = await client_secret_token(config.tenant_id, client_id, secret)
        return await user_delegation_sas(token, config.storage_account, endpoint_of(location.options).url, location, access)


def _checked(config: msgspec.Struct) -> AzureDelegationConfig:
    if not isinstance(config, AzureDelegationConfig):
        raise CredentialsError(f"azure_credential_delegation needs an AzureDelegationConfig, not a {type(config).__name__}")
    return config
