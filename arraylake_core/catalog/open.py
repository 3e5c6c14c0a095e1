"""From a URI to a catalog."""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from arraylake_core import config
from arraylake_core.errors import InvalidOptionError
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from arraylake_core.backends.coordination import Coordination
    from arraylake_core.catalog.base import Catalog

__all__ = ["catalog_from_uri", "coordination_from_handle", "data_dir", "default_uri"]


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


def catalog_from_uri(uri: str, token: Secret | None = None) -> "Catalog":
    """Return the catalog that a URI names; nothing is opened before it is first used.

    Parameters
    ----------
    uri
        ``sqlite:///path``, ``postgresql://user:password@host/database``, ``https://…`` for a service, or ``memory://`` for one of its own that
        vanishes with the process.
    token
        For a service: an API token. None takes that of the settings.

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
        return _service_catalog(uri, token)
    raise InvalidOptionError(
        "a catalog URI is sqlite:///path (four slashes for an absolute path), postgresql://user:password@host/database, "
        "https://… for a service, or memory://"
    )


def _service_catalog(uri: str, token: Secret | None) -> "Catalog":
    from arraylake_core.catalog.http import HttpCatalog
    from arraylake_core.catalog.http_tokens import remember

    address, _, fingerprint = uri.partition("#")
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    if not host or parts.query or parts.username is not None or parts.password is not None:
        raise InvalidOptionError(
            "a service's URI is https://host[:port], without user, password or query: give the token with Client(token=...) or ARRAYLAKE_TOKEN"
        )
    if parts.scheme == "http" and not _is_local(host) and not config.get_bool("service.allow_http"):
        raise InvalidOptionError(
            f"http://{host} would send the token readable by whoever is in between: take https://, or, in a network that you trust, "
            "set service.allow_http (ARRAYLAKE_SERVICE__ALLOW_HTTP) to true"
        )
    return HttpCatalog(address.rstrip("/"), remember(token) if token is not None else fingerprint)


def _is_local(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def coordination_from_handle(handle: str, repo_id: str) -> "Coordination":
    """Return the refs and journals of a repo in a process that was handed their names."""
    return catalog_from_uri(handle).coordination(repo_id)
