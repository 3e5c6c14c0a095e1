"""Telling of changes: to webhooks through the catalog, and to plugins by the hook ``arraylake_on_event``."""

import asyncio
import logging
import queue
import threading
from collections.abc import Callable
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


class _Listener:
    """A plugin that listens, in a thread of its own: whatever it raises is logged, and when it hangs, only it hears no more."""

    def __init__(self, name: str, listen: Callable[..., object]) -> None:
        self._name, self._listen = name, listen
        self._events: queue.Queue[Event | None] = queue.Queue(_KEPT)

    def start(self) -> None:
        """Begin to tell it."""
        threading.Thread(target=self._tell, name=f"arraylake-events-{self._name}", daemon=True).start()

    def put(self, event: Event | None) -> None:
        """Tell it of an event, as soon as it is done with those before; of None, that there are no more."""
        try:
            self._events.put_nowait(event)
        except queue.Full:
            what = f"is not told of the event {event.id}" if event is not None else "was not told of the last events"
            _logger.warning("the plugin %s %s: it has not dealt with those before", self._name, what)

    def _tell(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                self._listen(event=event)
            except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and goes on hearing
                # The error's text may repeat anything.
                _logger.error("the plugin %s failed on the event %s: %s", self._name, event.id, type(error).__name__)


class Announcer:
    """Tells of changes, in two steps: in their transaction, and after it.

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
        self._catalog = catalog
        self._courier = Courier(catalog, settings)
        self._listeners = [_Listener(name, listen) for name, listen in registry.listeners()]
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to send and to tell."""
        self._running = asyncio.create_task(self._courier.run())
        for listener in self._listeners:
            listener.start()

    async def stop(self) -> None:
        """End; what was not sent is sent by another replica, or after the next start."""
        if self._running is not None:
            self._courier.stop()
            await asyncio.wait([self._running], timeout=_STOP_SECONDS)
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        for listener in self._listeners:
            listener.put(None)

    async def enqueue(self, event: Event) -> None:
        """Write an event's messages, in the transaction of the change."""
        await self._catalog.enqueue(event)

    def announce(self, event: Event) -> None:
        """Tell of an event whose change is committed."""
        self._courier.wake()
        for listener in self._listeners:
            listener.put(event)
