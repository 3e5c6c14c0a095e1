"""Webhooks of a service."""

from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from arraylake_core.catalog.http_decoding import decoded
from arraylake_core.catalog.http_transport import Transport
from arraylake_core.names import validate_org
from arraylake_core.secret import Secret
from arraylake_core.webhooks import IssuedWebhook, Webhook

__all__ = ["HttpWebhooks"]


class _Issued(Webhook, kw_only=True):
    secret: str


class HttpWebhooks:
    """The part of the catalog's protocol that is about webhooks."""

    _transport: Transport

    async def list_webhooks(self, org: str) -> list[Webhook]:
        """Return the webhooks of an organization, oldest first, without their secrets."""
        return decoded((await self._transport.send("GET", _hooks(org))).body, list[Webhook])

    async def create_webhook(self, org: str, url: str, events: Sequence[str] = ()) -> IssuedWebhook:
        """Add a webhook for some types of event, or for all; its secret is shown this once."""
        reply = await self._transport.send("POST", _hooks(org), body={"url": url, "events": list(events)})
        found = decoded(reply.body, _Issued)
        return IssuedWebhook(**{**msgspec.structs.asdict(found), "secret": Secret(found.secret)})

    async def delete_webhook(self, org: str, webhook_id: str) -> None:
        """Remove a webhook, and the messages on their way to it."""
        await self._transport.send("DELETE", _hooks(org, webhook_id))

    async def test_webhook(self, org: str, webhook_id: str) -> None:
        """Send a message of the type ``webhook.test`` to a webhook, whatever events it is for."""
        await self._transport.send("POST", _hooks(org, webhook_id, "test"))


def _hooks(org: str, *parts: str) -> str:
    return "/".join(["/orgs", quote(validate_org(org)), "webhooks", *(quote(part, safe="") for part in parts)])
