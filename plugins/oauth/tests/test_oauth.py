"""Logins of a real provider, exchanged at a real token service for credentials that a real store limits."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from arraylake_gcs import GCSOptions
from arraylake_oauth import OAuth, OAuthConfig
from arraylake_s3 import S3Options, S3Platform

from arraylake_core.backends import Access, Location, S3Credentials
from arraylake_core.errors import ArraylakeError, AuthenticationError, CredentialsError, InvalidOptionError
from arraylake_core.models import Identity
from arraylake_core.secret import Secret
from arraylake_core.testing.auth import AuthMethodTests
from tests.servers.google_tokens import POOL, GoogleTokens
from tests.servers.oidc import OidcProvider
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.seaweedfs_sts import LAKE_ROLE, LOGIN_ROLE

PLATFORM = S3Platform("s3", needs_endpoint=False)


@pytest.fixture(scope="session")
def login(oidc_provider: OidcProvider) -> Secret:
    return Secret(oidc_provider.id_token("ada@example.org"))


@pytest.fixture
def place(seaweedfs_sts: SeaweedFS) -> Location:
    bucket = seaweedfs_sts.make_bucket(f"lake-{uuid4().hex[:8]}")
    options = S3Options(endpoint_url=seaweedfs_sts.endpoint, region_name="us-east-1")
    return Location(platform="s3", bucket=bucket, prefix="a/b", options=options)


class TestOAuth(AuthMethodTests):
    method = OAuth()
    config = {"role_arn": LOGIN_ROLE, "duration_seconds": 900}

    @pytest.fixture(autouse=True)
    def at_the_store(self, place: Location, login: Secret) -> None:
        self.location, self.identity = place, Identity("ada", login)

    async def test_they_are_short_lived_keys(self) -> None:
        credentials = await self._credentials()
        assert isinstance(credentials, S3Credentials)
        assert credentials.aws_session_token
        assert credentials.expiration is not None


class TestOnGoogle(AuthMethodTests):
    method = OAuth()
    config = {"audience": POOL}

    @pytest.fixture(autouse=True)
    def at_the_store(self, google_config: GoogleTokens, login: Secret) -> None:
        options = GCSOptions(endpoint_url=google_config.store.endpoint)
        self.location = Location(platform="gs", bucket="lake", prefix="a/b", options=options)
        self.identity = Identity("ada", login)


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    return False


@pytest.mark.parametrize("access", ["read", "write"])
async def test_p15_the_store_refuses_all_but_the_place_and_the_right(place: Location, login: Secret, access: Access) -> None:
    async def filesystem(below: Location, right: Access):
        given = await OAuth().credentials(OAuthConfig(role_arn=LOGIN_ROLE), below, right, Identity("ada", login))
        return PLATFORM.filesystem(below, given)

    bucket = place.bucket
    whole = await filesystem(Location(platform="s3", bucket=bucket, options=place.options), "write")
    for key in ("a/b/x", "a/bc/x", "a/x", "x"):
        whole.pipe_file(f"{bucket}/{key}", b"bytes")
    limited = await filesystem(place, access)
    assert limited.cat_file(f"{bucket}/a/b/x") == b"bytes"
    assert limited.find(f"{bucket}/a/b/") == [f"{bucket}/a/b/x"]
    for key in ("a/bc/x", "a/x", "x"):
        path = f"{bucket}/{key}"
        attempts = [
            lambda p=path: limited.cat_file(p),
            lambda p=path: limited.pipe_file(p, b""),
            lambda p=path: limited.rm_file(p),
        ]
        assert [refused(attempt) for attempt in attempts] == [True] * 3, key
    for prefix in ("", "/a", "/a/bc"):
        assert refused(lambda p=f"{bucket}{prefix}": limited.ls(p)), prefix
    path = f"{bucket}/a/b/x"
    writes = [refused(lambda: limited.pipe_file(path, b"new")), refused(lambda: limited.rm_file(path))]
    assert writes == [access == "read"] * 2
    assert whole.exists(path) is (access == "read")


async def test_p12_an_api_token_is_no_login(place: Location) -> None:
    with pytest.raises(AuthenticationError, match="API token is not"):
        await OAuth().credentials(OAuthConfig(role_arn=LOGIN_ROLE), place, "read", Identity("robot", Secret("ema_CANARY")))
    with pytest.raises(AuthenticationError, match="auth login"):
        await OAuth().credentials(OAuthConfig(role_arn=LOGIN_ROLE), place, "read", Identity())


@pytest.mark.parametrize(
    ("config", "token", "says"),
    [
        ({"role_arn": LAKE_ROLE}, None, "AccessDenied.*trust policy"),
        ({"role_arn": "arn:aws:iam::role/Nobody"}, None, "the STS refused"),
        ({"role_arn": LOGIN_ROLE}, "e30.e30.CANARY", "the STS refused"),
        ({"role_arn": LOGIN_ROLE, "sts_endpoint": "http://127.0.0.1:1"}, None, "can't be reached.*endpoint"),
    ],
    ids=["role for others", "no such role", "forged login", "no STS"],
)
async def test_a_refusal_says_what_to_do(
    place: Location, login: Secret, config: dict[str, str], token: str | None, says: str
) -> None:
    identity = Identity("ada", Secret(token) if token else login)
    with pytest.raises(CredentialsError, match=says) as caught:
        await OAuth().credentials(OAuthConfig(**config), place, "read", identity)
    assert "CANARY" not in str(caught.value)
    assert login.reveal() not in str(caught.value)


async def test_an_endpoint_that_is_no_token_service_is_said_to_be_none(
    place: Location, login: Secret, oidc_provider: OidcProvider
) -> None:
    config = OAuthConfig(role_arn=LOGIN_ROLE, sts_endpoint=f"{oidc_provider.issuer}/jwks")
    with pytest.raises(CredentialsError, match="something other than XML: check that its endpoint is one"):
        await OAuth().credentials(config, place, "read", Identity("ada", login))


@pytest.mark.parametrize(
    ("platform", "config", "says"),
    [
        ("s3", {}, "needs role_arn"),
        ("gs", {"role_arn": "arn"}, "needs audience"),
        ("s3", {"role_arn": "arn", "audience": "//iam"}, "not audience"),
        ("s3", {"role_arn": "arn with spaces"}, "'role_arn' is wrong"),
        ("s3", {"role_arn": "arn", "duration_seconds": 60}, "900 to 43200"),
    ],
)
def test_a_config_that_cannot_work_is_refused_when_it_is_set(platform: str, config: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidOptionError, match=says) as caught:
        OAuth().check(OAuth().decode_config(config), platform)
    assert isinstance(caught.value, ArraylakeError)
