"""The platform passes the kit: by key, and by a shared access signature."""

from datetime import timedelta
from uuid import uuid4

import msgspec
import pytest
from arraylake_azure import AzureOptions, AzurePlatform

from arraylake_core.backends import AzureCredentials, CredentialProvider, Credentials, GCSCredentials, Location, S3Credentials
from arraylake_core.backends.storage import StorageIdentity
from arraylake_core.errors import InvalidNameError, InvalidOptionError
from arraylake_core.models import utc_now
from arraylake_core.secret import Secret
from arraylake_core.testing.storage import StoragePlatformTests
from tests.servers.azurite import ACCOUNT, KEY, Azurite


class Keys(msgspec.Struct, frozen=True):
    """Credentials by the name of what they are for, as sources are: no secret is in one."""

    server: str
    container: str = ""

    async def mint(self) -> Credentials:
        if self.container:
            # The same for all who ask: the kit compares what two processes get.
            end = utc_now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=2)
            token = Azurite(self.server).sas(self.container, end=end)
            return AzureCredentials(storage_account=ACCOUNT, sas_token=Secret(token), expiration=end)
        return AzureCredentials(storage_account=ACCOUNT, account_key=Secret(KEY))


@pytest.fixture(scope="module")
def container(azurite: Azurite) -> str:
    return azurite.make_container(f"lake-{uuid4().hex[:8]}")


class AzureTests(StoragePlatformTests):
    uris = ("azure://lake", "azure://lake/team", "azure://lake-1/team/ocean")
    bad_uris = ("azure://la_ke", "azure://Lake", "azure://lake--x", "azure://user@lake/x", "azure://lake@x.example.org/y")
    options = {"storage_account": "ourdata"}
    respelled = ({"storage_account": "ourdata", "endpoint_url": "https://OURDATA.blob.core.windows.net:443/"},)
    bad_options = (
        ({}, "storage_account"),
        ({"storage_account": "CANARY account"}, "3 to 24"),
        ({"storage_account": "ourdata", "endpoint_url": "ftp://host"}, "https:// or http://"),
        ({"storage_account": "ourdata", "endpoint_url": "https://u:CANARY@host"}, "auth_config"),
        ({"storage_account": "ourdata", "endpoint_url": "https://other.blob.core.windows.net"}, "another storage account"),
        ({"storage_account": "ourdata", "endpoint_url": "https://ourdata.dfs.core.windows.net"}, "blob endpoint"),
        ({"storage_account": "ourdata", "endpoint_url": "https://host/other"}, "after the account's name"),
        ({"storage_account": "ourdata", "region": "eu"}, "region"),
    )
    foreign = (
        GCSCredentials(access_token=Secret("CANARY")),
        S3Credentials(aws_access_key_id="AKIA", aws_secret_access_key=Secret("CANARY")),
    )

    @pytest.fixture
    def platform(self) -> AzurePlatform:
        return AzurePlatform()

    @pytest.fixture
    def location(self, azurite: Azurite, container: str) -> Location:
        options = AzureOptions(storage_account=ACCOUNT, endpoint_url=azurite.endpoint)
        return Location(platform="azure", bucket=container, prefix=f"lake/{uuid4().hex}", options=options)


class TestByKey(AzureTests):
    @pytest.fixture
    def provider(self, azurite: Azurite) -> CredentialProvider:
        return CredentialProvider(Keys(azurite.endpoint))


class TestBySignature(AzureTests):
    @pytest.fixture
    def provider(self, azurite: Azurite, container: str) -> CredentialProvider:
        return CredentialProvider(Keys(azurite.endpoint, container))


@pytest.mark.parametrize(
    "uri",
    [
        "abfs://lake@ourdata.dfs.core.windows.net/team",
        "abfss://lake@ourdata.dfs.core.windows.net/team",
        "az://lake@ourdata.blob.core.windows.net/team",
    ],
)
def test_p14_a_place_is_one_however_it_is_written(uri: str) -> None:
    platform = AzurePlatform()
    address, implied = platform.parse_uri(uri), platform.implied_options(uri, {})
    assert implied == {"storage_account": "ourdata"}
    expected = StorageIdentity("azure://ourdata.blob.core.windows.net", "lake/team")
    for more in ({}, {"endpoint_url": "https://OURDATA.blob.core.windows.net:443/"}):
        options = platform.decode_options({**implied, **more})
        assert (
            platform.identity(Location(platform="azure", bucket=address.name, prefix=address.prefix, options=options)) == expected
        )


def test_accounts_that_contradict_each_other_are_refused() -> None:
    from arraylake_core import Client

    with Client("memory://") as client, pytest.raises(InvalidOptionError, match="'storage_account' says something else"):
        client.create_bucket_config(
            org="me",
            nickname="lake",
            uri="abfs://lake@ourdata.dfs.core.windows.net/x",
            auth_config={"method": "anonymous"},
            extra_config={"storage_account": "another"},
        )
    with pytest.raises(InvalidNameError):
        AzurePlatform().parse_uri("abfs://lake@ourdata.dfs.core.windows.net.evil.example.org/x")
