"""Webhooks of organizations."""

import msgspec

from arraylake_core.service.call import Call
from arraylake_core.service.netguard import ensure_public
from arraylake_core.service.table import Need, Route
from arraylake_core.webhooks import Webhook

__all__ = ["ROUTES"]


class NewWebhookBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    url: str
    events: list[str] = msgspec.field(default_factory=list)


class IssuedWebhookBody(Webhook, kw_only=True):
    """A webhook that was just made, with the secret that its messages are signed with: this once."""

    secret: str


async def list_webhooks(call: Call) -> list[Webhook]:
    return await call.catalog.list_webhooks(call.org)


async def check_url(call: Call) -> None:
    """Refuse a URL that leads into the service's own network (P16)."""
    await ensure_public(call.read(NewWebhookBody).url, call.services.settings.allow_networks, what="url", http=False)


async def create_webhook(call: Call) -> IssuedWebhookBody:
    body = call.read(NewWebhookBody)
    hook = await call.catalog.create_webhook(call.org, body.url, body.events)
    call.target = f"{call.org}: {hook.id}"
    return IssuedWebhookBody(**{**msgspec.structs.asdict(hook), "secret": hook.secret.reveal()})


async def delete_webhook(call: Call) -> None:
    await call.catalog.delete_webhook(call.org, call.path["webhook_id"])


async def test_webhook(call: Call) -> None:
    call.target = f"{call.org}: {call.path['webhook_id']}"
    await call.catalog.test_webhook(call.org, call.path["webhook_id"])


_HOOKS = "/orgs/{org}/webhooks"
ROUTES = (
    Route("GET", _HOOKS, Need.OrgAdmin, list_webhooks, "List the webhooks.", answer=list[Webhook]),
    Route(
        "POST",
        _HOOKS,
        Need.OrgAdmin,
        create_webhook,
        "Add a webhook.",
        body=NewWebhookBody,
        check=check_url,
        answer=IssuedWebhookBody,
        status=201,
        changes=True,
    ),
    Route(
        "POST",
        _HOOKS + "/{webhook_id}/test",
        Need.OrgAdmin,
        test_webhook,
        "Send a message to a webhook, to try it.",
        status=204,
        changes=True,
    ),
    Route("DELETE", _HOOKS + "/{webhook_id}", Need.OrgAdmin, delete_webhook, "Remove a webhook.", status=204, changes=True),
)
