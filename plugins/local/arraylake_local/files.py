"""Directories of this machine: ``file:///data/lake``."""

import os
import unicodedata
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from arraylake_core.backends import (
    AnonymousCredentials,
    BucketAddress,
    CredentialProvider,
    Credentials,
    Location,
    ObjectStoreSpec,
    StorageIdentity,
    StoragePlatform,
)
from arraylake_core.backends.probe import probe_location
from arraylake_core.errors import CredentialsError, InvalidNameError, StorageError
from arraylake_core.models import ProbeReport
from arraylake_core.names import shown

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["FilePlatform", "require_anonymous"]

_LONGEST_PART = 255
_LOCKED = (
    "a local disk has no conditional updates: on it, this library serialises the commits of all processes of this machine with a lock. "
    "On a disk that several machines mount, the lock must reach across them (NFS 4 does)"
)


_SLASH_ALIKE = frozenset("\u2044\u2215\u29f8")


class FilePlatform(StoragePlatform):
    """A directory is the bucket; what is below it is reached only through names that stay below it."""

    name = "file"
    schemes = ("file",)

    def parse_uri(self, uri: str) -> BucketAddress:
        """Return the directory that a ``file://`` URI names.

        Examples
        --------
        >>> FilePlatform().parse_uri("file:///data/lake")
        BucketAddress(name='/data/lake', prefix='')
        """
        path = uri.partition("://")[2]
        parts = path.split("/")
        problem = None
        # What may be a password is not repeated.
        if any(character in path for character in "@?#"):
            raise InvalidNameError(
                "a file URI is 'file:///data/lake': a host, '@', '?' and '#' have no place in it, and there is no user"
            )
        if not path.startswith("/"):
            problem = "write the absolute path, with three slashes: file:///data/lake"
        elif any(part in (".", "..", "~") or part.startswith("~") for part in parts):
            problem = "no part of it may be '.', '..' or begin with '~'"
        elif "//" in path or not path.strip("/"):
            problem = "no two slashes in a row, and not the root of the file system"
        elif any(len(os.fsencode(part)) > _LONGEST_PART for part in parts if part.isprintable()):
            problem = f"no part of it may be longer than {_LONGEST_PART} bytes"
        elif any(character in path for character in "\\%") or not path.isprintable():
            problem = "no backslash, percent sign or control character"
        elif unicodedata.normalize("NFKC", path) != path or not _SLASH_ALIKE.isdisjoint(path):
            problem = "no character that looks like another one, such as a full-width dot or a division slash"
        if problem:
            raise InvalidNameError(f"{shown(uri)} is no valid file URI: {problem}")
        return BucketAddress(path.rstrip("/"), "")

    def identity(self, location: Location) -> StorageIdentity:
        """Return the real path, symbolic links resolved."""
        return StorageIdentity("file://", self.path(location).lstrip("/"))

    def path(self, location: Location) -> str:
        """Return the real, absolute path, which lies in the bucket's directory.

        Raises
        ------
        StorageError
            There is a symbolic link on the way: it may lead out, or to another repo.
        """
        if not location.bucket.startswith("/"):
            raise InvalidNameError(f"{shown(location.bucket)} is no absolute path: a file bucket is one")
        # The directory itself may be a link; below it, whoever makes one could move a repo onto another.
        root = os.path.realpath(location.bucket)
        path = str(Path(root, location.prefix))
        if os.path.realpath(path) != path:
            raise StorageError(f"{location.uri} goes through a symbolic link below {shown(root)}: remove the link")
        return path

    def filesystem(self, location: Location, credentials: Credentials) -> "AbstractFileSystem":
        """Return fsspec's LocalFileSystem."""
        from fsspec.implementations.local import LocalFileSystem

        require_anonymous(self.name, credentials)
        self.path(location)
        return LocalFileSystem(auto_mkdir=True, skip_instance_cache=True)

    def object_store(self, location: Location, credentials: CredentialProvider) -> ObjectStoreSpec:
        """Describe the directory."""
        return ObjectStoreSpec(protocol="file", prefix=self.path(location), credentials=credentials)

    async def probe(self, location: Location, credentials: CredentialProvider) -> ProbeReport:
        """Probe the directory; what it lacks for concurrent commits, a lock makes up for."""
        missing = _missing_directories(location)
        report = await probe_location(self, location, credentials, create=_create_file)
        _remove_empty(missing)
        report.safe_for_concurrent_writes = report.writable
        report.notes = [_LOCKED] if report.writable else []
        if missing and report.writable:
            report.notes.append(
                f"{missing[-1]} does not exist: the first repo makes it. Is the path right, and is the disk that it is meant for mounted?"
            )
        return report


def _create_file(path: str, body: bytes) -> None:
    """Write a file that must not be there yet; the operating system sees to that."""
    with Path(path).open("xb") as file:
        file.write(body)


def _missing_directories(location: Location) -> list[str]:
    """Return the directories that a first write to a location would make, the deepest first."""
    path = Path(os.path.realpath(Path(location.bucket, location.prefix)))
    return [str(directory) for directory in (path, *path.parents) if not os.path.lexists(directory)]


def _remove_empty(directories: list[str]) -> None:
    for directory in directories:
        with suppress(OSError):
            Path(directory).rmdir()


def require_anonymous(platform: str, credentials: Credentials) -> None:
    """Refuse credentials where there is nobody to show them to."""
    if not isinstance(credentials, AnonymousCredentials):
        raise CredentialsError(f"the platform {platform!r} takes no credentials: set auth_config={{'method': 'anonymous'}}")
