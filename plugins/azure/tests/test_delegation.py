"""Signatures made by an application of Entra, and by logins: the store gives the key, and holds what is signed to its container and rights."""

import asyncio
import base64
import json
import ssl
import time
from collections.abc import Iterator
from functools import partial
from urllib.parse import parse_qs
from uuid import uuid4

import aiohttp
import obstore
import pytest
from arraylake_azure import AzureDelegation, AzureDelegationConfig, AzureOptions
from arraylake_oauth import OAuth, OAuthConfig
from obstore.exceptions import BaseError
from obstore.store import AzureStore

from arraylake_core import config
from arraylake_core.backends import AuthMethod, AzureCredentials, Location
from arraylake_core.backends.exchange.http import CONNECTOR
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.models import Identity
from arraylake_core.secret import Secret
from arraylake_core.testing.auth import AuthMethodTests
from tests.servers.azure_lake import TENANT as LAKE_TENANT
from tests.servers.azure_lake import AzureLake
from tests.servers.azurite import ACCOUNT, Azurite, running_azurite
from tests.service.misbehaving import MisbehavingServer, answer, misbehaving_server

TENANT = "11111111-2222-3333-4444-555555555555"
DELEGATED = AzureDelegationConfig(tenant_id=TENANT, storage_account=ACCOUNT)


class TestDelegation(AuthMethodTests):
    method = AzureDelegation()
    config = {"tenant_id": LAKE_TENANT, "storage_account": ACCOUNT}

    @pytest.fixture(autouse=True)
    def at_the_store(self, azure_operator: AzureLake) -> None:
        options = AzureOptions(storage_account=ACCOUNT, endpoint_url=azure_operator.endpoint, hierarchical_namespace=True)
        self.location = Location(platform="azure", bucket="lake", prefix="a/b", options=options)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    from tests.servers.npm import require_npm

    require_npm()
    with running_azurite(tmp_path_factory.mktemp("azurite"), https=True) as server:
        yield server


def entra_token() -> str:
    """Return a token as Entra gives it, but for its signature, at which Azurite does not look."""
    now = int(time.time())
    claims = {
        "aud": "https://storage.azure.com",
        "iss": f"https://sts.windows.net/{TENANT}/",
        "iat": now,
        "nbf": now - 60,
        "exp": now + 3600,
        "oid": str(uuid4()),
        "tid": TENANT,
    }
    parts = [{"alg": "RS256", "typ": "JWT"}, claims]
    return ".".join([*(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts), "c2lnbmVk"])


@pytest.fixture
def entra(secure: Azurite, monkeypatch: pytest.MonkeyPatch) -> Iterator[MisbehavingServer]:
    """Entra's token endpoint, and the settings by which the deployment is known there."""
    monkeypatch.setenv("SSL_CERT_FILE", str(secure.authority))
    trusting = ssl.create_default_context(cafile=str(secure.authority))
    # An auth method's own requests: aiohttp has read the authorities of the system when it was imported.
    token = CONNECTOR.set(partial(aiohttp.TCPConnector, ssl=trusting))
    with misbehaving_server(answer(200, {"access_token": entra_token(), "expires_in": 3600})) as server:
        settings = {
            "delegation.azure.login_endpoint": server.uri,
            "delegation.azure.client_id": "deployment",
            "delegation.azure.client_secret": "CANARY-client-secret",
            "delegation.azure.blob_endpoint": secure.endpoint,
        }
        with config.set(settings):
            yield server
    CONNECTOR.reset(token)


@pytest.fixture
def place(secure: Azurite) -> Location:
    options = AzureOptions(storage_account=ACCOUNT, endpoint_url=secure.endpoint)
    return Location(platform="azure", bucket=secure.make_container(f"lake-{uuid4().hex[:8]}"), prefix="a/b", options=options)


def store(secure: Azurite, container: str, credentials: AzureCredentials) -> AzureStore:
    assert credentials.sas_token is not None
    return AzureStore(
        container,
        config={"account_name": ACCOUNT, "endpoint": secure.endpoint, "sas_key": credentials.sas_token.reveal()},
        retry_config={"max_retries": 0},
    )


def ask(method: AuthMethod, fields: object, place: Location, access, identity: Identity) -> AzureCredentials:
    async def asked() -> AzureCredentials:
        found = await method.credentials(fields, place, access, identity)
        assert isinstance(found, AzureCredentials)
        return found

    return asyncio.run(asked())


