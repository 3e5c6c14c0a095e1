"""The clients."""

from arraylake_core.client.aio import AsyncClient
from arraylake_core.client.sync import Client

__all__ = ["AsyncClient", "Client"]
