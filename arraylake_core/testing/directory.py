"""A storage platform to build tests on: a directory, through fsspec alone, with nothing to know and nothing to install."""

from typing import TYPE_CHECKING

import msgspec

from arraylake_core.backends import AnonymousCredentials, Credentials, Location, StorageIdentity, StoragePlatform
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.names import join_prefix

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["DirectoryOptions", "DirectoryPlatform", "Nobody"]


class Nobody(msgspec.Struct, frozen=True):
    """A source of no credentials at all, for platforms that are open to everybody."""

    async def mint(self) -> AnonymousCredentials:
        """Return none."""
        return AnonymousCredentials()


class DirectoryOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The ``extra_config`` of a bucket in a directory.

    Parameters
    ----------
    root
        The absolute path of the directory.
    """

    root: str


class DirectoryPlatform(StoragePlatform):
    """``directory://name[/prefix]``, in a directory of this machine."""

    name = "directory"
    schemes = ("directory",)
    options = DirectoryOptions

    def identity(self, location: Location) -> StorageIdentity:
        """Return the path."""
        return StorageIdentity("directory://", self.path(location).strip("/"))

    def path(self, location: Location) -> str:
        """Return the path."""
        if not isinstance(location.options, DirectoryOptions):
            raise InvalidOptionError("a directory bucket needs root in extra_config")
        return f"/{join_prefix(location.options.root.strip('/'), location.prefix)}"

    def filesystem(self, location: Location, credentials: Credentials) -> "AbstractFileSystem":
        """Return fsspec's LocalFileSystem."""
        if not isinstance(credentials, AnonymousCredentials):
            raise CredentialsError("a directory takes no credentials: set auth_config={'method': 'anonymous'}")
        from fsspec.implementations.local import LocalFileSystem

        return LocalFileSystem(auto_mkdir=True, skip_instance_cache=True)
