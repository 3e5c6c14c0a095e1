"""Tokens of service accounts and of logins, limited to a place and a right: the store itself refuses all else."""

import json
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from arraylake_gcs import GcpRole, GcpRoleConfig, GcpServiceAccount, GcpServiceAccountConfig, GCSOptions, GCSPlatform
from arraylake_oauth import OAuth, OAuthConfig

from arraylake_core import Client, config
from arraylake_core.backends import Access, AuthMethod, Credentials, GCSCredentials, Location
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.models import Identity
from arraylake_core.secret import Secret
from arraylake_core.testing.auth import AuthMethodTests
from tests.servers.gcs import ADMIN_TOKEN, FakeGCS
from tests.servers.google_tokens import POOL, GoogleTokens
from tests.servers.oidc import OidcProvider

DEPLOYMENT, CUSTOMER = "lake@deployment.iam.gserviceaccount.com", "ocean@customer.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def key_file(google_tokens: GoogleTokens, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = google_tokens.service_account(tmp_path_factory.mktemp("keys"), DEPLOYMENT)
    google_tokens.impersonators[CUSTOMER] = {DEPLOYMENT, "ada@example.org"}
    return path


@pytest.fixture
def place(gcs: FakeGCS, gcs_bucket: str) -> Location:
    return Location(platform="gs", bucket=gcs_bucket, prefix=f"{uuid4().hex}/b", options=GCSOptions(endpoint_url=gcs.endpoint))


@pytest.fixture(scope="session")
def login(oidc_provider: OidcProvider) -> Secret:
    return Secret(oidc_provider.id_token("ada@example.org"))


@pytest.fixture
def operator(google_config: GoogleTokens, key_file: Path):
    with config.set({"delegation.google.key_file": str(key_file)}):
        yield google_config


class TestServiceAccount(AuthMethodTests):
    method = GcpServiceAccount()
    config = {"key_file": "key.json"}

    @pytest.fixture(autouse=True)
    def with_a_key(self, place: Location, key_file: Path, operator: GoogleTokens) -> None:
        self.location, self.config = place, {"key_file": str(key_file)}


class TestRole(AuthMethodTests):
    method = GcpRole()
    config = {"target_service_account": CUSTOMER}

    @pytest.fixture(autouse=True)
    def with_a_key(self, place: Location, operator: GoogleTokens) -> None:
        self.location = place


type Minted = Callable[[Location, Access], Credentials]


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    return False


@pytest.mark.parametrize("method", ["gcp_service_account", "gcp_customer_managed_role", "oauth", "oauth impersonating"])
@pytest.mark.parametrize("access", ["read", "write"])
async def test_p15_the_store_refuses_all_but_the_place_and_the_right(
    method: str, access: Access, place: Location, key_file: Path, operator: GoogleTokens, login: Secret
) -> None:
    given: tuple[AuthMethod, object] = {
        "gcp_service_account": (GcpServiceAccount(), GcpServiceAccountConfig(key_file=str(key_file))),
        "gcp_customer_managed_role": (GcpRole(), GcpRoleConfig(target_service_account=CUSTOMER)),
        "oauth": (OAuth(), OAuthConfig(audience=POOL)),
        "oauth impersonating": (OAuth(), OAuthConfig(audience=POOL, service_account=CUSTOMER)),
    }[method]
    credentials = await given[0].credentials(given[1], place, access, Identity("ada", login))
    assert credentials.expiration is not None
    whole = GCSPlatform().filesystem(place, GCSCredentials(access_token=Secret(ADMIN_TOKEN)))
    limited = GCSPlatform().filesystem(place, credentials)
    inside, parent = f"{place.bucket}/{place.prefix}", f"{place.bucket}/{place.prefix.partition('/')[0]}"
    outside = [f"{inside}c/x", f"{parent}/x", f"{place.bucket}/x"]
    for path in (f"{inside}/x", *outside):
        whole.pipe_file(path, b"bytes")
    assert limited.cat_file(f"{inside}/x") == b"bytes"
    assert limited.find(f"{inside}/") == [f"{inside}/x"]
    for path in outside:
        attempts = [
            lambda p=path: limited.cat_file(p),
            lambda p=path: limited.pipe_file(p, b""),
            lambda p=path: limited.rm_file(p),
        ]
        assert [refused(attempt) for attempt in attempts] == [True] * 3, path
    for path in (place.bucket, parent):
        assert refused(lambda p=path: limited.ls(p)), path
    assert refused(lambda: limited.pipe_file(f"{inside}/x", b"new")) is (access == "read")
    assert refused(lambda: limited.rm_file(f"{inside}/x")) is (access == "read")


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_p26_a_repo_by_a_role_asks_once(kind: str, gcs: FakeGCS, gcs_bucket: str, operator: GoogleTokens) -> None:
    """A journey with tokens only; each place and right is asked for once."""
    with Client("memory://") as client:
        client.create_bucket_config(
            org="me",
            nickname="lake",
            uri=f"gs://{gcs_bucket}/{uuid4().hex}",
            extra_config={"endpoint_url": gcs.endpoint},
            auth_config={"method": "gcp_customer_managed_role", "target_service_account": CUSTOMER},
        )
        before = len(operator.asked)
        repo = client.create_repo("me/ocean", bucket_config_nickname="lake", kind=kind)
        repo.root_group.create_array("sst", data=np.arange(4), chunks=(1,))
        repo.commit("Four numbers")
        again = client.get_repo("me/ocean")
        assert list(again.root_group["sst"][:]) == [0, 1, 2, 3]
        assert operator.asked[before:] == ["key", "impersonate", "downscope"]
        reader = client.get_repo("me/ocean", read_only=True)
        assert list(reader.root_group["sst"][:]) == [0, 1, 2, 3]
        assert operator.asked[before + 3 :] == ["key", "impersonate", "downscope"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "can't be read"),
        ("CANARY: no JSON", "no key of a service account"),
        ('{"type": "authorized_user", "client_email": "x", "private_key": "CANARY"}', "no key of a service account"),
        ('{"type": "service_account", "client_email": "x", "private_key": "CANARY"}', "private key can't be read"),
    ],
)
async def test_p10_a_key_file_that_is_none_says_so(content: str | None, says: str, place: Location, tmp_path: Path) -> None:
    path = tmp_path / "key.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(CredentialsError, match=says) as caught:
        await GcpServiceAccount().credentials(GcpServiceAccountConfig(key_file=str(path)), place, "read", Identity())
    assert "CANARY" not in str(caught.value)


