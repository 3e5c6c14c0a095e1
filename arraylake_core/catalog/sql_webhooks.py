"""Webhooks in the SQL catalog, and the messages on their way to them.

A message is written in the transaction of the change that it tells of, so that neither is there without the other. Whoever sends it claims it for a while
first, so that of several replicas one does.
"""

import secrets
from base64 import b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple, cast
from uuid import uuid4

import msgspec
from sqlalchemy import RowMapping, delete, func, insert, select, update

from arraylake_core.catalog.acting import actor_name
from arraylake_core.catalog.engine import insert_missing
from arraylake_core.catalog.records import Records
from arraylake_core.catalog.sealing import associated_webhook
from arraylake_core.catalog.tables import deliveries, encryption_keys, orgs, webhooks
from arraylake_core.errors import ArraylakeError, InvalidOptionError, NotFoundError
from arraylake_core.events import EVENT_TYPES, TEST, Event
from arraylake_core.models import utc_now
from arraylake_core.names import shown
from arraylake_core.secret import Secret
from arraylake_core.webhooks import PREFIX, IssuedWebhook, Webhook

__all__ = ["Delivery", "WebhookRecords"]

MAX_WEBHOOKS = 20
SECRET_BYTES = 32
TRIES = 20
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=5), timedelta(hours=6)


class Delivery(NamedTuple):
    """A message that was claimed for sending.

    Parameters
    ----------
    id
        The message's id, the same on each try.
    url, secret
        The webhook's; a secret that can't be read any more is None.
    event
        What it tells.
    attempts
        How often it was tried before.
    """

    id: str
    url: str
    secret: Secret | None
    event: dict[str, object]
    attempts: int


