"""The part of the catalog's protocol that is about people: members, grants, API tokens, and the audit log."""

from typing import Protocol

from arraylake_core.models import Page
from arraylake_core.people import AuditEntry, Grant, IssuedToken, Login, Member, NewToken, Principal, Role, Token

__all__ = ["People"]


class People(Protocol):
    """Members, grants, API tokens and the audit log of organizations."""

    async def whoami(self) -> Principal:
        """Return who the caller is; in the process itself, an operator without a name."""
        ...

    async def list_members(self, org: str) -> list[Member]:
        """Return the members of an organization, by e-mail address."""
        ...

    async def set_member(self, org: str, email: str, role: Role | None) -> Member:
        """Make a person a member, or change a member's role; InUseError where the last admin would lose that role."""
        ...

    async def remove_member(self, org: str, user_id: str) -> None:
        """Remove a member, with the grants and tokens it has in the organization; InUseError for the last admin."""
        ...

    async def list_logins(self, org: str, user_id: str) -> list[Login]:
        """Return as whom a member logs in: with the organization's own provider, and, to operators, with those of the whole deployment."""
        ...

    async def forget_logins(self, org: str, user_id: str) -> None:
        """Forget them: the next login with the member's e-mail address is the member. NotFoundError where there are none."""
        ...

    async def list_grants(self, org: str, repo: str) -> list[Grant]:
        """Return who has a role on one repo above what membership gives, by e-mail address."""
        ...

    async def set_grant(self, org: str, repo: str, email: str, role: Role) -> Grant:
        """Give a person a role on a repo, or change it."""
        ...

    async def remove_grant(self, org: str, repo: str, user_id: str) -> None:
        """Take a person's grant on a repo away; NotFoundError where there is none."""
        ...

    async def list_tokens(self, org: str) -> list[Token]:
        """Return the API tokens of an organization that are neither revoked nor expired, newest first."""
        ...

    async def create_token(self, org: str, new: NewToken, *, email: str | None = None) -> IssuedToken:
        """Issue an API token.

        Parameters
        ----------
        org
            The organization that it is for.
        new
            What it may do.
        email
            The person that it acts for: the caller where it is None. Admins may name a member; such a token ends when its maker is no admin any more. In the
            process itself, where nobody is the caller, it must be given.

        Raises
        ------
        PermissionDeniedError
            It would do more than whoever creates it may.
        """
        ...

    async def revoke_token(self, org: str, token_id: str) -> None:
        """End an API token, and those that were made with it, at once."""
        ...

    async def list_audit(self, org: str, *, page: int = 1, size: int = 50) -> Page[AuditEntry]:
        """Return a page of the audit log, newest first."""
        ...
