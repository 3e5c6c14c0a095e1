"""Buckets on Azure, through a service: signatures for one repo are minted for who may have them, and the application's secret stays where it is."""

from uuid import uuid4

import numpy as np
import pytest
from arraylake_azure import AzureOptions, AzurePlatform
from azure.core.exceptions import HttpResponseError

from arraylake_core import Client, config
from arraylake_core.backends import AzureCredentials, Location
from arraylake_core.errors import ReadOnlyError
from arraylake_core.secret import Secret
from tests.servers.azure_lake import CLIENT_SECRET, TENANT, AzureLake
from tests.servers.azurite import ACCOUNT
from tests.service.conftest import Peopled


@pytest.fixture
def role_bucket(peopled: Peopled, azure_operator: AzureLake) -> str:
    """A bucket config of ``acme`` whose signatures the service mints."""
    return made_bucket(peopled, azure_operator)


def made_bucket(peopled: Peopled, lake: AzureLake, *, directories: bool = True) -> str:
    container = lake.azurite.make_container(f"lake-{uuid4().hex[:8]}")
    body = {
        "nickname": "lake",
        "platform": "azure",
        "name": container,
        "prefix": "deep",
        "extra_config": {"endpoint_url": lake.endpoint, "hierarchical_namespace": directories},
        "auth_config": {"method": "azure_credential_delegation", "tenant_id": TENANT, "storage_account": ACCOUNT},
    }
    made = peopled.service.ask("POST", "/orgs/acme/buckets", peopled.tokens["admin"], body=body)
    assert made.status == 201, made.body
    return container


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_p12_p15_a_repo_on_azure_is_written_and_read_with_vended_signatures(
    kind: str, peopled: Peopled, role_bucket: str, azure_operator: AzureLake
) -> None:
    uri, tokens = peopled.service.uri, peopled.tokens
    with Client(uri, token=tokens["writer"]) as writer, Client(uri, token=tokens["reader"]) as reader:
        repo = writer.create_repo("acme/ocean", bucket_config_nickname="lake", kind=kind)
        repo.root_group.create_array("sst", data=np.arange(4), chunks=(1,))
        repo.commit("Four numbers")
        again = reader.get_repo("acme/ocean")
        assert list(again.root_group["sst"][:]) == [0, 1, 2, 3]
        with pytest.raises(ReadOnlyError):
            again.commit("No")
    said = b""
    for path in ("/repos/acme/ocean/open", "/repos/acme/ocean/bucket-credentials", "/orgs/acme/buckets/lake"):
        for who in ("reader", "writer", "admin"):
            answer = peopled.service.ask("GET", path, tokens[who])
            assert answer.status == 200, (path, who, answer.body)
            said += answer.body
    assert b"sr=d" in said
    assert CLIENT_SECRET.encode() not in said
    assert not [key for key in azure_operator.keys.values() if key.encode() in said]


def test_p15_what_a_reader_gets_writes_nothing_on_azure(peopled: Peopled, role_bucket: str, azure_operator: AzureLake) -> None:
    service, tokens = peopled.service, peopled.tokens
    for name in ("ocean", "sea"):
        made = service.ask("POST", "/orgs/acme/repos", tokens["writer"], body={"name": name, "bucket_nickname": "lake"})
        assert made.status == 201, made.body
    prefixes = {name: service.ask("GET", f"/repos/acme/{name}", tokens["reader"]).json["prefix"] for name in ("ocean", "sea")}
    options = AzureOptions(storage_account=ACCOUNT, endpoint_url=azure_operator.endpoint)
    place = Location(platform="azure", bucket=role_bucket, options=options)
    for who, writes in {"reader": False, "writer": True}.items():
        answer = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens[who])
        assert answer.json.keys() >= {"sas_token", "storage_account", "expiration"}
        signature = AzureCredentials(storage_account=ACCOUNT, sas_token=Secret(answer.json["sas_token"]))
        filesystem = AzurePlatform().filesystem(place, signature)
        path = f"{role_bucket}/{prefixes['ocean']}/key"
        if writes:
            filesystem.pipe_file(path, b"bytes")
        else:
            with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
                filesystem.pipe_file(path, b"bytes")
        for elsewhere in (f"{role_bucket}/{prefixes['sea']}/key", f"{role_bucket}/deep/key", f"{role_bucket}/key"):
            with pytest.raises(HttpResponseError, match="AuthorizationPermissionMismatch"):
                filesystem.cat_file(elsewhere)


def test_p20_a_signature_for_the_container_is_for_members_alone(peopled: Peopled, azure_operator: AzureLake) -> None:
    """Who has a right on one repo gets signatures for its directory, and none for the container that holds others too."""
    made_bucket(peopled, azure_operator, directories=False)
    service, tokens = peopled.service, peopled.tokens
    service.ask("POST", "/orgs/acme/repos", tokens["admin"], body={"name": "ocean", "bucket_nickname": "lake"})
    service.ask("PUT", "/repos/acme/ocean/grants", tokens["admin"], body={"email": "member@example.org", "role": "reader"})
    refused = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["member"])
    assert (refused.status, "more than you have a right to" in refused.detail) == (403, True), refused.body
    assert "sr=c" in service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["reader"]).json["sas_token"]


def test_p20_a_right_on_one_repo_opens_its_directory(peopled: Peopled, role_bucket: str) -> None:
    service, tokens = peopled.service, peopled.tokens
    service.ask("POST", "/orgs/acme/repos", tokens["admin"], body={"name": "ocean", "bucket_nickname": "lake"})
    service.ask("PUT", "/repos/acme/ocean/grants", tokens["admin"], body={"email": "member@example.org", "role": "reader"})
    found = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["member"])
    assert "sr=d" in found.json["sas_token"]


def test_p10_an_application_that_is_refused_tells_no_secret(peopled: Peopled, role_bucket: str) -> None:
    service, tokens = peopled.service, peopled.tokens
    service.ask("POST", "/orgs/acme/repos", tokens["admin"], body={"name": "ocean", "bucket_nickname": "lake"})
    with config.set({"delegation.azure.client_secret": "CANARY-wrong"}):
        answer = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["writer"])
    assert (answer.status, "invalid_client" in answer.detail) == (424, True), answer.body
    assert b"CANARY" not in answer.body