class WebhookRecords(Records):
    """Webhooks and their messages."""

    async def list_webhooks(self, org: str) -> list[Webhook]:
        """Return the webhooks of an organization, oldest first, without their secrets."""
        async with self._read() as connection:
            org_id = await self._org_id(connection, org)
            query = select(*webhooks.c, _WAITING, _PROBLEM).where(webhooks.c.org_id == org_id)
            query = query.order_by(webhooks.c.created, webhooks.c.id)
            rows = (await connection.execute(query)).mappings().all()
        return [_webhook(row) for row in rows]

    async def create_webhook(self, org: str, url: str, events: Sequence[str] = ()) -> IssuedWebhook:
        """Add a webhook; its secret is shown this once.

        Parameters
        ----------
        org
            The organization.
        url
            Where messages are posted to; the service checks that it leads to a public place.
        events
            The types of event to post; none: all of them.
        """
        unknown = [event for event in events if event not in EVENT_TYPES]
        if unknown:
            raise InvalidOptionError(f"{shown(unknown[0])} is no type of event: take {', '.join(EVENT_TYPES)}")
        made = IssuedWebhook(
            id=str(uuid4()),
            url=url,
            events=sorted(set(events)),
            created_by=actor_name(),
            secret=Secret(PREFIX + b64encode(secrets.token_bytes(SECRET_BYTES)).decode()),
        )
        async with self._write() as connection:
            active = self._vault.source.load().active
            org_id = await self._org_id(connection, org)
            there = await connection.scalar(select(func.count()).select_from(webhooks).where(webhooks.c.org_id == org_id))
            if (there or 0) >= MAX_WEBHOOKS:
                raise InvalidOptionError(f"the organization {org!r} has {there} webhooks, which is the most: delete one first")
            await insert_missing(connection, encryption_keys, [{"id": active.id, "created": utc_now()}])
            sealed = active.seal(made.secret.reveal().encode(), associated_webhook(org_id, made.id))
            plain = {name: getattr(made, name) for name in ("id", "url", "events", "created", "created_by")}
            await connection.execute(insert(webhooks).values(**plain, org_id=org_id, secret=sealed, key_id=active.id))
        return made

    async def delete_webhook(self, org: str, webhook_id: str) -> None:
        """Remove a webhook, and the messages on their way to it."""
        async with self._write() as connection:
            org_id = await self._org_id(connection, org)
            gone = await connection.execute(delete(webhooks).where(webhooks.c.org_id == org_id, webhooks.c.id == webhook_id))
            if not gone.rowcount:
                raise _no_webhook(org, webhook_id)

    async def test_webhook(self, org: str, webhook_id: str) -> None:
        """Send a message of the type ``webhook.test`` to a webhook, whatever events it is for."""
        now = utc_now()
        async with self._write() as connection:
            org_id = await self._org_id(connection, org)
            here = select(webhooks.c.id).where(webhooks.c.org_id == org_id, webhooks.c.id == webhook_id)
            if await connection.scalar(here) is None:
                raise _no_webhook(org, webhook_id)
            document = {"id": str(uuid4()), "type": TEST, "time": now.isoformat(), "org": org, "principal": actor_name() or ""}
            await connection.execute(insert(deliveries), [_message(webhook_id, document, now)])

    async def enqueue(self, event: Event) -> int:
        """Write the messages that an event makes, in the transaction that is going on, and return how many they are."""
        async with self._write(exclusive=False) as connection:
            query = (
                select(webhooks.c.id, webhooks.c.events)
                .join(orgs, webhooks.c.org_id == orgs.c.id)
                .where(orgs.c.name == event.org)
            )
            now, document = utc_now(), msgspec.to_builtins(event)
            rows = [
                _message(hook, document, now)
                for hook, wanted in (await connection.execute(query)).all()
                if not wanted or event.type in wanted
            ]
            if rows:
                await connection.execute(insert(deliveries), rows)
        return len(rows)

    async def claim_deliveries(self, limit: int, lease: timedelta) -> list[Delivery]:
        """Return messages that are due, and keep others from sending them for a while; one whose sender died is due again after that."""
        now = utc_now()
        due = (
            select(deliveries.c.id)
            .where(deliveries.c.due <= now)
            .order_by(deliveries.c.due)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        async with self._write(exclusive=False) as connection:
            ids = (await connection.scalars(due)).all()
            if not ids:
                return []
            claim = update(deliveries).where(deliveries.c.id.in_(ids))
            await connection.execute(claim.values(due=now + lease, attempts=deliveries.c.attempts + 1))
            columns = (deliveries.c.id, deliveries.c.event, deliveries.c.attempts, webhooks.c.org_id, webhooks.c.url)
            query = select(*columns, webhooks.c.id.label("hook"), webhooks.c.secret, webhooks.c.key_id).join(webhooks)
            rows = (await connection.execute(query.where(deliveries.c.id.in_(ids)))).mappings().all()
        return [self._delivery(row) for row in rows]

    async def delivered(self, message_id: str) -> None:
        """Forget a message that has arrived."""
        async with self._write(exclusive=False) as connection:
            await connection.execute(delete(deliveries).where(deliveries.c.id == message_id))

    async def failed(self, message_id: str, attempts: int, problem: str) -> None:
        """Put a message off that did not arrive, for longer each time; after the last try it is given up."""
        async with self._write(exclusive=False) as connection:
            this = deliveries.c.id == message_id
            if attempts >= TRIES:
                await connection.execute(delete(deliveries).where(this))
                return
            wait = min(FIRST_WAIT * 2 ** (attempts - 1), LONGEST_WAIT)
            await connection.execute(update(deliveries).where(this).values(due=utc_now() + wait, problem=problem[:500]))

    def _delivery(self, row: RowMapping) -> Delivery:
        keys = self._vault.source.load()
        try:
            key = keys.require(row["key_id"], f"the secret of the webhook {row['hook']}")
            secret = Secret(key.open(row["secret"], associated_webhook(row["org_id"], row["hook"])).decode())
        except (ArraylakeError, ValueError):
            # It is this webhook's trouble alone: the messages to all others go on.
            secret = None
        return Delivery(row["id"], row["url"], secret, cast("dict[str, object]", row["event"]), row["attempts"])


_MINE = deliveries.c.webhook_id == webhooks.c.id
_WAITING = select(func.count()).where(_MINE).correlate(webhooks).scalar_subquery().label("waiting")
_PROBLEM = (
    select(deliveries.c.problem)
    .where(_MINE, deliveries.c.problem.is_not(None))
    .order_by(deliveries.c.created, deliveries.c.id)
    .limit(1)
    .correlate(webhooks)
    .scalar_subquery()
    .label("problem")
)


def _message(webhook_id: str, event: object, now: datetime) -> dict[str, object]:
    message = {"id": f"msg_{secrets.token_hex(12)}", "webhook_id": webhook_id, "event": event}
    return {**message, "created": now, "attempts": 0, "due": now}


def _no_webhook(org: str, webhook_id: str) -> NotFoundError:
    return NotFoundError(f"the organization {org!r} has no webhook {shown(webhook_id)}: list those that it has")


def _webhook(row: RowMapping) -> Webhook:
    return Webhook(**{name: row[name] for name in Webhook.__struct_fields__})