async def test_refusals_have_their_code_and_nothing_else(place: Location, operator: GoogleTokens, tmp_path: Path) -> None:
    stranger = operator.service_account(tmp_path, "stranger@elsewhere.iam.gserviceaccount.com")
    with (
        config.set({"delegation.google.key_file": str(stranger)}),
        pytest.raises(CredentialsError, match="PERMISSION_DENIED") as caught,
    ):
        await GcpRole().credentials(GcpRoleConfig(target_service_account=CUSTOMER), place, "read", Identity())
    operator.keys.pop("stranger@elsewhere.iam.gserviceaccount.com")
    with pytest.raises(CredentialsError, match="invalid_grant") as other:
        await GcpServiceAccount().credentials(GcpServiceAccountConfig(key_file=str(stranger)), place, "read", Identity())
    assert "CANARY" not in str(caught.value) + str(other.value)


async def test_a_role_that_nobody_may_take_says_what_to_set(place: Location) -> None:
    with pytest.raises(CredentialsError, match="delegation.google.key_file"):
        await GcpRole().credentials(GcpRoleConfig(target_service_account=CUSTOMER), place, "read", Identity())


async def test_the_machine_s_own_identity_is_taken_where_the_operator_says_so(
    place: Location, google_config: GoogleTokens, key_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own.json"
    found = json.loads(key_file.read_text()) | {"token_uri": f"{google_config.store.endpoint}/token"}
    own.write_text(json.dumps(found))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(own))
    role, wanted = GcpRole(), GcpRoleConfig(target_service_account=CUSTOMER)
    with pytest.raises(CredentialsError, match="delegation.google.ambient"):
        await role.credentials(wanted, place, "read", Identity())
    before = len(google_config.asked)
    with config.set({"delegation.google.ambient": True}):
        credentials = await role.credentials(wanted, place, "read", Identity())
        own.write_text(json.dumps(found | {"private_key": "CANARY"}))
        with pytest.raises(CredentialsError, match="this machine has no identity at Google") as caught:
            await role.credentials(wanted, place, "read", Identity())
    assert google_config.asked[before:] == ["key", "impersonate", "downscope"]
    assert "CANARY" not in str(caught.value)
    filesystem = GCSPlatform().filesystem(place, credentials)
    assert refused(lambda: filesystem.pipe_file(f"{place.bucket}/{place.prefix}/x", b""))


@pytest.mark.parametrize(
    "account", ["ocean", "ocean@example.org", "a/../b@x.iam.gserviceaccount.com", "a@b.gserviceaccount.com/x"]
)
def test_p15_what_is_no_account_is_refused_when_it_is_set(account: str) -> None:
    with pytest.raises(InvalidOptionError, match="target_service_account"):
        GcpRole().check(GcpRoleConfig(target_service_account=account), "gs")
