"""The part of AsyncClient that is about people and what is told to them: members, grants, API tokens, the audit log, webhooks."""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from arraylake_core.errors import InvalidOptionError, NotFoundError
from arraylake_core.models import Page, RepoModel
from arraylake_core.names import parse_repo_name
from arraylake_core.people import (
    AuditEntry,
    Grant,
    IssuedToken,
    Login,
    Member,
    NewToken,
    Principal,
    Role,
    Token,
    parse_role,
    validate_email,
)

if TYPE_CHECKING:
    from arraylake_core.catalog.base import Catalog
    from arraylake_core.webhooks import IssuedWebhook, Webhook

__all__ = ["AsyncPeople"]


class AsyncPeople:
    """Members, grants, API tokens, the audit log and webhooks of a catalog's organizations."""

    _catalog: "Catalog"

    async def whoami(self) -> Principal:
        """Tell who the client is to the catalog, and what it may do; on the embedded catalog, an operator without a name."""
        return await self._catalog.whoami()

    async def list_members(self, org: str) -> list[Member]:
        """List the members of an organization, by e-mail address.

        Parameters
        ----------
        org
            Name of the organization.
        """
        return await self._catalog.list_members(org)

    async def set_member(self, org: str, email: str, role: Role | str | None) -> Member:
        """Make a person a member of an organization, or change a member's role.

        Parameters
        ----------
        org
            Name of the organization.
        email
            The person.
        role
            ``"reader"``, ``"writer"`` or ``"admin"``; None: a member that sees only what grants and public repos give.

        Raises
        ------
        InUseError
            The last admin would lose that role.
        """
        return await self._catalog.set_member(org, email, parse_role(role))

    async def remove_member(self, org: str, user_id: str) -> None:
        """Remove a member, with the grants and tokens it has in the organization.

        Parameters
        ----------
        org
            Name of the organization.
        user_id
            The member's id, or e-mail address.
        """
        await self._catalog.remove_member(org, await self._member_id(org, user_id))

    async def list_logins(self, org: str, user_id: str) -> list[Login]:
        """List as whom a member logs in: with the organization's own identity provider, and, to operators, with those of the whole deployment.

        Parameters
        ----------
        org
            Name of the organization.
        user_id
            The member's id, or e-mail address.
        """
        return await self._catalog.list_logins(org, await self._member_id(org, user_id))

    async def forget_logins(self, org: str, user_id: str) -> None:
        """Forget as whom a member logs in: the next login with the member's e-mail address is the member.

        For somebody whose account at the identity provider was made anew. Where the address is another person's now, remove the member instead.

        Parameters
        ----------
        org
            Name of the organization.
        user_id
            The member's id, or e-mail address.
        """
        await self._catalog.forget_logins(org, await self._member_id(org, user_id))

    async def _member_id(self, org: str, user_id: str) -> str:
        return _id_of(await self._catalog.list_members(org), user_id, f"a member of {org!r}") if "@" in str(user_id) else user_id

    async def list_grants(self, name: str) -> list[Grant]:
        """List who has a role on a repo above what membership gives.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        """
        return await self._catalog.list_grants(*parse_repo_name(name))

    async def set_grant(self, name: str, email: str, role: Role | str) -> Grant:
        """Give a person a role on a repo, or change it.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        email
            The person, who need not be a member.
        role
            ``"reader"``, ``"writer"`` or ``"admin"``.
        """
        return await self._catalog.set_grant(*parse_repo_name(name), email, _a_role(role))

    async def remove_grant(self, name: str, user_id: str) -> None:
        """Take a person's grant on a repo away.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        user_id
            The person's id, or e-mail address.
        """
        repo = parse_repo_name(name)
        if "@" in str(user_id):
            user_id = _id_of(await self._catalog.list_grants(*repo), user_id, f"granted a role on {name}")
        await self._catalog.remove_grant(*repo, user_id)

    async def set_repo_visibility(self, name: str, *, public: bool) -> RepoModel:
        """Open a repo to everybody who is logged in to the service, for reading, or close it again.

        Parameters
        ----------
        name
            Full name of the repo, ``org/repo``.
        public
            Whether everybody who is logged in may read it.
        """
        visibility = "AUTHENTICATED_PUBLIC" if public else "PRIVATE"
        return await self._catalog.modify_repo(*parse_repo_name(name), visibility=visibility)

    async def list_tokens(self, org: str) -> list[Token]:
        """List API tokens, newest first: all of the organization's to its admins, to others their own.

        Parameters
        ----------
        org
            Name of the organization.
        """
        return await self._catalog.list_tokens(org)

    async def create_token(
        self,
        org: str,
        name: str,
        *,
        role: Role | str = "writer",
        repos: Sequence[str] | None = None,
        expires: datetime | None = None,
        email: str | None = None,
        operator: bool = False,
    ) -> IssuedToken:
        """Issue an API token, which is shown this once: ``token.reveal()`` of the answer.

        Parameters
        ----------
        org
            Name of the organization.
        name
            What it is for; 1 to 100 characters.
        role
            What it may do at most; it never does more than the person it acts for may.
        repos
            Names of the only repos that it is for, with or without the organization; None: all of them.
        expires
            When it ends, with a time zone; None: never.
        email
            The person it acts for; None: the caller. Admins may name a member; such a token ends when its maker is no admin any more. On the embedded catalog,
            where nobody is the caller, it must be given.
        operator
            Whether it is for every organization of the deployment, which only operators may ask for.
        """
        only = None if repos is None else [str(repo).removeprefix(f"{org}/") for repo in repos]
        new = NewToken(name=name, role=_a_role(role), repos=only, expires=expires, operator=operator)
        return await self._catalog.create_token(org, new, email=email)

    async def revoke_token(self, org: str, token_id: str) -> None:
        """End an API token at once, and those that were made with it.

        Parameters
        ----------
        org
            Name of the organization.
        token_id
            Its id.
        """
        await self._catalog.revoke_token(org, token_id)

    async def list_audit(self, org: str, *, page: int = 1, size: int = 50) -> Page[AuditEntry]:
        """List who did what in an organization, newest first.

        Parameters
        ----------
        org
            Name of the organization.
        page, size
            The page, from 1, and how many on it, 1 to 100.
        """
        return await self._catalog.list_audit(org, page=page, size=size)

    async def list_webhooks(self, org: str) -> "list[Webhook]":
        """List the webhooks of an organization, oldest first, with what waits to be posted to them.

        Parameters
        ----------
        org
            Name of the organization.
        """
        return await self._catalog.list_webhooks(org)

    async def create_webhook(self, org: str, url: str, *, events: Sequence[str] = ()) -> "IssuedWebhook":
        """Add a webhook, to which the service posts what happens; its secret, by which receivers check that, is shown this once: ``secret.reveal()``.

        Parameters
        ----------
        org
            Name of the organization.
        url
            An https URL, outside of the service's own network.
        events
            The types of event to post, such as ``repo.created``; none: all of them.
        """
        return await self._catalog.create_webhook(org, url, events)

    async def delete_webhook(self, org: str, webhook_id: str) -> None:
        """Remove a webhook, and the messages on their way to it.

        Parameters
        ----------
        org
            Name of the organization.
        webhook_id
            Its id.
        """
        await self._catalog.delete_webhook(org, webhook_id)

    async def test_webhook(self, org: str, webhook_id: str) -> None:
        """Have a message of the type ``webhook.test`` posted to a webhook; whether it has arrived, ``list_webhooks`` shows.

        Parameters
        ----------
        org
            Name of the organization.
        webhook_id
            Its id.
        """
        await self._catalog.test_webhook(org, webhook_id)


def _a_role(role: Role | str) -> Role:
    found = parse_role(role)
    if found is None:
        raise InvalidOptionError(f"this needs a role: take {', '.join(Role)}")
    return found


def _id_of(people: Sequence[Member | Grant], email: str, what: str) -> str:
    """Return the id of the one among some people who has this e-mail address; NotFoundError says what nobody with it is."""
    address = validate_email(email)
    for person in people:
        if person.email == address:
            return person.id
    raise NotFoundError(f"{address} is not {what}")
