"""Presigned URLs of the S3 API (Signature Version 4 in the query string), and the listings that they lead to.

botocore's signer is used without a client: a client reads profiles and variables, takes a tenth of a second to make, and none of it is needed to sign.

Everything that a URL is to be confined to is signed: the verb, the host, the path and every parameter of the query. Headers that begin with ``x-amz-``,
such as the one that would make a PUT a copy of somebody else's object, a store takes only where they are signed too, and none is.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote, urlencode
from xml.etree import ElementTree

from arraylake_core.backends import (
    Credentials,
    KeyRequest,
    ListedObject,
    ListingPage,
    Location,
    ObjectStoreSpec,
    S3Credentials,
)
from arraylake_core.backends.object_store.s3 import s3_endpoint
from arraylake_core.backends.signing import whole_key
from arraylake_core.errors import CredentialsError, PluginError, StorageError
from arraylake_core.secret import Secret, reveal

__all__ = ["listing_page", "presigned"]

_PAGE = "1000"
# What RFC 3986 leaves unreserved, and the slash: all else is encoded, as the signature wants it.
_SAFE = "/-_.~"


def presigned(
    spec: ObjectStoreSpec, location: Location, credentials: Credentials, requests: Sequence[KeyRequest], seconds: int
) -> list[Secret]:
    """Return a URL for each request; see ``SignsRequests.presign``.

    Raises
    ------
    CredentialsError
        The credentials are no keys of the S3 API.
    PluginError
        botocore is not installed.
    """
    try:
        from botocore.auth import S3SigV4QueryAuth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials as Keys
    except ImportError:
        raise PluginError("requests to an S3 API are signed by botocore: pip install botocore") from None
    if not isinstance(credentials, S3Credentials):
        raise CredentialsError(f"requests to an S3 bucket are signed with S3 keys, not with {type(credentials).__name__}")
    host, is_virtual = s3_endpoint(spec)
    root = host if is_virtual else f"{host}/{spec.bucket}"
    keys = Keys(credentials.aws_access_key_id, credentials.aws_secret_access_key.reveal(), reveal(credentials.aws_session_token))
    signer = S3SigV4QueryAuth(keys, "s3", spec.region or "us-east-1", expires=seconds)
    urls: list[Secret] = []
    for asked in requests:
        verb = "GET" if asked.verb == "LIST" else asked.verb
        request = AWSRequest(method=verb, url=_url(root, location, asked))
        signer.add_auth(request)
        urls.append(Secret(request.url))
    return urls


def _url(root: str, location: Location, asked: KeyRequest) -> str:
    key = whole_key(location, asked)
    if asked.verb != "LIST":
        return f"{root}/{quote(key, safe=_SAFE)}"
    # Pages begin after a key, not at a token of the store's: that is as good in any order of pages, and nothing that only the store can read is signed.
    query = {"list-type": "2", "max-keys": _PAGE, "prefix": key}
    if asked.after:
        query["start-after"] = f"{location.prefix}/{asked.after}" if location.prefix else asked.after
    return f"{root}/?{urlencode(query, quote_via=quote, safe='-_.~')}"


def listing_page(location: Location, body: bytes) -> ListingPage:
    """Read an answer to ListObjectsV2; keys come back relative to the location."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - of the bucket's own store; expat bounds what entities grow to
        namespace = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
        if root.tag != f"{namespace}ListBucketResult":
            raise ValueError(root.tag)
        above = f"{location.prefix}/" if location.prefix else ""
        objects = tuple(
            ListedObject(
                key.removeprefix(above),
                int(found.findtext(f"{namespace}Size") or ""),
                datetime.fromisoformat(found.findtext(f"{namespace}LastModified") or "").astimezone(UTC),
            )
            for found in root.iter(f"{namespace}Contents")
            if (key := found.findtext(f"{namespace}Key") or "").startswith(above)
        )
        is_truncated = root.findtext(f"{namespace}IsTruncated")
    except (ElementTree.ParseError, ValueError) as error:
        problem = type(error).__name__
    else:
        return ListingPage(objects, is_truncated != "true")
    raise StorageError(f"what {location.uri} answered is no listing of an S3 store ({problem}): look at the endpoint")
