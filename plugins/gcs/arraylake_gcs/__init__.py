"""Google Cloud Storage as a storage platform: ``gs``."""

from collections.abc import Iterable

from arraylake_core.backends import StoragePlatform
from arraylake_core.hookspecs import hookimpl
from arraylake_gcs.platform import GCSOptions, GCSPlatform

__all__ = ["GCSOptions", "GCSPlatform", "arraylake_storage_platforms"]


@hookimpl
def arraylake_storage_platforms() -> Iterable[StoragePlatform]:
    """Return the storage platform of this plugin."""
    return [GCSPlatform()]
