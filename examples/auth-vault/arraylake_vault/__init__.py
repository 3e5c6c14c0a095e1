"""Keys of buckets from a vault, by reference: ``vault``."""

from collections.abc import Iterable

from arraylake_core.backends import AuthMethod
from arraylake_core.hookspecs import hookimpl
from arraylake_vault.method import VaultAuth, VaultConfig

__all__ = ["ARRAYLAKE_SPI", "VaultAuth", "VaultConfig", "arraylake_auth_methods"]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_auth_methods() -> Iterable[AuthMethod]:
    """Return the auth method of this plugin."""
    return [VaultAuth()]
