"""A stranger's platform, which only fsspec reaches, passes the kit against a real SFTP server, and other processes find it."""

import subprocess
import sys
from uuid import uuid4

import msgspec
import pytest

from arraylake_core import Client
from arraylake_core.backends import AnonymousCredentials, CredentialProvider, Location, S3Credentials, StoragePlatform
from arraylake_core.plugins import default_registry
from arraylake_core.secret import Secret
from arraylake_core.testing.storage import StoragePlatformTests


class Nobody(msgspec.Struct, frozen=True):
    async def mint(self) -> AnonymousCredentials:
        return AnonymousCredentials()


@pytest.fixture
def provider() -> CredentialProvider:
    return CredentialProvider(Nobody())


@pytest.fixture
def platform(sftp_plugin) -> StoragePlatform:
    return default_registry().storage_platform("sftp")


@pytest.fixture
def location(platform, sftp_server) -> Location:
    options = platform.decode_options(sftp_server.bucket(f"/{uuid4().hex}"))
    return Location(platform="sftp", bucket="loopback", prefix="place", options=options)


class TestSftp(StoragePlatformTests):
    uris = ("sftp://loopback", "sftp://loopback/some/prefix")
    bad_uris = ("sftp://two words", "sftp://" + "x" * 64, "sftp://loopback:22")
    options = {"host": "127.0.0.1", "user": "ada", "host_key": "ssh-ed25519 AAAA", "identity_file": "/home/ada/.ssh/id"}
    bad_options = (({"host": "127.0.0.1"}, "'user' is missing"),)
    foreign = (S3Credentials(aws_access_key_id="a", aws_secret_access_key=Secret("CANARY")),)


async def test_a_server_with_another_key_is_not_talked_to(platform, location, provider):
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1"
    wrong = msgspec.structs.replace(location, options=msgspec.structs.replace(location.options, host_key=other))
    report = await platform.probe(wrong, provider)
    assert not report.ok
    assert report.problems


def test_the_client_and_another_process_use_it(sftp_bucket_config, tmp_path, own_home):
    catalog = f"sqlite:///{tmp_path}/catalog.db"
    with Client(catalog) as client:
        client.create_bucket_config(org="me", **sftp_bucket_config)
        client.set_default_bucket_config(org="me", nickname="sftp")
        report = client.probe_bucket_config(org="me", nickname="sftp")
        assert report.ok, report
    script = "import sys; from arraylake_core import Client; print(Client(sys.argv[1]).probe_bucket_config(org='me', nickname='sftp').ok)"
    run = subprocess.run([sys.executable, "-W", "error", "-c", script, catalog], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "True"
