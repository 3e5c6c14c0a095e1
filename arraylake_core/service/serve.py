"""Running one replica: from a database and an address to a process that listens, and stops without breaking off what is under way."""

import asyncio
import ipaddress
import signal
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from arraylake_core import config
from arraylake_core.errors import InvalidOptionError, ServiceError
from arraylake_core.names import shown

if TYPE_CHECKING:
    from arraylake_core.catalog.sql_catalog import SqlCatalog

__all__ = ["Address", "is_loopback", "serve"]

AUTH = ("token", "none")


class Address(NamedTuple):
    """Where the service listens.

    Parameters
    ----------
    host, port
        The address; port 0 takes a free one.
    certificate, key
        Files in PEM for TLS, or None for plain HTTP.
    """

    host: str
    port: int
    certificate: Path | None = None
    key: Path | None = None


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach a host's address.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


async def serve(database: str, address: Address, *, auth: str, ready: Callable[[str], None]) -> None:
    """Serve a catalog until the process is told to stop.

    Parameters
    ----------
    database
        The catalog's URI: SQLite or PostgreSQL.
    address
        Where to listen.
    auth
        ``token``, or ``none``: everybody may do everything, on loopback only (P8).
    ready
        Called with the service's URI once it answers.

    Raises
    ------
    InvalidOptionError
        The settings can't be; nothing was started.
    CatalogError
        The catalog can't be opened: no key, a newer release's, out of reach.
    """
    from aiohttp import web

    from arraylake_core.catalog.open import catalog_from_uri
    from arraylake_core.service.app import LONGEST_LINE, make_app
    from arraylake_core.service.netguard import check_networks
    from arraylake_core.service.settings import settings_from_config

    _check(database, address, auth)
    local = is_loopback(address.host)
    settings = settings_from_config(authenticated=auth != "none", loopback=local)
    check_networks(settings.allow_networks)
    tls = _tls(address)
    catalog = cast("SqlCatalog", catalog_from_uri(database))
    await catalog.ping()
    runner = web.AppRunner(
        make_app(catalog, settings), access_log=None, shutdown_timeout=settings.drain_seconds, max_line_size=LONGEST_LINE
    )
    await runner.setup()
    try:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        listener = _listening(address)
        await web.SockSite(runner, listener, ssl_context=tls, backlog=1024).start()
        host, port = address.host.strip("[]"), listener.getsockname()[1]
        ready(f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}")
        await stop.wait()
    finally:
        await runner.cleanup()


def _check(database: str, address: Address, auth: str) -> None:
    if auth not in AUTH:
        raise InvalidOptionError(f"{shown(auth)} is no way to authenticate: the setting service.auth is {' or '.join(AUTH)}")
    if auth == "none" and not is_loopback(address.host):
        raise InvalidOptionError(
            f"without authentication the service listens on this machine alone, and {shown(address.host)} can be reached by others: "
            "take --host 127.0.0.1, or leave --no-auth out"
        )
    if database.startswith(("http://", "https://")):
        raise InvalidOptionError(
            "--database is the catalog's own database, sqlite:///path or postgresql://…, and not another service"
        )
    if config.get_float("service.drain_seconds") < 0:
        raise InvalidOptionError("the setting service.drain_seconds is a number of seconds, 0 or more")


def _tls(address: Address) -> ssl.SSLContext | None:
    if (address.certificate is None) != (address.key is None):
        raise InvalidOptionError("TLS needs both --tls-certificate and --tls-key")
    if address.certificate is None or address.key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(address.certificate, address.key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidOptionError(
            f"the certificate {address.certificate} and the key {address.key} can't be used together ({type(error).__name__}): check both files"
        ) from None
    return context


def _listening(address: Address) -> socket.socket:
    host = address.host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, address.port))
    except (OSError, OverflowError) as error:
        listener.close()
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ServiceError(f"can't listen on {host}:{address.port} ({why}): choose another port, or 0 for a free one") from None
    return listener
