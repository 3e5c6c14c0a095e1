"""Shared access signatures by a user delegation key: made with a token of Entra, and with no key of the account.

https://learn.microsoft.com/rest/api/storageservices/create-user-delegation-sas
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from xml.etree import ElementTree

import msgspec

from arraylake_core.backends.credentials import AzureCredentials
from arraylake_core.backends.delegation import operator_setting
from arraylake_core.backends.exchange.azure import AzureToken
from arraylake_core.backends.exchange.http import post_raw
from arraylake_core.errors import CredentialsError, PluginError
from arraylake_core.models import utc_now
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from azure.storage.blob import UserDelegationKey

    from arraylake_core.backends.credentials import Access
    from arraylake_core.backends.storage import Location

__all__ = ["is_confined", "user_delegation_sas"]

_VERSION = "2022-11-02"
_CLOCKS = timedelta(minutes=5)
_CLOUDS = (".blob.core.windows.net", ".blob.core.chinacloudapi.cn", ".blob.core.usgovcloudapi.net")
_FIELDS = {
    "SignedOid": "signed_oid",
    "SignedTid": "signed_tid",
    "SignedStart": "signed_start",
    "SignedExpiry": "signed_expiry",
    "SignedService": "signed_service",
    "SignedVersion": "signed_version",
    "Value": "value",
}


def is_confined(location: "Location") -> bool:
    """Tell whether a signature can be limited to a location: to its directory where the account has directories, else only to its container."""
    return not location.prefix or bool(msgspec.structs.asdict(location.options).get("hierarchical_namespace"))


async def user_delegation_sas(
    token: AzureToken, account: str, endpoint: str, location: "Location", access: "Access", *, seconds: int = 3600
) -> AzureCredentials:
    """Return a signature for a location, or for its container where the account has no directories.

    Parameters
    ----------
    token
        Of an application that may read and write there, and has the role Storage Blob Delegator.
    account, endpoint
        The storage account, and the URL of its blob service.
    location
        What may be reached.
    access
        To read, or to write too.
    seconds
        The lifetime.

    Raises
    ------
    CredentialsError
        The endpoint is not Azure's, or the account gives no key for that.
    """
    _require_trusted(account, endpoint)
    begin, end = utc_now() - _CLOCKS, min(utc_now() + timedelta(seconds=seconds), token.expiration)
    key = await _delegation_key(token, endpoint, begin, end)
    return AzureCredentials(
        storage_account=account, sas_token=Secret(_signature(key, account, location, access, begin, end)), expiration=end
    )


def _require_trusted(account: str, endpoint: str) -> None:
    """Raise where the token would go to a server that a bucket config merely names: whoever runs that could use it on every account it opens."""
    chosen = operator_setting("azure.blob_endpoint")
    if chosen is not None and endpoint.rstrip("/") == chosen.rstrip("/"):
        return
    found = urlsplit(endpoint)
    if found.scheme != "https" or found.netloc.removesuffix(":443") not in {f"{account}{cloud}" for cloud in _CLOUDS}:
        raise CredentialsError(
            "a token of Entra goes to Azure over https only, and the bucket's endpoint_url is not the account's there: leave endpoint_url out, or let the "
            "operator set delegation.azure.blob_endpoint to it"
        )


async def _delegation_key(token: AzureToken, endpoint: str, begin: datetime, end: datetime) -> "UserDelegationKey":
    body = f"<KeyInfo><Start>{_stamp(begin)}</Start><Expiry>{_stamp(end)}</Expiry></KeyInfo>".encode()
    headers = {"content-type": "application/xml", "accept": "application/xml", "x-ms-version": _VERSION}
    url = f"{endpoint}/?restype=service&comp=userdelegationkey"
    status, answer = await post_raw(url, body, what="the storage account", bearer=token.token, headers=headers)
    if status != 200 or b"<!" in answer:
        raise CredentialsError(
            f"the storage account gave no key to sign with ({status}): its application needs the roles Storage Blob Delegator and Storage Blob "
            "Data Contributor, and the clock of this machine must be right"
        )
    try:
        from azure.storage.blob import UserDelegationKey

        root = ElementTree.fromstring(answer.decode("utf-8-sig"))  # noqa: S314 - documents that define entities are refused above
    except ImportError:
        raise PluginError('signatures of Azure need its library: pip install "arraylake-core[azure]"') from None
    except (ElementTree.ParseError, UnicodeDecodeError):
        raise CredentialsError("the storage account answered with something other than a key: check endpoint_url") from None
    key = UserDelegationKey()  # type: ignore[no-untyped-call]
    for name, field in _FIELDS.items():
        setattr(key, field, root.findtext(name))
    if key.value is None:
        raise CredentialsError("the storage account answered with something other than a key: check endpoint_url")
    return key


def _signature(
    key: "UserDelegationKey", account: str, location: "Location", access: "Access", begin: datetime, end: datetime
) -> str:
    if location.prefix and is_confined(location):
        from azure.storage.filedatalake import DirectorySasPermissions, generate_directory_sas

        writes = access == "write"
        rights = DirectorySasPermissions(read=True, list=True, write=writes, delete=writes, create=writes)
        # The two libraries name the same class of keys differently.
        return str(
            generate_directory_sas(
                account, location.bucket, location.prefix, credential=cast("str", key), permission=rights, start=begin, expiry=end
            )
        )
    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    rights_of_container = ContainerSasPermissions.from_string("rl" if access == "read" else "racwdl")
    return str(
        generate_container_sas(
            account, location.bucket, user_delegation_key=key, permission=rights_of_container, start=begin, expiry=end
        )
    )


def _stamp(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
