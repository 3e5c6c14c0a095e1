"""What Icechunk raises, in the words and classes of arraylake-core."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import icechunk

from arraylake_core.errors import (
    AlreadyExistsError,
    ArraylakeError,
    CommitConflictError,
    ConflictError,
    CredentialsError,
    ReadOnlyError,
    RefNotFoundError,
    StorageError,
)

__all__ = ["translate", "translated"]

_REFUSED = re.compile(
    r"AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|Forbidden|\b403\b|Unauthorized|\b401\b|CredentialsError"
)
_NO_PAYER = re.compile(r"requester pays|user ?project", re.IGNORECASE)
_FULL = re.compile(r"No space left|Disk quota|os error 28|os error 122")
_READ_ONLY = re.compile(r"Read-only file system|Permission denied|os error 30|os error 13")


@contextmanager
def translated(name: str, place: str) -> Iterator[None]:
    """Raise what Icechunk raises inside as an ArraylakeError that names the repo and its place."""
    try:
        yield
    except icechunk.IcechunkError as error:
        raise translate(error, name, place) from error


def translate(error: icechunk.IcechunkError, name: str, place: str) -> ArraylakeError:
    """Return the ArraylakeError for an error of Icechunk.

    Parameters
    ----------
    error
        What Icechunk raised.
    name
        The full name of the repo.
    place
        The URI of its place.
    """
    kind, said = str(error.kind), str(error).split("\n", 1)[0]
    match error:
        case icechunk.RebaseFailedError():
            paths = {str(conflict.path): [_conflict(conflict)] for conflict in error.conflicts}
            listed = "; ".join(f"{path}: {what[0]}" for path, what in list(paths.items())[:5])
            return CommitConflictError(
                f"the branch of {name} has moved, and both sides changed the same: {listed}. Your changes are still in the "
                "checkout: read what you need from it, then repo.checkout() the new head and apply them there",
                paths,
            )
        case icechunk.ConflictError():
            return ConflictError(f"somebody else changed {name} first ({said}): read it again, and retry")
        case icechunk.RepositoryNotFoundError():
            return StorageError(
                f"{name} is in the catalog, but there is no Icechunk repository at {place}: was it moved or deleted? "
                "Put the objects back, or delete the record with delete_repo"
            )
        case icechunk.RefNotFoundError() | icechunk.SnapshotNotFoundError():
            return RefNotFoundError(f"{name} has no such branch, tag or commit: {said}")
        case icechunk.AlreadyExistsError():
            return AlreadyExistsError(f"{name}: {said}")
        case icechunk.ReadOnlyError():
            return ReadOnlyError(f"{name} is read-only here: {said}")
    if kind == "parent-directory-not-clean":
        return AlreadyExistsError(
            f"there are objects at {place} already: choose another prefix, or take what is there with import_repo"
        )
    if kind == "unsupported-spec-version":
        return StorageError(f"the repository at {place} was written by a newer Icechunk: upgrade the icechunk package ({said})")
    text = str(error)
    if _FULL.search(text):
        return StorageError(f"no space is left at {place}: nothing was committed; make room, then try again")
    if _READ_ONLY.search(text):
        return StorageError(f"{place} can't be written to: nothing was committed; make it writable, then try again")
    if _NO_PAYER.search(text):
        return StorageError(
            f"who requests anything at {place} pays for it, and Icechunk has no way to say who that is: take a V1 repo, or another bucket"
        )
    if _REFUSED.search(text):
        return CredentialsError(
            f"the store refused the credentials for {place}: check the bucket config's auth_config with `arraylake-core bucket probe`"
        )
    return StorageError(f"Icechunk failed on {name} at {place}: {said}")


def _conflict(conflict: icechunk.Conflict) -> str:
    chunks = conflict.conflicted_chunks
    what = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", str(conflict.conflict_type).rsplit(".", 1)[-1]).replace("_", " ").lower()
    return f"{what}, chunks {chunks[:5]}{'…' if len(chunks) > 5 else ''}" if chunks else what
