"""Local disks and memory as storage platforms: ``file`` and ``memory``."""

from collections.abc import Iterable

from arraylake_core.backends import StoragePlatform
from arraylake_core.hookspecs import hookimpl
from arraylake_local.files import FilePlatform
from arraylake_local.memory import MemoryPlatform

__all__ = ["ARRAYLAKE_SPI", "FilePlatform", "MemoryPlatform", "arraylake_storage_platforms"]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_storage_platforms() -> Iterable[StoragePlatform]:
    """Return the storage platforms of this plugin."""
    return [FilePlatform(), MemoryPlatform()]
