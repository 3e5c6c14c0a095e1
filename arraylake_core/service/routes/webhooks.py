"""Webhooks of organizations."""

from datetime import datetime

import msgspec

from arraylake_core.service.call import Call
from arraylake_core.service.netguard import ensure_public
from arraylake_core.service.table import Need, Route

__all__ = ["ROUTES"]


class NewWebhookBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    url: str
    events: list[str] = msgspec.field(default_factory=list)


class WireWebhook(msgspec.Struct, kw_only=True):
    id: str
    url: str
    events: list[str]
    created: datetime
    created_by: str | None = None


class IssuedWebhook(WireWebhook, kw_only=True):
    """A webhook that was just made, with the secret that its messages are signed with: this once."""

    secret: str


async def list_webhooks(call: Call) -> list[WireWebhook]:
    found = await call.catalog.list_webhooks(call.org)
    return [
        WireWebhook(id=hook.id, url=hook.url, events=hook.events, created=hook.created, created_by=hook.created_by)
        for hook in found
    ]


async def check_url(call: Call) -> None:
    """Refuse a URL that leads into the service's own network (P16)."""
    await ensure_public(call.read(NewWebhookBody).url, call.services.settings.allow_networks, what="url", http=False)


async def create_webhook(call: Call) -> IssuedWebhook:
    body = call.read(NewWebhookBody)
    hook = await call.catalog.create_webhook(call.org, body.url, body.events)
    call.target = f"{call.org}: {hook.id}"
    return IssuedWebhook(
        id=hook.id,
        url=hook.url,
        events=hook.events,
        created=hook.created,
        created_by=hook.created_by,
        secret=hook.secret.reveal(),
    )


async def delete_webhook(call: Call) -> None:
    await call.catalog.delete_webhook(call.org, call.path["webhook_id"])


_HOOKS = "/orgs/{org}/webhooks"
ROUTES = (
    Route("GET", _HOOKS, Need.OrgAdmin, list_webhooks, "List the webhooks.", answer=list[WireWebhook]),
    Route(
        "POST",
        _HOOKS,
        Need.OrgAdmin,
        create_webhook,
        "Add a webhook.",
        body=NewWebhookBody,
        check=check_url,
        answer=IssuedWebhook,
        status=201,
        changes=True,
    ),
    Route("DELETE", _HOOKS + "/{webhook_id}", Need.OrgAdmin, delete_webhook, "Remove a webhook.", status=204, changes=True),
)
