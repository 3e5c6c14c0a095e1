"""The platform passes the kit against a real SFTP server."""

from collections.abc import Iterator
from uuid import uuid4

import msgspec
import pytest
from arraylake_sftp import SftpOptions, SftpPlatform
from sftp_server import SftpServer, running_sftp

from arraylake_core.backends import CredentialProvider, Location, S3Credentials
from arraylake_core.secret import Secret
from arraylake_core.testing import CANARY, Nobody, StoragePlatformTests

OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGFiY2RlZmdoaWprbG1ub3BxcnN0dXZ3eHl6MDEyMzQ1"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """A running server."""
    with running_sftp(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.fixture
def location(server: SftpServer) -> Location:
    """A place on it."""
    options = SftpPlatform().decode_options(server.bucket(f"/{uuid4().hex}"))
    return Location(platform="sftp", bucket="loopback", prefix="place", options=options)


class TestSftp(StoragePlatformTests):
    """What every platform is held to."""

    uris = ("sftp://loopback", "sftp://loopback/some/prefix")
    bad_uris = ("sftp://two words", "sftp://" + "x" * 64, "sftp://loopback:22")
    options = {"host": "127.0.0.1", "user": "ada", "host_key": "ssh-ed25519 AAAA", "identity_file": "/home/ada/.ssh/id"}
    respelled = ({**options, "host": "127.0.0.1."}, {**options, "root": "//"})
    bad_options = (({"host": "127.0.0.1"}, "'user' is missing"),)
    foreign = (S3Credentials(aws_access_key_id="a", aws_secret_access_key=Secret(CANARY)),)

    @pytest.fixture
    def platform(self) -> SftpPlatform:
        """The platform."""
        return SftpPlatform()


async def test_a_server_with_another_key_is_not_talked_to(location: Location) -> None:
    """Whoever it is, it is not the one that was meant."""
    assert isinstance(location.options, SftpOptions)
    wrong = msgspec.structs.replace(location, options=msgspec.structs.replace(location.options, host_key=OTHER_KEY))
    report = await SftpPlatform().probe(wrong, CredentialProvider(Nobody()))
    assert not report.ok
    assert report.problems
