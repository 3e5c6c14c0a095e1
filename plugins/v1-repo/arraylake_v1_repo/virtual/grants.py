"""Which source files may be read: those below a granted URL prefix, spelled in one way only."""

import os
from collections.abc import Sequence
from urllib.parse import unquote

import msgspec

from arraylake_core.backends import VirtualSource
from arraylake_core.errors import PermissionDeniedError
from arraylake_core.names import shown

__all__ = ["GrantedFile", "find_grant", "granted_path", "shown_url"]


class GrantedFile(msgspec.Struct, frozen=True):
    """A source file, and the grant that it is read by.

    Parameters
    ----------
    url
        The file, as its references name it.
    grant
        The granted prefix, and where it is read.
    key
        The file's key below the prefix.
    """

    url: str
    grant: VirtualSource
    key: str


def find_grant(url: str, grants: Sequence[VirtualSource]) -> GrantedFile:
    """Return the grant with the longest prefix that a URL lies below, and the key below it.

    Raises
    ------
    PermissionDeniedError
        There is none, or the URL is spelled so that it may lead elsewhere.
    """
    matching = [grant for grant in grants if url.startswith(_directory(grant.prefix))]
    if not matching:
        raise _denied(url, grants)
    grant = max(matching, key=lambda one: len(one.prefix))
    key = url[len(_directory(grant.prefix)) :]
    # Only file URLs are percent-encoded (RFC 8089): in an object store's key a "%" is a "%".
    encoded = grant.store.protocol == "file"
    parts = [unquote(part, errors="surrogateescape") if encoded else part for part in key.split("/")]
    if problem := _problem(parts):
        raise PermissionDeniedError(
            f"the source file {shown_url(url)} is not read: {problem}. Spell its path as it is, below {grant.prefix}"
        )
    return GrantedFile(url, grant, "/".join(parts))


def granted_path(file: GrantedFile) -> str:
    """Return the real path of a local source file, which must not leave the granted directory by symbolic links.

    Raises
    ------
    PermissionDeniedError
        It does.
    """
    root = os.path.realpath(file.grant.store.prefix)
    path = os.path.realpath(f"{root}/{file.key}")
    if not path.startswith(root.rstrip("/") + "/"):
        raise PermissionDeniedError(
            f"the source file {shown_url(file.url)} is not read: a symbolic link leads out of {file.grant.prefix}, which is all that "
            "was granted. Grant the directory that the link leads to, and add the file by its path there"
        )
    return path


def _directory(prefix: str) -> str:
    return prefix.rstrip("/") + "/"


def _problem(parts: Sequence[str]) -> str | None:
    """Tell what is wrong with the path, where each of its parts must be the plain name of a file or directory."""
    for part in parts:
        plain = part
        while (decoded := unquote(plain)) != plain:
            plain = decoded
        if part == "":
            return "its path has an empty part"
        if plain in (".", ".."):
            return f"its path has the part {shown(part)}"
        if "/" in part or "\\" in plain or not plain.isprintable():
            return f"its path has the part {shown(part)}, with a character that is no part of a name"
    return None


def _denied(url: str, grants: Sequence[VirtualSource]) -> PermissionDeniedError:
    granted = ", ".join(grant.prefix for grant in grants) or "nothing"
    scheme, separator, rest = url.partition("://")
    example = f"{scheme}://{rest.rpartition('/')[0]}/" if separator else "file:///data/"
    return PermissionDeniedError(
        f"the source file {shown_url(url)} is not read: what is granted for virtual chunks is {granted}. Grant a prefix of it with the "
        f"bucket config that opens it: create_repo(…, virtual_chunk_containers={{{example!r}: 'nickname'}}), or, where the repo has "
        f"that container already, get_repo(…, authorize_virtual_chunk_access={{{example!r}: 'nickname'}})"
    )


def shown_url(url: str) -> str:
    """Return a URL as an error message shows it, whole where its length allows."""
    return ascii(url) if len(url) <= 500 else shown(url)
