"""The courier: posts what happens to the webhooks of organizations, until it has arrived."""

import asyncio
import logging
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout

from arraylake_core.catalog.sql_webhooks import Delivery
from arraylake_core.errors import InvalidOptionError
from arraylake_core.service.netguard import ensure_public, guarded_connector
from arraylake_core.service.settings import ServiceSettings
from arraylake_core.webhooks import signed_headers

if TYPE_CHECKING:
    from arraylake_core.catalog.sql_catalog import SqlCatalog

__all__ = ["Courier"]

_logger = logging.getLogger("arraylake_core.service")
_AT_ONCE = 20
_LEASE = timedelta(seconds=60)
_TIMEOUT = ClientTimeout(total=10)
_LOOKED_EVERY = 5.0


class Courier:
    """Sends the messages that are due.

    Parameters
    ----------
    catalog
        Where they are.
    settings
        Says which networks may be reached.
    """

    def __init__(self, catalog: "SqlCatalog", settings: ServiceSettings) -> None:
        self._catalog = catalog
        self._allow = settings.allow_networks
        self._due = asyncio.Event()
        self._stopping = False

    def wake(self) -> None:
        """Say that there may be something to send."""
        self._due.set()

    def stop(self) -> None:
        """End after what is being sent: breaking off in the middle would leave a connection open."""
        self._stopping = True
        self._due.set()

    async def run(self) -> None:
        """Send what is due, now and whenever there is more, until it is stopped."""
        async with ClientSession(connector=guarded_connector(self._allow), timeout=_TIMEOUT, trust_env=False) as session:
            while not self._stopping:
                try:
                    sent = await self._round(session)
                except Exception as error:  # noqa: BLE001 - the courier goes on whatever broke; texts of errors may repeat anything
                    _logger.error("webhooks wait: %s", type(error).__name__)
                    sent = 0
                if not sent:
                    await self._rest()

    async def _rest(self) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._due.wait(), _LOOKED_EVERY)
        self._due.clear()

    async def _round(self, session: ClientSession) -> int:
        claimed = await self._catalog.claim_deliveries(_AT_ONCE, _LEASE)
        results = await asyncio.gather(*(self._send(session, delivery) for delivery in claimed), return_exceptions=True)
        for failure in results:
            if isinstance(failure, BaseException):
                raise failure
        return len(claimed)

    async def _send(self, session: ClientSession, delivery: Delivery) -> None:
        problem = await self._post(session, delivery)
        if problem is None:
            await self._catalog.delivered(delivery.id)
        else:
            _logger.warning("webhook message %s: %s", delivery.id, problem)
            await self._catalog.failed(delivery.id, delivery.attempts, problem)

    async def _post(self, session: ClientSession, delivery: Delivery) -> str | None:
        """Post a message; return what went wrong. What the receiver answers is not read: only whether it took the message."""
        if delivery.secret is None:
            return "its secret can't be read: its key is missing, or it is damaged; delete the webhook, and make it again"
        body = msgspec.json.encode({"type": delivery.event["type"], "timestamp": delivery.event["time"], "data": delivery.event})
        headers = {"content-type": "application/json", **signed_headers(delivery.secret, delivery.id, body, int(time.time()))}
        try:
            await ensure_public(delivery.url, self._allow, what="the webhook's url")
            async with session.post(delivery.url, data=body, headers=headers, allow_redirects=False) as answer:
                return None if 200 <= answer.status < 300 else f"it answered {answer.status}"
        except InvalidOptionError as error:
            return str(error)
        except (ClientError, OSError, TimeoutError) as error:
            return f"it can't be reached ({type(error).__name__})"
