"""The import name of the official client, over arraylake-core: what is in here is arraylake-core's.

Examples
--------
>>> from arraylake import Client
>>> with Client("memory://") as client:
...     client.list_repos("me")
[]
"""

from arraylake._installed import refuse_beside_the_official_client

refuse_beside_the_official_client()

from arraylake.client import AsyncClient, Client  # noqa: E402 - nothing else is imported beside the official client
from arraylake.config import config  # noqa: E402
from arraylake.exceptions import (  # noqa: E402
    ArraylakeClientError,
    ArraylakeHttpError,
    ArraylakeServerError,
    ArraylakeValidationError,
)
from arraylake_core import __version__  # noqa: E402

__all__ = [
    "ArraylakeClientError",
    "ArraylakeHttpError",
    "ArraylakeServerError",
    "ArraylakeValidationError",
    "AsyncClient",
    "Client",
    "__version__",
    "config",
]
