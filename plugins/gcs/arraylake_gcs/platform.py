"""The platform ``gs``."""

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
from arraylake_core.backends.endpoint import HttpEndpoint, parse_http_endpoint
from arraylake_core.errors import InvalidOptionError
from arraylake_core.names import join_prefix
from arraylake_core.options import decode_struct
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["GCSOptions", "GCSPlatform"]

_GOOGLE = "https://storage.googleapis.com"
_GOOGLE_HOST = re.compile(r"(?:.+\.)?googleapis\.com\Z")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]\Z", re.ASCII)


class GCSOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``extra_config`` of a GCS bucket.

    Parameters
    ----------
    endpoint_url
        The URL of the storage API, where it is not Google's: a private endpoint, an emulator.
    project
        The project that pays for requests to a bucket whose requesters pay.
    """

    endpoint_url: str | None = None
    project: str | None = None


class GCSPlatform(StoragePlatform):
    """Google Cloud Storage."""

    name = "gs"
    schemes = ("gs", "gcs")
    options = GCSOptions

    def decode_options(self, values: Mapping[str, object]) -> GCSOptions:
        """Check ``extra_config``.

        Examples
        --------
        >>> GCSPlatform().decode_options({"project": "ocean-models"}).project
        'ocean-models'
        """
        options = decode_struct(GCSOptions, values, "gs bucket")
        _endpoint(options)
        if options.project is not None and not _PROJECT.match(options.project):
            raise InvalidOptionError("the option 'project' is wrong: give the project's id, 6 to 30 of a-z, 0-9 and '-'")
        return options

    def identity(self, location: Location) -> StorageIdentity:
        """Return the canonical host and the path: of Google's own hosts, the one whose S3-compatible API the platform ``s3`` reaches too."""
        endpoint = _endpoint(location.options)
        google = endpoint.usual_port and _GOOGLE_HOST.match(endpoint.host)
        store = parse_http_endpoint(_GOOGLE).identity if google else endpoint.identity
        # Whichever API is spoken there, a host has one bucket of a name: this is what the S3 platforms call it.
        return StorageIdentity(f"s3://{store}", join_prefix(location.bucket, location.prefix))

    def filesystem(self, location: Location, credentials: Credentials) -> "AbstractFileSystem":
        """Return a file system that has these credentials and no others: gcsfs, or for HMAC keys one over the S3-compatible API."""
        from arraylake_gcs.filesystem import open_filesystem

        return open_filesystem(self._described(location), credentials)

    def object_store(self, location: Location, credentials: CredentialProvider) -> ObjectStoreSpec:
        """Describe the location."""
        return msgspec.structs.replace(self._described(location), credentials=credentials)

    async def presign(
        self, location: Location, credentials: Credentials, requests: Sequence[KeyRequest], seconds: int
    ) -> list[Secret]:
        """Return a URL of the S3-compatible API for each request, good for that verb on that key alone; it takes HMAC keys to sign."""
        from arraylake_core.backends.object_store.gcs import as_s3
        from arraylake_core.backends.object_store.s3_presigning import presigned

        # Each takes some 0.1 ms: too long, all together, for whoever else is on this loop.
        return await asyncio.to_thread(presigned, as_s3(self._described(location)), location, credentials, requests, seconds)

    def read_listing(self, location: Location, body: bytes) -> ListingPage:
        """Read what the store answered to a ``LIST``."""
        from arraylake_core.backends.object_store.s3_presigning import listing_page

        return listing_page(location, body)

    @staticmethod
    def _described(location: Location) -> ObjectStoreSpec:
        endpoint = _endpoint(location.options)
        return ObjectStoreSpec(
            protocol="gcs",
            bucket=location.bucket,
            prefix=location.prefix,
            endpoint=endpoint.url,
            allow_http=endpoint.allow_http,
            payer=_options(location.options).project,
        )


def _options(options: msgspec.Struct) -> GCSOptions:
    if isinstance(options, NoOptions):
        return GCSOptions()
    if not isinstance(options, GCSOptions):
        raise InvalidOptionError(f"a gs bucket takes GCSOptions, not {type(options).__name__}")
    return options


def _endpoint(options: msgspec.Struct) -> HttpEndpoint:
    return parse_http_endpoint(_options(options).endpoint_url or _GOOGLE)
