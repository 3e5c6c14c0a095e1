"""The platform ``azure``."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from arraylake_core.backends import (
    BucketAddress,
    CredentialProvider,
    Credentials,
    Location,
    ObjectStoreSpec,
    StorageIdentity,
    StoragePlatform,
)
from arraylake_core.backends.endpoint import HttpEndpoint, parse_http_endpoint
from arraylake_core.errors import InvalidNameError, InvalidOptionError
from arraylake_core.names import join_prefix
from arraylake_core.options import decode_struct

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

__all__ = ["AzureOptions", "AzurePlatform", "endpoint_of"]

_ACCOUNT = re.compile(r"[a-z0-9]{3,24}\Z", re.ASCII)
_CONTAINER = re.compile(r"(?!.*--)[a-z0-9$][a-z0-9-]{1,61}[a-z0-9]\Z", re.ASCII)
# As other programs write them: abfs://container@account.dfs.core.windows.net/prefix.
_QUALIFIED = re.compile(r"(?P<container>[^@/]+)@(?P<account>[a-z0-9]{3,24})\.(?:dfs|blob)\.core\.windows\.net\Z")


class AzureOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``extra_config`` of an Azure container.

    Parameters
    ----------
    storage_account
        The storage account; it may also stand in the URI, or in ``auth_config``.
    endpoint_url
        The URL of the account's blob service, where it is not ``https://ACCOUNT.blob.core.windows.net``: another cloud, an emulator.
    hierarchical_namespace
        Whether the account has directories (a data lake): then signatures are made for a repo's own.
    """

    storage_account: str
    endpoint_url: str | None = None
    hierarchical_namespace: bool = False


class AzurePlatform(StoragePlatform):
    """Azure Blob Storage, and Data Lake Storage, which is the same bytes."""

    name = "azure"
    schemes = ("azure", "az", "abfs", "abfss")
    options = AzureOptions

    def parse_uri(self, uri: str) -> BucketAddress:
        """Take a URI apart; an account that stands in it is an option, see ``implied_options``.

        Examples
        --------
        >>> AzurePlatform().parse_uri("abfss://lake@ourdata.dfs.core.windows.net/team")
        BucketAddress(name='lake', prefix='team')
        """
        scheme, _, rest = uri.partition("://")
        host, slash, prefix = rest.partition("/")
        if found := _QUALIFIED.match(host):
            uri = f"{scheme}://{found['container']}{slash}{prefix}"
        address = super().parse_uri(uri)
        if not _CONTAINER.match(address.name):
            raise InvalidNameError("a container's name has 3 to 63 of a-z, 0-9 and single '-' between them")
        return address

    def implied_options(self, uri: str, auth_config: Mapping[str, object]) -> dict[str, object]:
        """Return the storage account that a URI or an ``auth_config`` names."""
        found = _QUALIFIED.match(uri.partition("://")[2].partition("/")[0])
        account = found["account"] if found else auth_config.get("storage_account")
        return {} if account is None else {"storage_account": account}

    def decode_options(self, values: Mapping[str, object]) -> AzureOptions:
        """Check ``extra_config``.

        Examples
        --------
        >>> AzurePlatform().decode_options({"storage_account": "ourdata"}).storage_account
        'ourdata'
        """
        options = decode_struct(AzureOptions, values, "azure bucket")
        if not _ACCOUNT.match(options.storage_account):
            raise InvalidOptionError("the option 'storage_account' is wrong: an account's name has 3 to 24 of a-z and 0-9")
        endpoint_of(options)
        return options

    def identity(self, location: Location) -> StorageIdentity:
        """Return the canonical host, and the path in the account."""
        endpoint = endpoint_of(location.options)
        place = join_prefix(location.bucket, location.prefix)
        return StorageIdentity(f"azure://{endpoint.identity}", join_prefix(endpoint.path, place) if endpoint.path else place)

    def filesystem(self, location: Location, credentials: Credentials) -> "AbstractFileSystem":
        """Return an adlfs file system that has these credentials and no others."""
        from arraylake_azure.filesystem import open_filesystem

        return open_filesystem(endpoint_of(location.options).url, _options(location.options).storage_account, credentials)

    def object_store(self, location: Location, credentials: CredentialProvider) -> ObjectStoreSpec:
        """Describe the location."""
        endpoint = endpoint_of(location.options)
        return ObjectStoreSpec(
            protocol="azure",
            bucket=location.bucket,
            prefix=location.prefix,
            endpoint=endpoint.url,
            allow_http=endpoint.allow_http,
            account=_options(location.options).storage_account,
            credentials=credentials,
        )


def _options(options: msgspec.Struct) -> AzureOptions:
    if not isinstance(options, AzureOptions):
        raise InvalidOptionError(f"an azure bucket takes AzureOptions, not {type(options).__name__}")
    return options


def endpoint_of(options: msgspec.Struct) -> HttpEndpoint:
    """Return the blob service that options lead to, checked."""
    checked = _options(options)
    found = parse_http_endpoint(checked.endpoint_url or f"https://{checked.storage_account}.blob.core.windows.net", path=True)
    host = (urlsplit(found.url).hostname or "").split(".")
    if host[1:] == ["dfs", "core", "windows", "net"]:
        raise InvalidOptionError(
            "the option 'endpoint_url' is wrong: give the account's blob endpoint, not the one for data lakes (dfs)"
        )
    if host[1:] == ["blob", "core", "windows", "net"] and host[0] != checked.storage_account:
        raise InvalidOptionError("the option 'endpoint_url' is of another storage account than 'storage_account': leave one out")
    if found.path not in ("", checked.storage_account):
        raise InvalidOptionError("the option 'endpoint_url' ends after the host, or, for emulators, after the account's name")
    return found
