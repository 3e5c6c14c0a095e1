"""The platform passes the kit: by token, without one, and by HMAC keys."""

from uuid import uuid4

import msgspec
import pytest
from arraylake_gcs import GCSOptions, GCSPlatform
from arraylake_s3 import S3Platform

from arraylake_core import Client
from arraylake_core.backends import (
    AnonymousCredentials,
    AzureCredentials,
    CredentialProvider,
    Credentials,
    GCSCredentials,
    Location,
    S3Credentials,
    StorageIdentity,
    StoragePlatform,
)
from arraylake_core.errors import AlreadyExistsError
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
    respelled = ({"endpoint_url": "https://storage.googleapis.com"}, {"endpoint_url": "https://Storage.GoogleAPIs.com:443/"})
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


class TestByToken(GCSTests):
    owner = "admin"


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


def identity(endpoint: str | None, platform: StoragePlatform = GCSPlatform()) -> StorageIdentity:  # noqa: B008 - it has no state
    """Return where a bucket at an endpoint really is."""
    options = platform.decode_options({"endpoint_url": endpoint} if endpoint else {})
    return platform.identity(Location(platform=platform.name, bucket="lake", prefix="ocean", options=options))


def test_p14_every_spelling_of_google_is_one_store() -> None:
    """Its regional, private and old hosts, and its S3-compatible API through the platform of that."""
    hosts = ("storage", "STORAGE", "www", "commondatastorage", "storage.europe-west3.rep", "storage.mtls", "storage-lake.p")
    spelled = {identity(f"https://{host}.googleapis.com") for host in hosts} | {identity("http://storage.googleapis.com.:80/")}
    s3 = identity("https://storage.googleapis.com", S3Platform("s3-compatible", needs_endpoint=True))
    assert spelled == {identity(None), s3}


@pytest.mark.parametrize(
    "url", ["https://storage.googleapis.com:8443", "https://googleapis.com.example.org", "https://notgoogleapis.com"]
)
def test_p14_a_server_that_is_not_google_s_own_is_a_place_apart(url: str) -> None:
    assert identity(url) != identity(None)


def test_p14_no_two_repos_overlap_whichever_api_leads_there(seaweedfs: SeaweedFS, bucket: str) -> None:
    """One server, as gs by HMAC keys and as s3."""
    key, secret = seaweedfs.admin
    auth = {"method": "hmac", "access_key_id": key, "secret_access_key": secret}
    with Client("memory://") as client:
        place = {"org": "me", "extra_config": {"endpoint_url": seaweedfs.endpoint}, "auth_config": auth}
        client.create_bucket_config(nickname="by-gs", uri=f"gs://{bucket}", **place)
        with pytest.raises(AlreadyExistsError, match="by-gs"):
            client.create_bucket_config(nickname="by-s3", uri=f"s3://{bucket}", **place)
        client.create_bucket_config(nickname="by-s3", uri=f"s3://{bucket}/ocean", **place)
        client.create_repo("me/ocean", bucket_config_nickname="by-gs", prefix="ocean", kind="v1")
        with pytest.raises(AlreadyExistsError, match="ocean"):
            client.create_repo("me/sea", bucket_config_nickname="by-s3", prefix="sea", kind="v1")
        assert [found.name for found in client.list_repos("me")] == ["ocean"]
