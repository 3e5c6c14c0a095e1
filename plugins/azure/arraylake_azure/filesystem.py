"""An adlfs file system that keeps its credentials to itself."""

from typing import TYPE_CHECKING, NoReturn, Self

from adlfs import AzureBlobFileSystem
from azure.core.credentials import AccessToken, AzureNamedKeyCredential, AzureSasCredential
from azure.storage.blob.aio import BlobServiceClient, LinearRetry

from arraylake_core.backends import AnonymousCredentials, AzureCredentials, Credentials
from arraylake_core.backends.object_store.azure import azure_credentials
from arraylake_core.models import utc_now
from arraylake_core.secret import Secret

if TYPE_CHECKING:
    from fsspec.spec import AbstractFileSystem

type Credential = AzureNamedKeyCredential | AzureSasCredential | _Bearer | None

__all__ = ["KeyedAzureFileSystem", "open_filesystem"]

_RETRIES = 3
_CONNECT_SECONDS = 10


class _Nothing:
    """Stands where adlfs would look for credentials in the environment."""

    async def close(self) -> None:
        """Do nothing."""


class _Bearer:
    """A token in the form that Azure's libraries ask for."""

    def __init__(self, token: Secret, credentials: AzureCredentials) -> None:
        self._token, self._expiration = token, credentials.expiration

    async def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, enable_cae: bool = False, **options: object
    ) -> AccessToken:
        """Return the token."""
        end = self._expiration.timestamp() if self._expiration is not None else utc_now().timestamp() + 3600
        return AccessToken(self._token.reveal(), int(end))

    async def close(self) -> None:
        """Do nothing."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Do nothing."""


class KeyedAzureFileSystem(AzureBlobFileSystem):  # type: ignore[misc]
    """adlfs with one set of credentials, which it neither caches nor pickles nor looks for elsewhere."""

    # fsspec caches instances by their options; one cached here would outlive its credentials.
    cachable = False

    def __init__(self, url: str, account: str, credential: "Credential") -> None:
        self._url, self._credential = url, credential
        super().__init__(
            account_name=account, credential=_Nothing(), anon=True, use_listings_cache=False, skip_instance_cache=True
        )

    def do_connect(self) -> None:
        """Connect with what was given, whatever the environment has."""
        self.service_client = BlobServiceClient(
            self._url,
            credential=self._credential,
            retry_policy=LinearRetry(backoff=1, retry_total=_RETRIES),
            connection_timeout=_CONNECT_SECONDS,
        )

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, max_concurrency: int | None = None, **kwargs: object
    ) -> bytes:
        """Read a file or a part of it, which may be counted from its end: Azure itself counts from the beginning alone."""
        if (start or 0) < 0 or (end or 0) < 0:
            start, end, _ = slice(start, end).indices((await self._info(path))["size"])
            if start >= end:
                return b""
        found: bytes = await super()._cat_file(path, start=start, end=end, max_concurrency=max_concurrency, **kwargs)
        return found

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an Azure file system with credentials is never pickled: pickle the repo, which asks for its own where it wakes up"
        )

    def to_dict(self, *, include_password: bool = True) -> NoReturn:
        """Refuse, as pickling does."""
        self.__reduce__()


def open_filesystem(url: str, account: str, credentials: Credentials) -> "AbstractFileSystem":
    """Return a file system that has these credentials, and never those of the environment.

    Parameters
    ----------
    url
        The URL of the account's blob service.
    account
        The storage account.
    credentials
        A shared access signature, an account key, a bearer token, or none.

    Raises
    ------
    CredentialsError
        The credentials are not for Azure.
    """
    if isinstance(credentials, AnonymousCredentials):
        return KeyedAzureFileSystem(url, account, None)
    found = azure_credentials(credentials)
    if found.sas_token is not None:
        return KeyedAzureFileSystem(url, account, AzureSasCredential(found.sas_token.reveal().removeprefix("?")))
    if found.account_key is not None:
        return KeyedAzureFileSystem(url, account, AzureNamedKeyCredential(account, found.account_key.reveal()))
    assert found.bearer_token is not None
    return KeyedAzureFileSystem(url, account, _Bearer(found.bearer_token, found))
