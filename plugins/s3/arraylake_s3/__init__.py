"""S3 and what speaks its API, as storage platforms: ``s3``, ``s3-compatible`` and ``minio``."""

from collections.abc import Iterable

from arraylake_core.backends import StoragePlatform
from arraylake_core.hookspecs import hookimpl
from arraylake_s3.platform import S3Options, S3Platform

__all__ = ["S3Options", "S3Platform", "arraylake_storage_platforms"]


@hookimpl
def arraylake_storage_platforms() -> Iterable[StoragePlatform]:
    """Return the storage platforms of this plugin."""
    return [
        S3Platform("s3", needs_endpoint=False),
        S3Platform("s3-compatible", needs_endpoint=True),
        S3Platform("minio", needs_endpoint=True),
    ]
