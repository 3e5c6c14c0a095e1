"""Google Cloud Storage as the storage platform ``gs``, and the auth methods of its cloud."""

from collections.abc import Iterable

from arraylake_core.backends import AuthMethod, StoragePlatform
from arraylake_core.hookspecs import hookimpl
from arraylake_gcs.auth import GcpRole, GcpRoleConfig, GcpServiceAccount, GcpServiceAccountConfig
from arraylake_gcs.platform import GCSOptions, GCSPlatform

__all__ = [
    "ARRAYLAKE_SPI",
    "GCSOptions",
    "GCSPlatform",
    "GcpRole",
    "GcpRoleConfig",
    "GcpServiceAccount",
    "GcpServiceAccountConfig",
    "arraylake_auth_methods",
    "arraylake_storage_platforms",
]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_storage_platforms() -> Iterable[StoragePlatform]:
    """Return the storage platform of this plugin."""
    return [GCSPlatform()]


@hookimpl
def arraylake_auth_methods() -> Iterable[AuthMethod]:
    """Return the auth methods of this plugin."""
    return [GcpServiceAccount(), GcpRole()]
