"""Storage platforms: where bytes are kept."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from arraylake_core.backends.credentials import CredentialProvider, Credentials
from arraylake_core.errors import InvalidNameError
from arraylake_core.models import ProbeReport
from arraylake_core.names import LONGEST_KEY, join_prefix, shown, validate_bucket_name, validate_prefix
from arraylake_core.options import decode_struct

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["BucketAddress", "Location", "NoOptions", "ObjectStoreSpec", "StorageIdentity", "StoragePlatform"]


class BucketAddress(NamedTuple):
    """What a bucket URI says.

    Parameters
    ----------
    name
        The bucket; for file systems, the root directory.
    prefix
        The prefix below it, or "".
    """

    name: str
    prefix: str


class NoOptions(msgspec.Struct, frozen=True):
    """The options Struct of a platform that takes none."""


class Location(msgspec.Struct, frozen=True, kw_only=True):
    """A place in storage: a prefix of a bucket of a platform.

    Parameters
    ----------
    platform
        The platform's name.
    bucket
        The bucket's name.
    prefix
        The whole key prefix, without a slash at either end; "" is the bucket's root.
    options
        The platform's options Struct, which the bucket config carries as ``extra_config``.
    """

    platform: str
    bucket: str
    prefix: str = ""
    options: msgspec.Struct = msgspec.field(default_factory=NoOptions)

    def __post_init__(self) -> None:
        """Confine it: whoever makes a Location, no prefix leads out of it."""
        validate_prefix(self.prefix, longest=LONGEST_KEY)

    @property
    def uri(self) -> str:
        """``platform://bucket[/prefix]``, for people to read."""
        return f"{self.platform}://{join_prefix(self.bucket, self.prefix)}"

    def below(self, prefix: str) -> "Location":
        """Return the place at a prefix below this one."""
        return msgspec.structs.replace(self, prefix=join_prefix(self.prefix, prefix))


class StorageIdentity(NamedTuple):
    """Where a location really is, however it is spelled: two locations hold the same bytes if and only if both parts agree.

    Parameters
    ----------
    store
        The store: the machine's file system, or the canonical host of the endpoint.
    path
        The path in it, parts separated by slashes, without one at either end.
    """

    store: str
    path: str


class ObjectStoreSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A neutral description of a location in an object store, from which libraries other than fsspec open it.

    Parameters
    ----------
    protocol
        The API family.
    bucket
        The bucket; "" for files and memory.
    prefix
        The whole key prefix; for files, the absolute path.
    endpoint
        The URL of the API, or None for the provider's own.
    region
        The region, or None.
    path_style
        Whether the bucket's name goes into the path, not into the host name.
    allow_http
        Whether the endpoint may be plain HTTP.
    variant
        The product, where it is known to need care.
    payer
        The project that pays for requests, where the bucket's owner does not.
    credentials
        What gives and refreshes the credentials.
    """

    protocol: Literal["file", "memory", "s3", "gcs", "azure"]
    bucket: str = ""
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None
    path_style: bool = False
    allow_http: bool = False
    variant: Literal["r2", "tigris"] | None = None
    account: str | None = None
    payer: str | None = None
    credentials: CredentialProvider | None = None


class StoragePlatform(ABC):
    """A kind of place where bytes are kept: S3, local disks, ...

    Attributes
    ----------
    name
        The platform's name, which is also the scheme of its bucket URIs.
    schemes
        Every URI scheme that it claims.
    options
        The Struct of its ``extra_config``; unknown fields and wrong types are refused for it.
    """

    name: str
    schemes: tuple[str, ...]
    options: type[msgspec.Struct] = NoOptions

    def parse_uri(self, uri: str) -> BucketAddress:
        """Take a bucket URI apart.

        Parameters
        ----------
        uri
            ``scheme://bucket[/prefix]``, of one of this platform's schemes.

        Raises
        ------
        InvalidNameError
            A part breaks the rules; what may be a password in it is not repeated.
        """
        _, _, rest = uri.partition("://")
        name, _, prefix = rest.partition("/")
        if "@" in rest or "?" in rest or "#" in rest:
            raise InvalidNameError(
                "a bucket URI is 'platform://bucket[/prefix]', without user, query or fragment: credentials go into auth_config"
            )
        return BucketAddress(validate_bucket_name(name), validate_prefix(prefix.removesuffix("/")))

    def implied_options(self, uri: str, auth_config: Mapping[str, object]) -> dict[str, object]:
        """Return the options that a URI or an ``auth_config`` says along with what it is for; those in ``extra_config`` must not contradict them."""
        return {}

    def decode_options(self, values: Mapping[str, object]) -> msgspec.Struct:
        """Check ``extra_config`` against the options Struct.

        Raises
        ------
        InvalidOptionError
            A field is unknown, missing or of the wrong type.
        """
        return decode_struct(self.options, values, f"{self.name} bucket")

    def identity(self, location: Location) -> StorageIdentity:
        """Return where a location really is: aliases, default ports, upper case and symbolic links resolved."""
        return StorageIdentity(f"{self.name}://", join_prefix(location.bucket, location.prefix))

    def path(self, location: Location) -> str:
        """Return the location's path on ``filesystem``."""
        return join_prefix(location.bucket, location.prefix)

    @abstractmethod
    def filesystem(self, location: Location, credentials: Credentials) -> "AbstractFileSystem":
        """Return a blocking fsspec file system that reaches the location with these credentials and no others."""

    def object_store(self, location: Location, credentials: CredentialProvider) -> ObjectStoreSpec | None:
        """Return a neutral description of the location, or None where only fsspec reaches it."""
        return None

    async def probe(self, location: Location, credentials: CredentialProvider) -> ProbeReport:
        """Find out whether the location is reachable, readable, writable, and honours conditional writes.

        Objects are written under a random name, and removed. It never raises for what the store does: that is in the report.
        """
        from arraylake_core.backends.probe import probe_location

        return await probe_location(self, location, credentials)

    def __repr__(self) -> str:
        return f"<storage platform {shown(self.name)}>"
