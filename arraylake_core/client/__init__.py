"""The clients: AsyncClient holds all behaviour, Client is its blocking twin."""

from typing import TYPE_CHECKING

__all__ = ["AsyncClient", "Client"]

if TYPE_CHECKING:
    from arraylake_core.client.aio import AsyncClient
    from arraylake_core.client.sync import Client


def __getattr__(name: str) -> object:
    """Import each client when it is first used."""
    if name == "Client":
        from arraylake_core.client.sync import Client

        return Client
    if name == "AsyncClient":
        from arraylake_core.client.aio import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
