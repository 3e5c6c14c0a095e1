"""Both platforms pass the kit, and a directory is never left."""

import msgspec
import pytest
from arraylake_local import FilePlatform, MemoryPlatform

from arraylake_core import Client
from arraylake_core.backends import AnonymousCredentials, CredentialProvider, Location, S3Credentials
from arraylake_core.errors import ArraylakeError, InvalidNameError, StorageError
from arraylake_core.secret import Secret
from arraylake_core.testing.storage import StoragePlatformTests

KEYS = S3Credentials(aws_access_key_id="a", aws_secret_access_key=Secret("CANARY"))


class Nobody(msgspec.Struct, frozen=True):
    async def mint(self) -> AnonymousCredentials:
        return AnonymousCredentials()


@pytest.fixture
def provider() -> CredentialProvider:
    return CredentialProvider(Nobody())


class TestFile(StoragePlatformTests):
    uris = ("file:///data/lake", "file:///data/with space/Bücher", "file:///tmp")
    bad_uris = (
        "file://relative",
        "file://~/lake",
        "file:///~/lake",
        "file:///lake//",
        "file:///a\u29f8b",
        "file:///" + "é" * 128,
    )
    foreign = (KEYS,)

    @pytest.fixture
    def platform(self) -> FilePlatform:
        return FilePlatform()

    @pytest.fixture(params=["lake", "with space/Bücher"])
    def location(self, tmp_path, request) -> Location:
        return Location(platform="file", bucket=str(tmp_path / request.param), prefix="place")


class TestMemory(StoragePlatformTests):
    uris = ("memory://default", "memory://default/some/prefix")
    bad_uris = ("memory://a", "memory://two words", "memory://" + "x" * 64)
    foreign = (KEYS,)

    @pytest.fixture
    def platform(self) -> MemoryPlatform:
        return MemoryPlatform()

    @pytest.fixture
    def location(self, tmp_path) -> Location:
        return Location(platform="memory", bucket=f"bucket-{abs(hash(tmp_path))}"[:40], prefix="place")


def test_p13_a_symbolic_link_does_not_lead_out_of_a_bucket(tmp_path):
    lake, outside = tmp_path / "lake", tmp_path / "outside"
    lake.mkdir()
    outside.mkdir()
    (outside / "kept").write_text("kept")
    (lake / "link").symlink_to(outside)
    (lake / "itself").symlink_to(lake)
    platform = FilePlatform()
    for prefix in ("link", "link/below", "itself"):
        with pytest.raises(StorageError, match="symbolic link"):
            platform.path(Location(platform="file", bucket=str(lake), prefix=prefix))
    with Client("memory://") as client:
        client.create_bucket_config(org="me", nickname="lake", uri=f"file://{lake}")
        with pytest.raises(StorageError, match="symbolic link"):
            client.create_repo("me/ocean", bucket_config_nickname="lake", prefix="link/ocean")
        assert client.list_repos("me") == []
    assert [path.name for path in outside.iterdir()] == ["kept"]


def test_p13_a_link_that_is_made_later_does_not_lead_a_deletion_out(tmp_path):
    lake, outside = tmp_path / "lake", tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("kept")
    with Client("memory://") as client:
        client.create_bucket_config(org="me", nickname="lake", uri=f"file://{lake}")
        client.create_repo("me/ocean", bucket_config_nickname="lake", prefix="place")
        (lake / "place").rename(lake / "moved")
        (lake / "place").symlink_to(outside)
        with pytest.raises(ArraylakeError, match="symbolic link"):
            client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
    assert (outside / "kept").read_text() == "kept"


def test_p14_links_to_one_directory_are_one_place(tmp_path):
    (tmp_path / "lake").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "lake")
    with Client("memory://") as client:
        client.create_bucket_config(org="me", nickname="lake", uri=f"file://{tmp_path}/lake")
        with pytest.raises(ArraylakeError, match="'lake'"):
            client.create_bucket_config(org="me", nickname="alias", uri=f"file://{tmp_path}/alias")
        client.create_org("team")
        client.create_bucket_config(org="team", nickname="alias", uri=f"file://{tmp_path}/alias")
        client.create_repo("me/ocean", bucket_config_nickname="lake", prefix="place")
        with pytest.raises(ArraylakeError, match="choose another prefix") as caught:
            client.create_repo("team/sea", prefix="place/below")
        assert "me/ocean" not in str(caught.value), "another organization's repos stay nameless"


def test_a_name_with_a_slash_at_the_end_is_the_same_directory():
    assert FilePlatform().parse_uri("file:///data/lake/") == FilePlatform().parse_uri("file:///data/lake")
    with pytest.raises(InvalidNameError):
        FilePlatform().parse_uri("file:///data/lake//")
