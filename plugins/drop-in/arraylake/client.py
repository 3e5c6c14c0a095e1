"""The clients."""

from arraylake._official import OfficialNames, also_takes
from arraylake_core.client.aio import AsyncClient as _AsyncClient
from arraylake_core.client.sync import Client as _Client
from arraylake_core.errors import InvalidOptionError
from arraylake_core.plugins import PluginRegistry

__all__ = ["AsyncClient", "Client"]


def _checked(auth_org: object) -> None:
    if isinstance(auth_org, bool):
        raise InvalidOptionError("the third argument is auth_org with arraylake-drop-in: give cache_credentials by its name")


@also_takes
class AsyncClient(OfficialNames, _AsyncClient):
    """``arraylake_core.AsyncClient``, which says of what it has not what to do instead."""

    def __init__(
        self,
        service_uri: str | None = None,
        token: str | None = None,
        auth_org: str | None = None,
        *,
        cache_credentials: bool = True,
        plugins: PluginRegistry | None = None,
    ) -> None:
        _checked(auth_org)
        super().__init__(service_uri, token, auth_org, plugins=plugins)


@also_takes
class Client(OfficialNames, _Client):
    """``arraylake_core.Client``, which says of what it has not what to do instead."""

    def __init__(
        self,
        service_uri: str | None = None,
        token: str | None = None,
        auth_org: str | None = None,
        *,
        cache_credentials: bool = True,
        plugins: PluginRegistry | None = None,
    ) -> None:
        _checked(auth_org)
        super().__init__(service_uri, token, auth_org, plugins=plugins)
