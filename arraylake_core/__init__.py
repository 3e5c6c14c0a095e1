"""The open lake for arrays: one client over many versioned Zarr repos, in anyone's buckets, every backend a plugin.

Examples
--------
>>> from arraylake_core import Client
>>> with Client("memory://") as client:
...     client.list_repos("me")
[]
"""

from typing import TYPE_CHECKING

from arraylake_core.version import __version__

__all__ = ["AsyncClient", "Client", "RepoKind", "Secret", "__version__", "config", "errors", "models"]

if TYPE_CHECKING:
    from arraylake_core import config, errors, models
    from arraylake_core.client.aio import AsyncClient
    from arraylake_core.client.sync import Client
    from arraylake_core.models import RepoKind
    from arraylake_core.secret import Secret

_HOMES = {
    "AsyncClient": "arraylake_core.client.aio",
    "Client": "arraylake_core.client.sync",
    "RepoKind": "arraylake_core.models",
    "Secret": "arraylake_core.secret",
    "config": "",
    "errors": "",
    "models": "",
}


def __getattr__(name: str) -> object:
    """Import public names when they are first used (PEP 562), so that the import itself costs nothing."""
    import importlib

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES[name]
    value = getattr(importlib.import_module(home), name) if home else importlib.import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
