"""``sftp://alias/prefix``: directories of SFTP servers, which only fsspec reaches.

Of the server's address nothing is in the URI; the key that opens it lies in a file of the machine, as SSH users keep it.
"""

from typing import TYPE_CHECKING

import msgspec

from arraylake_core.backends import AnonymousCredentials, Credentials, Location, StorageIdentity, StoragePlatform
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.names import join_prefix

if TYPE_CHECKING:
    from fsspec.implementations.sftp import SFTPFileSystem

__all__ = ["SftpOptions", "SftpPlatform"]


class SftpOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The ``extra_config`` of an SFTP bucket.

    Parameters
    ----------
    host, port, user
        Of the server.
    host_key
        The server's public key, as ``known_hosts`` has it: type and base64.
    identity_file
        The path of the private key.
    root
        The directory on the server that is the bucket.
    """

    host: str
    user: str
    host_key: str
    identity_file: str
    port: int = 22
    root: str = "/"


class SftpPlatform(StoragePlatform):
    """Directories of SFTP servers."""

    name = "sftp"
    schemes = ("sftp",)
    options = SftpOptions

    def identity(self, location: Location) -> StorageIdentity:
        """Return the server and the path on it."""
        options = _options(location)
        return StorageIdentity(f"sftp://{options.host.lower().rstrip('.')}:{options.port}", self.path(location).lstrip("/"))

    def path(self, location: Location) -> str:
        """Return the absolute path on the server."""
        return f"/{join_prefix(_options(location).root.strip('/'), location.prefix)}"

    def filesystem(self, location: Location, credentials: Credentials) -> "SFTPFileSystem":
        """Return fsspec's SFTPFileSystem, made fit for threads."""
        if not isinstance(credentials, AnonymousCredentials):
            raise CredentialsError("the platform 'sftp' has its key in a file: set auth_config={'method': 'anonymous'}")
        from arraylake_sftp.files import ThreadedSFTPFileSystem

        options = _options(location)
        return ThreadedSFTPFileSystem(
            options.host,
            port=options.port,
            username=options.user,
            key_filename=options.identity_file,
            host_key=options.host_key,
        )


def _options(location: Location) -> SftpOptions:
    if not isinstance(location.options, SftpOptions):
        raise InvalidOptionError("an sftp bucket needs host, user, host_key and identity_file in extra_config")
    return location.options
