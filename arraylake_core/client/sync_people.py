"""The part of Client that is about people: the blocking twin of AsyncPeople, one line a method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arraylake_core.loops import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from arraylake_core.client.aio import AsyncClient
    from arraylake_core.models import Page, RepoModel
    from arraylake_core.people import AuditEntry, Grant, IssuedToken, Login, Member, Principal, Role, Token
    from arraylake_core.webhooks import IssuedWebhook, Webhook

__all__ = ["People"]


class People:
    """Members, grants, API tokens, the audit log and webhooks of a catalog's organizations."""

    @property
    def _aio(self) -> AsyncClient:
        raise NotImplementedError

    def whoami(self) -> Principal:
        """Tell who the client is to the catalog, and what it may do."""
        return run(self._aio.whoami())

    def list_members(self, org: str) -> list[Member]:
        """List the members of an organization, by e-mail address."""
        return run(self._aio.list_members(org))

    def set_member(self, org: str, email: str, role: Role | str | None) -> Member:
        """Make a person a member of an organization, or change a member's role."""
        return run(self._aio.set_member(org, email, role))

    def remove_member(self, org: str, user_id: str) -> None:
        """Remove a member, with the grants and tokens it has in the organization."""
        run(self._aio.remove_member(org, user_id))

    def list_logins(self, org: str, user_id: str) -> list[Login]:
        """List as whom a member logs in."""
        return run(self._aio.list_logins(org, user_id))

    def forget_logins(self, org: str, user_id: str) -> None:
        """Forget as whom a member logs in: the next login with the member's e-mail address is the member."""
        run(self._aio.forget_logins(org, user_id))

    def list_grants(self, name: str) -> list[Grant]:
        """List who has a role on a repo above what membership gives."""
        return run(self._aio.list_grants(name))

    def set_grant(self, name: str, email: str, role: Role | str) -> Grant:
        """Give a person a role on a repo, or change it."""
        return run(self._aio.set_grant(name, email, role))

    def remove_grant(self, name: str, user_id: str) -> None:
        """Take a person's grant on a repo away."""
        run(self._aio.remove_grant(name, user_id))

    def set_repo_visibility(self, name: str, *, public: bool) -> RepoModel:
        """Open a repo to everybody who is logged in to the service, for reading, or close it again."""
        return run(self._aio.set_repo_visibility(name, public=public))

    def list_tokens(self, org: str) -> list[Token]:
        """List API tokens, newest first: all of the organization's to its admins, to others their own."""
        return run(self._aio.list_tokens(org))

    def create_token(
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
        """Issue an API token, which is shown this once."""
        return run(self._aio.create_token(org, name, role=role, repos=repos, expires=expires, email=email, operator=operator))

    def revoke_token(self, org: str, token_id: str) -> None:
        """End an API token at once, and those that were made with it."""
        run(self._aio.revoke_token(org, token_id))

    def list_audit(self, org: str, *, page: int = 1, size: int = 50) -> Page[AuditEntry]:
        """List who did what in an organization, newest first."""
        return run(self._aio.list_audit(org, page=page, size=size))

    def list_webhooks(self, org: str) -> list[Webhook]:
        """List the webhooks of an organization, oldest first, with what waits to be posted to them."""
        return run(self._aio.list_webhooks(org))

    def create_webhook(self, org: str, url: str, *, events: Sequence[str] = ()) -> IssuedWebhook:
        """Add a webhook, to which the service posts what happens; its secret is shown this once."""
        return run(self._aio.create_webhook(org, url, events=events))

    def delete_webhook(self, org: str, webhook_id: str) -> None:
        """Remove a webhook, and the messages on their way to it."""
        run(self._aio.delete_webhook(org, webhook_id))

    def test_webhook(self, org: str, webhook_id: str) -> None:
        """Have a message of the type ``webhook.test`` posted to a webhook; whether it has arrived, ``list_webhooks`` shows."""
        run(self._aio.test_webhook(org, webhook_id))