LOGIN = "e30.e30.CANARY"
METHODS = {
    "delegation": (AzureDelegation(), DELEGATED),
    "oauth": (OAuth(), OAuthConfig(tenant_id=TENANT, client_id="lake", storage_account=ACCOUNT)),
}


@pytest.mark.parametrize("name", METHODS)
def test_p15_the_store_holds_what_is_signed_to_its_container_and_rights(
    name: str, secure: Azurite, entra: MisbehavingServer, place: Location
) -> None:
    method, fields = METHODS[name]
    identity = Identity("ada", Secret(LOGIN))
    writing, reading = (ask(method, fields, place, access, identity) for access in ("write", "read"))
    assert reading.expiration is not None
    writer, reader = store(secure, place.bucket, writing), store(secure, place.bucket, reading)
    obstore.put(writer, "a/b/x", b"bytes")
    assert bytes(obstore.get(reader, "a/b/x").bytes()) == b"bytes"
    assert [found["path"] for found in obstore.list(reader, "a/b").collect()] == ["a/b/x"]
    other = secure.make_container(f"other-{uuid4().hex[:8]}")
    for attempt in (
        lambda: obstore.put(reader, "a/b/y", b"no"),
        lambda: obstore.delete(reader, "a/b/x"),
        lambda: obstore.put(store(secure, other, writing), "x", b"no"),
    ):
        with pytest.raises(BaseError):
            attempt()
    assert bytes(obstore.get(writer, "a/b/x").bytes()) == b"bytes"
    form = {key: values[0] for key, values in parse_qs(entra.requests[0].body.decode()).items()}
    assert entra.requests[0].target == f"/{TENANT}/oauth2/v2.0/token"
    assert form["scope"] == "https://storage.azure.com/.default"
    assert form.get("client_secret") == ("CANARY-client-secret" if name == "delegation" else None)
    assert form.get("client_assertion") == (LOGIN if name == "oauth" else None)


@pytest.mark.parametrize("access", ["read", "write"])
def test_p15_with_directories_the_signature_is_for_the_repo_s_own(entra: MisbehavingServer, place: Location, access) -> None:
    """Azurite has no directories: what is signed is looked at here, and was not tried."""
    options = AzureOptions(storage_account=ACCOUNT, endpoint_url=place.options.endpoint_url, hierarchical_namespace=True)
    lake = Location(platform="azure", bucket=place.bucket, prefix="a/b", options=options)
    token = ask(AzureDelegation(), DELEGATED, lake, access, Identity()).sas_token
    assert token is not None
    fields = {key: values[0] for key, values in parse_qs(token.reveal()).items()}
    assert (fields["sr"], fields["sdd"]) == ("d", "2")
    assert set(fields["sp"]) == set("rl" if access == "read" else "rlwdc")
    assert AzureDelegation().confines(lake)
    assert not AzureDelegation().confines(place)


def test_p10_refusals_say_what_to_do_and_no_secret(entra: MisbehavingServer, place: Location) -> None:
    entra.script = [answer(401, {"error": "invalid_client", "error_description": "CANARY-client-secret"})]
    with pytest.raises(CredentialsError, match="Entra refused with 401 .invalid_client") as caught:
        ask(AzureDelegation(), DELEGATED, place, "read", Identity())
    entra.script = [answer(200, {"access_token": "e30.e30.CANARY", "expires_in": 3600})]
    with pytest.raises(CredentialsError, match="gave no key to sign with .*Storage Blob Delegator") as other:
        ask(AzureDelegation(), DELEGATED, place, "read", Identity())
    assert "CANARY" not in str(caught.value) + str(other.value)


def test_what_is_missing_is_said(place: Location) -> None:
    with pytest.raises(CredentialsError, match="delegation.azure.client_id"):
        ask(AzureDelegation(), DELEGATED, place, "read", Identity())
    with pytest.raises(InvalidOptionError, match="tenant_id is wrong"):
        AzureDelegation().check(AzureDelegationConfig(tenant_id="a/../b", storage_account=ACCOUNT), "azure")


def test_a_token_never_goes_over_plain_http(entra: MisbehavingServer) -> None:
    options = AzureOptions(storage_account=ACCOUNT, endpoint_url=f"http://127.0.0.1:9/{ACCOUNT}")
    with pytest.raises(CredentialsError, match="https only"):
        ask(AzureDelegation(), DELEGATED, Location(platform="azure", bucket="lake", options=options), "read", Identity())
