"""The deployment itself: is it alive, is it ready, what does it offer, how busy is it."""

from typing import Any

from arraylake_core.service.call import Call
from arraylake_core.service.table import Answer, Need, Route
from arraylake_core.version import __version__

__all__ = ["ROUTES"]


async def health(call: Call) -> dict[str, str]:
    return {"status": "ok", "version": __version__}


async def ready(call: Call) -> dict[str, str]:
    await call.catalog.ping()
    return {"status": "ready"}


async def metrics(call: Call) -> Answer:
    return Answer(call.services.metrics.text(), 200, {"content-type": "text/plain; version=0.0.4; charset=utf-8"})


async def openapi(call: Call) -> Answer:
    from arraylake_core.service.openapi import document

    return Answer(document(), 200, {"content-type": "application/json"})


ROUTES = (
    Route("GET", "/health", Need.Nothing, health, "Tell that the process is alive.", answer=dict[str, str]),
    Route("GET", "/ready", Need.Nothing, ready, "Tell that the catalog can be reached.", answer=dict[str, str]),
    Route("GET", "/metrics", Need.Nothing, metrics, "Show metrics in Prometheus' text format.", answer=str),
    Route("GET", "/openapi.json", Need.Nothing, openapi, "Show this document.", answer=dict[str, Any]),
)
