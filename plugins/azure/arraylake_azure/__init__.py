"""Azure Blob Storage as the storage platform ``azure``, and the auth methods of its cloud."""

from collections.abc import Iterable

from arraylake_azure.auth import AzureKey, AzureKeyConfig, AzureSas, AzureSasConfig
from arraylake_azure.delegation import AzureDelegation, AzureDelegationConfig
from arraylake_azure.platform import AzureOptions, AzurePlatform
from arraylake_core.backends import AuthMethod, StoragePlatform
from arraylake_core.hookspecs import hookimpl

__all__ = [
    "AzureDelegation",
    "AzureDelegationConfig",
    "AzureKey",
    "AzureKeyConfig",
    "AzureOptions",
    "AzurePlatform",
    "AzureSas",
    "AzureSasConfig",
    "arraylake_auth_methods",
    "arraylake_storage_platforms",
]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_storage_platforms() -> Iterable[StoragePlatform]:
    """Return the storage platform of this plugin."""
    return [AzurePlatform()]


@hookimpl
def arraylake_auth_methods() -> Iterable[AuthMethod]:
    """Return the auth methods of this plugin."""
    return [AzureKey(), AzureSas(), AzureDelegation()]
