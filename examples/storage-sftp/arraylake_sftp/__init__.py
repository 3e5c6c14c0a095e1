"""SFTP servers as a storage platform: ``sftp``."""

from collections.abc import Iterable

from arraylake_core.backends import StoragePlatform
from arraylake_core.hookspecs import hookimpl
from arraylake_sftp.platform import SftpOptions, SftpPlatform

__all__ = ["ARRAYLAKE_SPI", "SftpOptions", "SftpPlatform", "arraylake_storage_platforms"]

ARRAYLAKE_SPI = 1


@hookimpl
def arraylake_storage_platforms() -> Iterable[StoragePlatform]:
    """Return the storage platform of this plugin."""
    return [SftpPlatform()]
