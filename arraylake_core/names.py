"""What a valid org, repo, nickname, bucket, prefix and ref name is.

Every check raises InvalidNameError with the rule that was broken, and returns the name, so that it can be used in passing.
Only ASCII is taken: two names that look alike on a screen are never two names here.
"""

import re
import secrets
from collections.abc import Iterable
from typing import NamedTuple

from arraylake_core.errors import InvalidNameError

__all__ = [
    "LONGEST_KEY",
    "RepoName",
    "generate_prefix",
    "join_prefix",
    "parse_repo_name",
    "shown",
    "suggestion",
    "validate_bucket_name",
    "validate_key",
    "validate_nickname",
    "validate_org",
    "validate_prefix",
    "validate_ref",
    "validate_repo",
]

LONGEST_KEY = 1024
"""In characters: what S3, GCS and Azure take."""

MAX_NAME = 100
MAX_PREFIX = 256
MAX_REF = 256

# Words that a web application in front of the catalog uses as routes of its own.
RESERVED_REPO_NAMES = frozenset(
    {"admin", "api", "audit", "billing", "buckets", "import", "login", "logout", "members", "new", "repos", "settings"}
)

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z", re.ASCII)
_BUCKET = re.compile(r"[A-Za-z0-9_.-]+\Z", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9_.=/-]*\Z", re.ASCII)
_KEY = re.compile(r"[A-Za-z0-9_.=+@~/-]+\Z", re.ASCII)
_REF = re.compile(r"[A-Za-z0-9_.=+@/-]+\Z", re.ASCII)
_PREFIX_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


class RepoName(NamedTuple):
    """A full repo name in its two parts."""

    org: str
    repo: str

    def __str__(self) -> str:
        return f"{self.org}/{self.repo}"


def shown(value: object) -> str:
    """Return a value as an error message shows it: quoted, escaped to ASCII, and cut to 60 characters.

    Examples
    --------
    >>> shown("a" * 300)
    "'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…' (300 characters)"
    """
    if not isinstance(value, str):
        return f"a {type(value).__name__}"
    return ascii(value) if len(value) <= 60 else f"{ascii(value[:60])[:-1]}…' ({len(value)} characters)"


def _named(value: str, what: str, pattern: re.Pattern[str], rule: str, shortest: int, longest: int) -> str:
    if not isinstance(value, str) or not pattern.match(value) or ".." in value:
        raise InvalidNameError(f"{shown(value)} is no valid {what}: {rule}")
    if not shortest <= len(value) <= longest:
        raise InvalidNameError(
            f"{shown(value)} is no valid {what}: it has {len(value)} characters, allowed are {shortest} to {longest}"
        )
    return value


_NAME_RULE = "use ASCII letters, digits, '_', '-' and '.', no '..', and start with a letter, a digit or '_'"


def validate_org(org: str) -> str:
    """Check the name of an organization.

    Examples
    --------
    >>> validate_org("me")
    'me'
    """
    return _named(org, "organization name", _NAME, _NAME_RULE, 2, MAX_NAME)


def validate_repo(repo: str, *, new: bool = False) -> str:
    """Check the name of a repo, without its organization.

    Parameters
    ----------
    repo
        The name.
    new
        Whether the repo is about to be named so: some words are kept back for routes.
    """
    _named(repo, "repo name", _NAME, _NAME_RULE, 2, MAX_NAME)
    if new and repo.lower() in RESERVED_REPO_NAMES:
        raise InvalidNameError(f"{shown(repo)} is kept for the service's own pages: choose another repo name")
    return repo


