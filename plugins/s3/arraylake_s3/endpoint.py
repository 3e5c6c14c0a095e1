"""What an endpoint URL says: where the API is, whose it is, and what it wants."""

import re
from typing import Literal

import msgspec

from arraylake_core.backends.endpoint import parse_http_endpoint, wrong_endpoint

__all__ = ["Endpoint", "parse_endpoint"]

# Only its S3 hosts are AWS's own: a server that somebody runs there (ec2-….compute.amazonaws.com) is a place apart.
_AWS = re.compile(r"(?!.*\.(?:elb|compute)\.)(?:.+\.)?s3(?:[.-].+)?\.(?:amazonaws\.com(?:\.cn)?|api\.aws)\Z")
_AWS_IDENTITY = "amazonaws.com"


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
    found = parse_http_endpoint(url)
    scheme = "http" if found.allow_http else "https"
    if use_ssl is not None and use_ssl == found.allow_http:
        raise wrong_endpoint(f"it says {scheme}://, but use_ssl is {use_ssl}")
    aws = found.usual_port and _AWS.match(found.host) is not None
    variant: Literal["r2", "tigris"] | None = None
    if found.host.endswith(".r2.cloudflarestorage.com"):
        variant = "r2"
    elif found.host in ("fly.storage.tigris.dev", "t3.storage.dev"):
        variant = "tigris"
    return Endpoint(
        url=found.url,
        identity=_AWS_IDENTITY if aws else found.identity,
        region="auto" if variant is not None else None,
        path_style=not aws and variant is None,
        allow_http=found.allow_http,
        variant=variant,
    )
