"""What an endpoint URL says: where the API is, whose it is, and what it wants."""

import ipaddress
import re
import socket
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from arraylake_core.errors import InvalidOptionError

__all__ = ["Endpoint", "parse_endpoint"]

# Only its S3 hosts are AWS's own: a server that somebody runs there (ec2-….compute.amazonaws.com) is a place apart.
_AWS = re.compile(r"(?!.*\.(?:elb|compute)\.)(?:.+\.)?s3(?:[.-].+)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws)\Z")
_HOST = re.compile(r"[a-z0-9._-]+\Z")
_AWS_IDENTITY = "amazonaws.com"
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An S3 API.

    Parameters
    ----------
    url
        Its URL; None is AWS.
    identity
        The canonical name of its host and port, the same for every spelling.
    region
        The region that it needs where the user names none.
    path_style
        Whether buckets go into the path of URLs.
    allow_http
        Whether it is plain HTTP.
    variant
        The product, where it is known to need care.
    """

    url: str | None
    identity: str
    region: str | None = None
    path_style: bool = False
    allow_http: bool = False
    variant: Literal["r2", "tigris"] | None = None


def parse_endpoint(url: str | None, use_ssl: bool | None) -> Endpoint:
    """Read an endpoint URL; an error never repeats it, since it may hold a password.

    Examples
    --------
    >>> parse_endpoint("http://LOCALHOST:9000/", None).identity == parse_endpoint("http://127.0.0.1:9000", False).identity
    True
    """
    if url is None:
        # The scheme of AWS's own endpoints is chosen by use_ssl alone.
        return Endpoint(url=None, identity=_AWS_IDENTITY, allow_http=use_ssl is False)
    if not url.isascii() or not url.isprintable() or any(character in url for character in " \\%"):
        raise _wrong("it must be plain ASCII, without spaces, backslashes and percent signs")
    if "@" in url:
        raise _wrong("it must not hold a user or password: keys go into auth_config")
    try:
        parts = urlsplit(url)
        port = parts.port
        host = _canonical_host(parts.hostname or "")
    except ValueError:
        raise _wrong("it is no URL") from None
    if parts.scheme not in _DEFAULT_PORTS:
        raise _wrong("it must begin with https:// or http://")
    if host is None or port == 0:
        raise _wrong("it must name a host, and a port only if it is another than the usual one")
    if parts.path not in ("", "/") or "?" in url or "#" in url:
        raise _wrong("it must end after the host and port: the bucket goes into the URI, 's3://bucket/prefix'")
    if use_ssl is not None and use_ssl != (parts.scheme == "https"):
        raise _wrong(f"it says {parts.scheme}://, but use_ssl is {use_ssl}")
    if port == _DEFAULT_PORTS[parts.scheme]:
        port = None
    aws = port is None and _AWS.match(host) is not None
    variant: Literal["r2", "tigris"] | None = None
    if host.endswith(".r2.cloudflarestorage.com"):
        variant = "r2"
    elif host in ("fly.storage.tigris.dev", "t3.storage.dev"):
        variant = "tigris"
    at_port = "" if port is None else f":{port}"
    return Endpoint(
        url=f"{parts.scheme}://{host}{at_port}",
        identity=_AWS_IDENTITY if aws else f"{_one_name(host)}{at_port}",
        region="auto" if variant is not None else None,
        path_style=not aws and variant is None,
        allow_http=parts.scheme == "http",
        variant=variant,
    )


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


def _wrong(problem: str) -> InvalidOptionError:
    return InvalidOptionError(f"the option 'endpoint_url' is wrong: {problem}")