def parse_repo_name(name: str, *, new: bool = False) -> RepoName:
    """Take a full repo name apart.

    Parameters
    ----------
    name
        ``org/repo``.
    new
        Whether the repo is about to be named so.

    Raises
    ------
    InvalidNameError
        The name has no organization, too many slashes, or a part breaks the rules.

    Examples
    --------
    >>> parse_repo_name("me/ocean")
    RepoName(org='me', repo='ocean')
    """
    org, slash, repo = name.partition("/") if isinstance(name, str) else ("", "", "")
    if not slash:
        hint = f", for example 'me/{name}'" if isinstance(name, str) and _NAME.match(name) and len(name) < 60 else ""
        raise InvalidNameError(f"{shown(name)} names no organization: write the full name, 'org/repo'{hint}")
    if "/" in repo:
        raise InvalidNameError(f"{shown(name)} has more than one slash: a full repo name is 'org/repo'")
    return RepoName(validate_org(org), validate_repo(repo, new=new))


def validate_nickname(nickname: str) -> str:
    """Check the nickname of a bucket config."""
    return _named(nickname, "bucket nickname", _NAME, _NAME_RULE, 3, 64)


def validate_bucket_name(name: str) -> str:
    """Check the name of a bucket in an object store."""
    return _named(name, "bucket name", _BUCKET, "use ASCII letters, digits, '_', '-' and '.', no '..'", 3, 63)


def validate_prefix(prefix: str, *, longest: int = MAX_PREFIX) -> str:
    """Check a key prefix, which may be empty.

    The rules keep a prefix the same string for every store, URL library and policy language, so that it can't escape from where it is put.
    """
    problem = None
    if not isinstance(prefix, str) or not _PREFIX.match(prefix):
        problem = "use ASCII letters, digits, '_', '-', '.', '=' and '/'"
    elif len(prefix) > longest:
        problem = f"it has {len(prefix)} characters, allowed are {longest}"
    else:
        problem = _leads_out(prefix)
    if problem:
        raise InvalidNameError(f"{shown(prefix)} is no valid prefix: {problem}")
    return prefix


def validate_key(key: str) -> str:
    """Check the key of an object, relative to the place of a repo: by the rules of prefixes, with the few more characters that names of refs have.

    Examples
    --------
    >>> validate_key("refs/tag/v1.0+x=y@z~")
    'refs/tag/v1.0+x=y@z~'
    """
    if not isinstance(key, str) or not _KEY.match(key):
        problem: str | None = "use ASCII letters, digits, '_', '-', '.', '=', '+', '@', '~' and '/'"
    else:
        problem = _leads_out(key)
    if problem:
        raise InvalidNameError(f"{shown(key)} is no valid key: {problem}")
    return key


def _leads_out(path: str) -> str | None:
    """Return what of a path could mean another place to some store, URL library or policy language."""
    if path.startswith("/") or path.endswith("/") or "//" in path:
        return "no slash at either end, and no two in a row"
    if any(part.strip(".") == "" for part in path.split("/") if path) or ".." in path:
        return "no part of it may be made of dots, and '..' may not occur"
    return None


def validate_ref(name: str) -> str:
    """Check the name of a ref in the catalog: a branch, a tag, a session."""
    _named(name, "ref name", _REF, "use ASCII letters, digits and '_-.=+@/', no '..'", 1, MAX_REF)
    if name.startswith("/") or name.endswith("/") or "//" in name:
        raise InvalidNameError(f"{shown(name)} is no valid ref name: no slash at either end, and no two in a row")
    return name


def join_prefix(*parts: str) -> str:
    """Join prefixes, leaving out the empty ones.

    Examples
    --------
    >>> join_prefix("", "team", "ocean")
    'team/ocean'
    """
    return "/".join(part for part in parts if part)


def generate_prefix() -> str:
    """Return a new prefix of 20 random characters of [a-z0-9]: about 103 bits, so that no two are ever the same."""
    return "".join(secrets.choice(_PREFIX_ALPHABET) for _ in range(20))


def suggestion(name: str, existing: Iterable[str]) -> str:
    """Return ``: did you mean 'x'?`` where a name that exists is close.

    Examples
    --------
    >>> suggestion("oceam", ["ocean", "land"])
    ": did you mean 'ocean'?"
    """
    from difflib import get_close_matches

    close = get_close_matches(name, list(existing), n=1)
    return f": did you mean {close[0]!r}?" if close else ""
