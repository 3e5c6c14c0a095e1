"""From a URI to a catalog."""

from pathlib import Path
from typing import TYPE_CHECKING

from arraylake_core import config
from arraylake_core.errors import InvalidOptionError

if TYPE_CHECKING:
    from arraylake_core.catalog.base import Catalog

__all__ = ["catalog_from_uri", "data_dir", "default_uri"]


def data_dir() -> Path:
    """Return where the embedded catalog and the default bucket live."""
    chosen = config.get_str("data.dir")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_data_path

    return user_data_path("arraylake-core", appauthor=False)


def default_uri() -> str:
    """Return the catalog that ``Client()`` takes: ``service.uri`` of the config, or the embedded one in the data directory."""
    return config.get_str("service.uri") or f"sqlite:///{data_dir() / 'catalog.db'}"


def catalog_from_uri(uri: str) -> "Catalog":
    """Return the catalog that a URI names; nothing is opened before it is first used.

    Parameters
    ----------
    uri
        ``sqlite:///path``, or ``memory://`` for one of its own that vanishes with the process.

    Raises
    ------
    InvalidOptionError
        The URI is none that this release knows.

    Examples
    --------
    >>> catalog_from_uri("memory://").uri.startswith("memory://")
    True
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme == "memory":
        from arraylake_core.catalog.sql import memory_catalog

        return memory_catalog(rest)
    if separator and scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        from arraylake_core.catalog.sql import sqlite_catalog

        return sqlite_catalog(Path(rest[1:]).expanduser())
    if separator and scheme in ("postgresql", "postgres"):
        from arraylake_core.catalog.sql import postgres_catalog

        return postgres_catalog(uri)
    if separator and scheme in ("http", "https"):
        raise InvalidOptionError(
            f"this release can't open {scheme}://…: take sqlite:///path, postgresql://user:password@host/database or memory://"
        )
    raise InvalidOptionError(
        "a catalog URI is sqlite:///path (four slashes for an absolute path), postgresql://user:password@host/database or memory://"
    )
