"""S3 and what speaks its API, as the storage platforms ``s3``, ``s3-compatible`` and ``minio``, and the roles of AWS and R2."""

from collections.abc import Iterable

from arraylake_core.backends import AuthMethod, StoragePlatform
from arraylake_core.hookspecs import hookimpl
from arraylake_s3.platform import S3Options, S3Platform
from arraylake_s3.roles.aws import AwsRole, AwsRoleConfig
from arraylake_s3.roles.r2 import R2Role, R2RoleConfig

__all__ = [
    "ARRAYLAKE_SPI",
    "AwsRole",
    "AwsRoleConfig",
    "R2Role",
    "R2RoleConfig",
    "S3Options",
    "S3Platform",
    "arraylake_auth_methods",
    "arraylake_storage_platforms",
]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_storage_platforms() -> Iterable[StoragePlatform]:
    """Return the storage platforms of this plugin."""
    return [
        S3Platform("s3", needs_endpoint=False),
        S3Platform("s3-compatible", needs_endpoint=True),
        S3Platform("minio", needs_endpoint=True),
    ]


@hookimpl
def arraylake_auth_methods() -> Iterable[AuthMethod]:
    """Return the auth methods of this plugin."""
    return [AwsRole(), R2Role()]
