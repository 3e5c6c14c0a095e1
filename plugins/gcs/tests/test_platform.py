"""The platform passes the kit: by token, without one, and by HMAC keys."""

from uuid import uuid4

import msgspec
import pytest
from arraylake_gcs import GCSOptions, GCSPlatform

from arraylake_core.backends import (
    AnonymousCredentials,
    AzureCredentials,
    CredentialProvider,
    Credentials,
    GCSCredentials,
    Location,
    S3Credentials,
)
from arraylake_core.secret import Secret
from arraylake_core.testing.storage import StoragePlatformTests
from tests.servers.gcs import ADMIN_TOKEN, PUBLIC_BUCKET, FakeGCS
from tests.servers.seaweedfs import ADMIN, SeaweedFS


class Keys(msgspec.Struct, frozen=True):
    """Credentials by the name of their owner, as sources are: no secret is in one."""

    owner: str

    async def mint(self) -> Credentials:
        match self.owner:
            case "nobody":
                return AnonymousCredentials()
            case "hmac":
                return S3Credentials(aws_access_key_id=ADMIN[0], aws_secret_access_key=Secret(ADMIN[1]))
        return GCSCredentials(access_token=Secret(ADMIN_TOKEN))


class GCSTests(StoragePlatformTests):
    owner: str
    uris = ("gs://lake", "gs://lake.example.org/team", "gs://lake_1/team/ocean")
    options = {"project": "ocean-models"}
    bad_options = (
        ({"endpoint_url": "ftp://host"}, "https:// or http://"),
        ({"endpoint_url": "https://user:CANARY@host"}, "auth_config"),
        ({"endpoint_url": "https://host/bucket"}, "end after the host"),
        ({"project": "CANARY project"}, "the project's id"),
        ({"region_name": "eu"}, "region_name"),
    )
    foreign = (AzureCredentials(storage_account="lake", sas_token=Secret("CANARY")),)

    @pytest.fixture
    def platform(self) -> GCSPlatform:
        return GCSPlatform()

    @pytest.fixture
    def provider(self) -> CredentialProvider:
        return CredentialProvider(Keys(self.owner))


@pytest.fixture(scope="module")
def gcs_bucket(gcs: FakeGCS) -> str:
    return gcs.make_bucket(f"lake-{uuid4().hex[:8]}")


class TestByToken(GCSTests):
    owner = "admin"

    @pytest.fixture
    def location(self, gcs: FakeGCS, gcs_bucket: str) -> Location:
        options = GCSOptions(endpoint_url=gcs.endpoint)
        return Location(platform="gs", bucket=gcs_bucket, prefix=f"lake/{uuid4().hex}", options=options)


class TestWithoutOne(GCSTests):
    owner = "nobody"

    @pytest.fixture
    def location(self, gcs: FakeGCS) -> Location:
        options = GCSOptions(endpoint_url=gcs.endpoint)
        return Location(platform="gs", bucket=PUBLIC_BUCKET, prefix=f"lake/{uuid4().hex}", options=options)

    async def test_a_probe_finds_it_good_leaves_nothing_and_logs_no_secret(self, platform, location, provider) -> None:
        """All but conditional writes, which need credentials: obstore would sign them with the identity of the machine."""
        report = await platform.probe(location, provider)
        assert (report.reachable, report.readable, report.writable) == (True, True, True)
        assert not report.safe_for_concurrent_writes
        assert any("conditionally" in problem for problem in report.problems)


@pytest.fixture(scope="module")
def shared_bucket(seaweedfs: SeaweedFS) -> str:
    return seaweedfs.make_bucket(f"shared-{uuid4().hex[:12]}")


class TestByHmacKeys(GCSTests):
    """At a server that speaks the S3 API, as Google's interoperable one does."""

    owner = "hmac"

    @pytest.fixture
    def location(self, seaweedfs: SeaweedFS, shared_bucket: str) -> Location:
        options = GCSOptions(endpoint_url=seaweedfs.endpoint)
        return Location(platform="gs", bucket=shared_bucket, prefix=f"lake/{uuid4().hex}", options=options)
