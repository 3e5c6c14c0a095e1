"""Endpoint URLs in bucket configs: checked, and in one spelling, so that the same place has one identity (P14)."""

import ipaddress
import re
import socket
from urllib.parse import urlsplit

import msgspec

from arraylake_core.errors import InvalidOptionError

__all__ = ["HttpEndpoint", "parse_http_endpoint", "wrong_endpoint"]

_HOST = re.compile(r"[a-z0-9._-]+\Z")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class HttpEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Where an HTTP API is.

    Parameters
    ----------
    url
        Its URL, in one spelling.
    host
        Its host, in one spelling.
    identity
        The canonical name of its host and port, the same for every name of this machine's loopback.
    path
        The path of the URL, parts separated by slashes, without one at either end.
    allow_http
        Whether it is plain HTTP.
    usual_port
        Whether the port is the scheme's own.
    """

    url: str
    host: str
    identity: str
    path: str = ""
    allow_http: bool = False
    usual_port: bool = True


def parse_http_endpoint(url: str, *, path: bool = False) -> HttpEndpoint:
    """Read an endpoint URL; an error never repeats it, since it may hold a password.

    Parameters
    ----------
    url
        What the user gave.
    path
        Whether it may have a path.

    Raises
    ------
    InvalidOptionError
        What is wrong with it.

    Examples
    --------
    >>> parse_http_endpoint("http://LOCALHOST:9000/").identity == parse_http_endpoint("http://127.0.0.1:9000").identity
    True
    """
    if not url.isascii() or not url.isprintable() or any(character in url for character in " \\%"):
        raise wrong_endpoint("it must be plain ASCII, without spaces, backslashes and percent signs")
    if "@" in url:
        raise wrong_endpoint("it must not hold a user or password: keys go into auth_config")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _canonical_host(parts.hostname or "")
    except ValueError:
        raise wrong_endpoint("it is no URL") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise wrong_endpoint("it must begin with https:// or http://")
    if host is None or port == 0:
        raise wrong_endpoint("it must name a host, and a port only if it is another than the usual one")
    inside = parts.path.strip("/")
    if (inside and not path) or "//" in parts.path or ".." in parts.path or "?" in url or "#" in url:
        raise wrong_endpoint("it must end after the host and port: the bucket goes into the URI, 'platform://bucket/prefix'")
    if port == _DEFAULT_PORTS[parts.scheme]:
        port = None
    at_port = "" if port is None else f":{port}"
    return HttpEndpoint(
        url=f"{parts.scheme}://{host}{at_port}" + (f"/{inside}" if inside else ""),
        host=host,
        identity=f"{_one_name(host)}{at_port}",
        path=inside,
        allow_http=parts.scheme == "http",
        usual_port=port is None,
    )


def wrong_endpoint(problem: str) -> InvalidOptionError:
    """Return the error of an endpoint that has a problem."""
    return InvalidOptionError(f"the option 'endpoint_url' is wrong: {problem}")


def _canonical_host(host: str) -> str | None:
    """Return a host in its one spelling, or None where it is none; urlsplit has made it lower case."""
    host = host.removesuffix(".")
    if ":" in host:
        return f"[{ipaddress.IPv6Address(host).compressed}]"
    if re.fullmatch(r"[0-9a-fx.]*[0-9][0-9a-fx.]*", host):
        # Resolvers take 127.1 and 2130706433 for 127.0.0.1, and so does whoever opens a connection.
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except OSError:
            pass
    return host if _HOST.match(host) and ".." not in host and not host.startswith(".") else None


def _one_name(host: str) -> str:
    """Return "localhost" for every name of this machine's loopback, and any other host itself."""
    if host == "localhost" or host.endswith(".localhost"):
        return "localhost"
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return host
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    address = mapped or address
    if address.is_loopback or address.is_unspecified:
        return "localhost"
    return host if mapped is None else str(mapped)
