"""What an endpoint URL says: where the API is, whose it is, and what it wants."""

import ipaddress
import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from arraylake_core.errors import InvalidOptionError

__all__ = ["Endpoint", "parse_endpoint"]

_AWS = re.compile(r"(.+\.)?amazonaws\.com(\.cn)?\Z")
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
        return Endpoint(url=None, identity="amazonaws.com", allow_http=use_ssl is False)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _wrong("it is no URL") from None
    host = (parts.hostname or "").rstrip(".")
    if parts.scheme not in _DEFAULT_PORTS:
        raise _wrong("it must begin with https:// or http://")
    if parts.username is not None or parts.password is not None or "@" in url:
        raise _wrong("it must not hold a user or password: keys go into auth_config")
    if not host or not url.isprintable() or not url.isascii() or any(character in url for character in " \\%"):
        raise _wrong("it must name a host, in plain ASCII")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _wrong("it must end after the host and port: the bucket goes into the URI, 's3://bucket/prefix'")
    if use_ssl is not None and use_ssl != (parts.scheme == "https"):
        raise _wrong(f"it says {parts.scheme}://, but use_ssl is {use_ssl}")
    aws = _AWS.match(host) is not None
    variant: Literal["r2", "tigris"] | None = None
    if host.endswith(".r2.cloudflarestorage.com"):
        variant = "r2"
    elif host in ("fly.storage.tigris.dev", "t3.storage.dev"):
        variant = "tigris"
    return Endpoint(
        url=f"{parts.scheme}://{parts.netloc.rstrip('.').lower()}",
        identity=_identity(host, port, parts.scheme, aws=aws),
        region="auto" if variant is not None else None,
        path_style=not aws and variant is None,
        allow_http=parts.scheme == "http",
        variant=variant,
    )


def _identity(host: str, port: int | None, scheme: str, *, aws: bool) -> str:
    if aws:
        return "amazonaws.com"
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost" or host.endswith(".localhost")
    name = "localhost" if loopback else host
    return name if port is None or port == _DEFAULT_PORTS[scheme] else f"{name}:{port}"


def _wrong(problem: str) -> InvalidOptionError:
    return InvalidOptionError(f"the option 'endpoint_url' is wrong: {problem}")
