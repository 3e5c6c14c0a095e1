"""Every error that arraylake-core raises, in one hierarchy.

Ordered by what the caller can do about it::

    ArraylakeError
    ├── InvalidNameError            (also a ValueError)  spell the name differently
    ├── InvalidOptionError          (also a ValueError)  correct the option
    ├── NotFoundError                                    check the name, or create it
    │   ├── OrgNotFoundError        (also a ValueError)
    │   ├── RepoNotFoundError       (also a ValueError)
    │   ├── BucketConfigNotFoundError (also a ValueError)
    │   └── RefNotFoundError        (also a KeyError)
    ├── AlreadyExistsError          (also a ValueError)  choose another name
    ├── InUseError                  (also a ValueError)  remove the users of it first
    ├── ConfirmationError           (also a ValueError)  confirm, with imsure and imreallysure
    ├── ConflictError                                    read again, and retry
    │   └── CommitConflictError                          resolve the paths it lists
    ├── ReadOnlyError                                    open it writable
    ├── AuthenticationError                              log in
    ├── PermissionDeniedError                            ask an admin
    ├── CredentialsError                                 mend the bucket's auth_config
    ├── PluginError
    │   ├── PluginNotFoundError     (also a ValueError)  install the extra that it names
    │   ├── PluginLoadError                              mend or remove the plugin
    │   └── PluginConflictError                          set plugins.prefer
    ├── StorageError                                     look at the bucket
    ├── CatalogError                                     look at the catalog's file, version or key
    └── ServiceError                                     look at the service

A message says what was asked, what was found, and the next step. All of them pickle, so that they cross process boundaries.
"""

from collections.abc import Mapping, Sequence

__all__ = [
    "AlreadyExistsError",
    "ArraylakeError",
    "AuthenticationError",
    "BucketConfigNotFoundError",
    "CatalogError",
    "CommitConflictError",
    "ConfirmationError",
    "ConflictError",
    "CredentialsError",
    "InUseError",
    "InvalidNameError",
    "InvalidOptionError",
    "NotFoundError",
    "OrgNotFoundError",
    "PermissionDeniedError",
    "PluginConflictError",
    "PluginError",
    "PluginLoadError",
    "PluginNotFoundError",
    "ReadOnlyError",
    "RefNotFoundError",
    "RepoNotFoundError",
    "ServiceError",
    "StorageError",
]


class ArraylakeError(Exception):
    """The root: catch this to catch everything that arraylake-core raises on purpose."""

    def __str__(self) -> str:
        """Return the message itself, also where KeyError would quote it."""
        return str(self.args[0]) if self.args else ""


class InvalidNameError(ArraylakeError, ValueError):
    """A name, prefix or URI breaks the rules for its kind."""


class InvalidOptionError(ArraylakeError, ValueError):
    """An option is unknown, has the wrong type, or a value out of range."""


class NotFoundError(ArraylakeError):
    """What was asked for does not exist, or is hidden from the caller."""


class OrgNotFoundError(NotFoundError, ValueError):
    """No such organization."""


class RepoNotFoundError(NotFoundError, ValueError):
    """No such repo."""


class BucketConfigNotFoundError(NotFoundError, ValueError):
    """No such bucket config, or none at all where a default was needed."""


class RefNotFoundError(NotFoundError, KeyError):
    """No such branch, tag or commit."""


class AlreadyExistsError(ArraylakeError, ValueError):
    """The name, or the place in storage, is taken."""


class InUseError(ArraylakeError, ValueError):
    """It can't be changed or deleted while others use it."""


class ConfirmationError(ArraylakeError, ValueError):
    """A destructive call came without both of its confirmations."""


class ConflictError(ArraylakeError):
    """Somebody else changed it first."""


class CommitConflictError(ConflictError):
    """Two commits changed the same thing.

    Parameters
    ----------
    message
        What conflicted, and the next step.
    paths
        Each conflicting path, with what each side did to it.
    """

    def __init__(self, message: str = "", paths: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__(message)
        self.paths: dict[str, list[str]] = {path: list(what) for path, what in (paths or {}).items()}


class ReadOnlyError(ArraylakeError):
    """A write through a read-only repo or checkout."""


class AuthenticationError(ArraylakeError):
    """Nobody is logged in, or the token is no longer good."""


class PermissionDeniedError(ArraylakeError):
    """The principal lacks the role that this needs."""


class CredentialsError(ArraylakeError):
    """No valid credentials for a bucket could be had."""


class PluginError(ArraylakeError):
    """Something about a plugin."""


class PluginNotFoundError(PluginError, ValueError):
    """No installed plugin provides the name."""


class PluginLoadError(PluginError):
    """The plugin is installed, but can't be used."""


class PluginConflictError(PluginError):
    """Two distributions claim the same name."""


class StorageError(ArraylakeError):
    """The bucket or file system refused or failed."""


class CatalogError(ArraylakeError):
    """The catalog can't be used as it is: a newer version, a wrong key, a damaged or unwritable file."""


class ServiceError(ArraylakeError):
    """The service answered with an error.

    Parameters
    ----------
    message
        What the service said, and the next step.
    status
        The HTTP status, or None where no answer came.
    request_id
        The ``x-request-id`` of the answer, to be quoted to the operator.
    """

    def __init__(self, message: str = "", status: int | None = None, request_id: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.request_id = request_id
