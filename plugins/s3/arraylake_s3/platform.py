"""The S3 platforms: one class, described by data."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from arraylake_core.backends import (
    CredentialProvider,
    Credentials,
    KeyRequest,
    ListingPage,
    Location,
    NoOptions,
    ObjectStoreSpec,
    StorageIdentity,
    StoragePlatform,
)
from arraylake_core.errors import InvalidOptionError
from arraylake_core.names import join_prefix
from arraylake_core.options import decode_struct
from arraylake_core.secret import Secret
from arraylake_s3.endpoint import Endpoint, parse_endpoint

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["S3Options", "S3Platform"]

_REGION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")


class S3Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``extra_config`` of an S3 bucket.

    Parameters
    ----------
    endpoint_url
        The URL of the S3 API, such as ``https://minio.example.org:9000``; for AWS it is left out.
    region_name
        The bucket's region.
    use_ssl
        Whether to use HTTPS; it must agree with ``endpoint_url`` where both are given.
    force_path_style
        Whether the bucket's name goes into the path of URLs; by default everywhere but at AWS.
    """

    endpoint_url: str | None = None
    region_name: str | None = None
    use_ssl: bool | None = None
    force_path_style: bool | None = None


class S3Platform(StoragePlatform):
    """A name for the S3 API.

    Parameters
    ----------
    name
        The platform's name, and the scheme of its bucket URIs.
    needs_endpoint
        Whether ``endpoint_url`` must be given.
    """

    options = S3Options

    def __init__(self, name: str, *, needs_endpoint: bool) -> None:
        self.name = name
        self.schemes = (name,)
        self._needs_endpoint = needs_endpoint

    def decode_options(self, values: Mapping[str, object]) -> S3Options:
        """Check ``extra_config``.

        Examples
        --------
        >>> S3Platform("s3", needs_endpoint=False).decode_options({"region_name": "eu-central-1"}).region_name
        'eu-central-1'
        """
        options = decode_struct(S3Options, values, f"{self.name} bucket")
        self._endpoint(options)
        return options

    def identity(self, location: Location) -> StorageIdentity:
        """Return the canonical host and the path: the same place has one identity, whatever platform and spelling name it."""
        endpoint = self._endpoint(location.options)
        return StorageIdentity(f"s3://{endpoint.identity}", join_prefix(location.bucket, location.prefix))

    def filesystem(self, location: Location, credentials: Credentials) -> "AbstractFileSystem":
        """Return an s3fs file system that has these credentials and no others."""
        from arraylake_s3.filesystem import open_filesystem

        return open_filesystem(self._endpoint(location.options), credentials)

    def object_store(self, location: Location, credentials: CredentialProvider) -> ObjectStoreSpec:
        """Describe the location."""
        return self._spec(location, credentials)

    def _spec(self, location: Location, credentials: CredentialProvider | None) -> ObjectStoreSpec:
        endpoint = self._endpoint(location.options)
        return ObjectStoreSpec(
            protocol="s3",
            bucket=location.bucket,
            prefix=location.prefix,
            endpoint=endpoint.url,
            region=endpoint.region,
            path_style=endpoint.path_style,
            allow_http=endpoint.allow_http,
            variant=endpoint.variant,
            credentials=credentials,
        )

    async def presign(
        self, location: Location, credentials: Credentials, requests: Sequence[KeyRequest], seconds: int
    ) -> list[Secret]:
        """Return a URL for each request, good for that verb on that key alone."""
        from arraylake_core.backends.object_store.s3_presigning import presigned

        # Each takes some 0.1 ms: too long, all together, for whoever else is on this loop.
        return await asyncio.to_thread(presigned, self._spec(location, None), location, credentials, requests, seconds)

    def read_listing(self, location: Location, body: bytes) -> ListingPage:
        """Read what the store answered to a ``LIST``."""
        from arraylake_core.backends.object_store.s3_presigning import listing_page

        return listing_page(location, body)

    def _endpoint(self, options: msgspec.Struct) -> Endpoint:
        """Return the API that the options lead to, checked; nothing stands in for an endpoint that is missing."""
        if isinstance(options, NoOptions):
            options = S3Options()
        if not isinstance(options, S3Options):
            raise InvalidOptionError(f"a {self.name} bucket takes S3Options, not {type(options).__name__}")
        if options.endpoint_url is None and self._needs_endpoint:
            raise InvalidOptionError(
                f"a {self.name} bucket needs endpoint_url, the URL of its S3 API: extra_config={{'endpoint_url': 'https://…'}}"
            )
        # A region becomes a part of AWS's host name: nothing else may get into it.
        if options.region_name is not None and not _REGION.match(options.region_name):
            raise InvalidOptionError("the option 'region_name' is wrong: use letters, digits and '-', such as 'eu-central-1'")
        parsed = parse_endpoint(options.endpoint_url, options.use_ssl)
        return msgspec.structs.replace(
            parsed,
            region=options.region_name or parsed.region,
            path_style=parsed.path_style if options.force_path_style is None else options.force_path_style,
        )
