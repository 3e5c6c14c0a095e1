"""Telling of changes: to webhooks through the catalog, and to plugins by the hook ``arraylake_on_event``."""

import asyncio
import logging
import queue
import threading
from typing import TYPE_CHECKING

from arraylake_core.events import Event
from arraylake_core.plugins import PluginRegistry
from arraylake_core.service.settings import ServiceSettings
from arraylake_core.service.webhooks import Courier

if TYPE_CHECKING:
    from arraylake_core.catalog.sql_catalog import SqlCatalog

__all__ = ["Announcer"]

_logger = logging.getLogger("arraylake_core.service")
_KEPT = 1000
# A little longer than a receiver may take.
_STOP_SECONDS = 12


class Announcer:
    """Tells of changes, in two steps: in their transaction, and after it.

    Plugins listen in a thread of their own: one that raises is logged, one that hangs keeps the others waiting but no request, and what can't be
    queued any more is dropped with a line in the log.

    Parameters
    ----------
    catalog
        Where messages to webhooks wait.
    registry
        The plugins that listen.
    settings
        Says which networks webhooks may reach.
    """

    def __init__(self, catalog: "SqlCatalog", registry: PluginRegistry, settings: ServiceSettings) -> None:
        self._catalog, self._registry = catalog, registry
        self._courier = Courier(catalog, settings)
        self._events: queue.Queue[Event | None] = queue.Queue(_KEPT)
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to send and to tell."""
        self._running = asyncio.create_task(self._courier.run())
        threading.Thread(target=self._tell_plugins, name="arraylake-events", daemon=True).start()

    async def stop(self) -> None:
        """End; what was not sent is sent by another replica, or after the next start."""
        if self._running is not None:
            self._courier.stop()
            await asyncio.wait([self._running], timeout=_STOP_SECONDS)
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        try:
            self._events.put_nowait(None)
        except queue.Full:
            _logger.warning("plugins were not told of %s events", self._events.qsize())

    async def enqueue(self, event: Event) -> None:
        """Write an event's messages, in the transaction of the change."""
        await self._catalog.enqueue(event)

    def announce(self, event: Event) -> None:
        """Tell of an event whose change is committed."""
        self._courier.wake()
        try:
            self._events.put_nowait(event)
        except queue.Full:
            _logger.warning("plugins are not told of the event %s: those before it have not been dealt with", event.id)

    def _tell_plugins(self) -> None:
        while (event := self._events.get()) is not None:
            for name, error in self._registry.tell(event):
                _logger.error("the plugin %s failed on the event %s: %s", name, event.id, error)
