"""People, API tokens, and what they may do, as msgspec Structs."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec

from arraylake_core.errors import InvalidOptionError
from arraylake_core.models import utc_now
from arraylake_core.names import shown
from arraylake_core.secret import Secret

__all__ = [
    "AuditEntry",
    "Grant",
    "IssuedToken",
    "Login",
    "Member",
    "NewToken",
    "Principal",
    "Role",
    "Token",
    "User",
    "least",
    "parse_role",
    "validate_email",
]

MAX_EMAIL = 254


class Role(StrEnum):
    """What a member may do in an organization, or whoever has a grant with one repo; each may do what those before it may.

    A reader reads repos; a writer writes, creates and deletes them; an admin also manages bucket configs, members, grants, tokens and webhooks.
    """

    Reader = "reader"
    Writer = "writer"
    Admin = "admin"

    def covers(self, needed: "Role") -> bool:
        """Tell whether this role may do what another may.

        Examples
        --------
        >>> Role.Writer.covers(Role.Reader), Role.Writer.covers(Role.Admin)
        (True, False)
        """
        return _RANK[self] >= _RANK[needed]


_RANK = {role: rank for rank, role in enumerate(Role)}


def least(*roles: Role | None) -> Role | None:
    """Return the lowest of several roles; None, no role at all, is lower than every other.

    Examples
    --------
    >>> least(Role.Admin, Role.Reader), least(Role.Admin, None)
    (<Role.Reader: 'reader'>, None)
    """
    found = [role for role in roles if role is not None]
    return min(found, key=_RANK.__getitem__) if found and len(found) == len(roles) else None


def highest(*roles: Role | None) -> Role | None:
    """Return the highest of several roles; None where none of them is one.

    Examples
    --------
    >>> highest(None, Role.Reader), highest(None)
    (<Role.Reader: 'reader'>, None)
    """
    found = [role for role in roles if role is not None]
    return max(found, key=_RANK.__getitem__) if found else None


class User(msgspec.Struct, kw_only=True):
    """A person.

    Parameters
    ----------
    id
        A UUID.
    email
        In lower case; no two people have the same.
    operator
        Whether the person runs the deployment: makes organizations, and may do all in every one.
    """

    id: str
    email: str
    first_name: str = ""
    family_name: str = ""
    operator: bool = False
    created: datetime = msgspec.field(default_factory=utc_now)


class Member(msgspec.Struct, kw_only=True):
    """A person in an organization.

    Parameters
    ----------
    id
        The person's id.
    role
        None: a member that sees only what grants and public repos give.
    """

    id: str
    email: str
    role: Role | None = None
    created: datetime = msgspec.field(default_factory=utc_now)


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """As whom a person logs in: what an identity provider never gives to somebody else, unlike an e-mail address.

    Parameters
    ----------
    issuer, subject
        The provider, and what it calls the person.
    org
        The one organization that the provider speaks for; None is the whole deployment.
    created
        When the person logged in first.
    """

    issuer: str
    subject: str
    org: str | None = None
    created: datetime = msgspec.field(default_factory=utc_now)


class Grant(msgspec.Struct, kw_only=True):
    """A role that a person has on one repo, above what membership gives; the person need not be a member."""

    id: str
    email: str
    repo: str
    role: Role
    created: datetime = msgspec.field(default_factory=utc_now)


class NewToken(msgspec.Struct, kw_only=True):
    """What a new API token shall be.

    Parameters
    ----------
    name
        What it is for, such as ``nightly-ingest``: 1 to 100 characters.
    role
        What it may do at most; whoever creates it must have that role, and it never does more than that person may.
    repos
        Names of the repos that it is for; None is for all of the organization.
    expires
        When it ends; None is never.
    operator
        Whether it is for every organization of the deployment: operators only.
    """

    name: str
    role: Role = Role.Writer
    repos: list[str] | None = None
    expires: datetime | None = None
    operator: bool = False


class Token(msgspec.Struct, kw_only=True):
    """An API token, without the token itself, which is kept by nobody but its owner.

    Parameters
    ----------
    id
        A UUID: the principal's id.
    created_by
        The e-mail address of the person whose rights it is bound by.
    last_used
        To the hour.
    """

    id: str
    name: str
    role: Role
    repos: list[str] | None = None
    email: str = ""
    created: datetime = msgspec.field(default_factory=utc_now)
    created_by: str = ""
    expiration: datetime | None = None
    last_used: datetime | None = None


class IssuedToken(Token, kw_only=True):
    """A token that was just created, with the token itself: it is shown this once."""

    token: Secret


class Principal(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request, and the rights that it has.

    Parameters
    ----------
    id
        A UUID: of the person, or of the API token.
    user_id
        The person, also where a token acts for one.
    email, name
        For logs, commits and answers.
    is_token
        Whether it is an API token.
    roles
        The role in each organization that it belongs to, by name: those of the person, a token's limited to what the token may.
    grants
        The role on single repos, by their ids, limited likewise.
    repos
        The ids of the only repos that it may see; None: no such limit.
    operator
        Whether it may do all in every organization.
    expiration
        When the token ends.
    """

    id: str
    user_id: str
    email: str
    name: str = ""
    first_name: str = ""
    family_name: str = ""
    is_token: bool = False
    roles: Mapping[str, Role | None] = msgspec.field(default_factory=dict)
    grants: Mapping[str, Role] = msgspec.field(default_factory=dict)
    repos: frozenset[str] | None = None
    operator: bool = False
    expiration: datetime | None = None

    def belongs_to(self, org: str) -> bool:
        """Tell whether it may know that an organization exists."""
        return self.operator or org in self.roles

    def role_in(self, org: str) -> Role | None:
        """Return its role on an organization as a whole; a token for single repos has none above reader."""
        if self.operator:
            return Role.Admin
        role = self.roles.get(org)
        return None if self.repos is not None else role

    def role_on(self, org: str, repo_id: str, *, public: bool = False) -> Role | None:
        """Return its role on a repo; None: the repo is hidden from it."""
        if self.operator:
            return Role.Admin
        if self.repos is not None and repo_id not in self.repos:
            return None
        return highest(self.roles.get(org), self.grants.get(repo_id), Role.Reader if public else None)


class AuditEntry(msgspec.Struct, kw_only=True):
    """One line of the audit log: who did what, when.

    Parameters
    ----------
    action
        The name of the route's operation, such as ``delete_repo``.
    target
        What it was done to, such as ``org/repo``.
    """

    id: int
    time: datetime
    principal_id: str
    principal: str
    action: str
    target: str
    request_id: str = ""


def parse_role(value: str | None) -> Role | None:
    """Read a role as users write it; ``none`` and None are no role.

    Examples
    --------
    >>> parse_role("admin"), parse_role("none")
    (<Role.Admin: 'admin'>, None)
    """
    if value is None or value == "none":
        return None
    if value not in {*Role}:
        raise InvalidOptionError(f"{shown(value)} is no role: take none, {', '.join(Role)}")
    return Role(value)


def validate_email(email: str) -> str:
    """Check an e-mail address, and return it in lower case.

    Examples
    --------
    >>> validate_email("Ada@Example.org")
    'ada@example.org'
    """
    local, at, domain = email.rpartition("@") if isinstance(email, str) else ("", "", "")
    plain = isinstance(email, str) and email.isascii() and email.isprintable() and not any(c in email for c in ' "(),:;<>[\\]')
    if not plain or not at or not local or "." not in domain.strip(".") or len(email) > MAX_EMAIL or "@" in local:
        raise InvalidOptionError(f"{shown(email)} is no e-mail address: write name@example.org")
    return email.lower()
