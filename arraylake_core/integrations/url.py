"""Names of what lies in repos: ``al://org/repo@ref/group/array``."""

from typing import NamedTuple, Self
from urllib.parse import quote, unquote

from arraylake_core.errors import InvalidNameError
from arraylake_core.names import shown, validate_org, validate_repo

__all__ = ["PROTOCOL", "RepoUrl"]

PROTOCOL = "al"

# What a ref may have as it is; a slash, and what else means something in a URL or in a glob, is percent-encoded.
_LITERAL = "@+="


class RepoUrl(NamedTuple):
    """What an ``al://`` URL names: all organizations, one of them, a repo, or a group, an array or a key in it.

    Parameters
    ----------
    org, repo
        The two parts of the repo's full name; empty where the URL ends before.
    ref
        A branch, a tag or the id of a commit; None is ``main``.
    path
        The group, array or key in the repo; "" is the root.

    Examples
    --------
    >>> print(RepoUrl("me", "ocean", "feature/tides", "daily"))
    al://me/ocean@feature%2Ftides/daily
    >>> RepoUrl.parse("al://me/ocean@v1/daily").ref
    'v1'
    """

    org: str = ""
    repo: str = ""
    ref: str | None = None
    path: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Take a URL apart.

        Parameters
        ----------
        url
            With or without ``al://``. In the ref, ``%2F`` is a slash; the path is taken as it is.

        Raises
        ------
        InvalidNameError
            A name breaks its rules, or the path could lead out of the repo.
        """
        org, _, rest = url.removeprefix(f"{PROTOCOL}://").strip("/").partition("/")
        if not org:
            return cls()
        validate_org(org)
        named, _, path = rest.partition("/")
        if not named:
            return cls(org)
        repo, at, encoded = named.partition("@")
        validate_repo(repo)
        return cls(org, repo, _decoded(encoded, url) if at else None, _checked(path, url))

    @property
    def full_name(self) -> str:
        """The repo's full name, ``org/repo``."""
        return f"{self.org}/{self.repo}"

    @property
    def version(self) -> str:
        """The repo and the ref, as the URL has them."""
        return self.full_name if self.ref is None else f"{self.full_name}@{quote(self.ref, safe=_LITERAL)}"

    def __str__(self) -> str:
        return f"{PROTOCOL}://" + "/".join(part for part in (self.version if self.repo else self.org, self.path) if part)


def _decoded(ref: str, url: str) -> str:
    if not ref:
        raise InvalidNameError(f"{shown(url)} names no ref after the '@': write al://org/repo@main, or leave the '@' out")
    try:
        return unquote(ref, errors="strict")
    except UnicodeDecodeError:
        raise InvalidNameError(f"the ref in {shown(url)} is no UTF-8 in percent-encoding") from None


def _checked(path: str, url: str) -> str:
    if (path and any(part in ("", ".", "..") for part in path.split("/"))) or "\0" in path:
        raise InvalidNameError(
            f"{shown(url)} is no path in a repo: its parts are joined by single slashes, and none is '.' or '..'"
        )
    return path
