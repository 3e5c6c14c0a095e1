"""The part of the catalog's protocol that is about webhooks."""

from collections.abc import Sequence
from typing import Protocol

from arraylake_core.webhooks import IssuedWebhook, Webhook

__all__ = ["Webhooks"]


class Webhooks(Protocol):
    """Where an organization's events are posted to; the service does that, as long as one runs on the catalog."""

    async def list_webhooks(self, org: str) -> list[Webhook]:
        """Return the webhooks of an organization, oldest first, without their secrets."""
        ...

    async def create_webhook(self, org: str, url: str, events: Sequence[str] = ()) -> IssuedWebhook:
        """Add a webhook for some types of event, or for all; its secret is shown this once."""
        ...

    async def delete_webhook(self, org: str, webhook_id: str) -> None:
        """Remove a webhook, and the messages on their way to it."""
        ...

    async def test_webhook(self, org: str, webhook_id: str) -> None:
        """Send a message of the type ``webhook.test`` to a webhook, whatever events it is for."""
        ...
