"""Buckets on Google Cloud Storage, through a service: tokens for one repo are minted for who may have them, and the key stays where it is."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import numpy as np
import pytest
from arraylake_gcs import GCSOptions, GCSPlatform

from arraylake_core import Client, config
from arraylake_core.backends import GCSCredentials, Location
from arraylake_core.errors import ReadOnlyError
from arraylake_core.people import Role
from arraylake_core.secret import Secret
from tests.servers.google_tokens import GoogleTokens
from tests.servers.seaweedfs import SeaweedFS
from tests.service.conftest import Peopled

DEPLOYMENT, CUSTOMER = "service@deployment.iam.gserviceaccount.com", "sea@customer.iam.gserviceaccount.com"


@pytest.fixture
def operator(google_config: GoogleTokens, tmp_path: Path) -> Iterator[GoogleTokens]:
    """Google's token endpoints, with the deployment's key in its settings."""
    key_file = google_config.service_account(tmp_path, DEPLOYMENT)
    google_config.impersonators[CUSTOMER] = {DEPLOYMENT}
    with config.set({"delegation.google.key_file": str(key_file)}):
        yield google_config


def bucket_body(operator: GoogleTokens, bucket: str, **auth: str) -> dict[str, object]:
    return {
        "nickname": "lake",
        "platform": "gs",
        "name": bucket,
        "prefix": "deep",
        "extra_config": {"endpoint_url": operator.store.endpoint},
        "auth_config": auth,
    }


@pytest.fixture
def role_bucket(peopled: Peopled, operator: GoogleTokens) -> str:
    """A bucket config of ``acme`` whose tokens the service mints."""
    bucket = operator.store.make_bucket(f"lake-{uuid4().hex[:8]}")
    body = bucket_body(operator, bucket, method="gcp_customer_managed_role", target_service_account=CUSTOMER)
    made = peopled.service.ask("POST", "/orgs/acme/buckets", peopled.tokens["admin"], body=body)
    assert made.status == 201, made.body
    return bucket


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_p12_p15_a_repo_on_google_is_written_and_read_with_vended_tokens(
    kind: str, peopled: Peopled, role_bucket: str, operator: GoogleTokens
) -> None:
    uri, tokens, before = peopled.service.uri, peopled.tokens, len(operator.asked)
    with Client(uri, token=tokens["writer"]) as writer, Client(uri, token=tokens["reader"]) as reader:
        repo = writer.create_repo("acme/ocean", bucket_config_nickname="lake", kind=kind)
        repo.root_group.create_array("sst", data=np.arange(4), chunks=(1,))
        repo.commit("Four numbers")
        again = reader.get_repo("acme/ocean")
        assert list(again.root_group["sst"][:]) == [0, 1, 2, 3]
        with pytest.raises(ReadOnlyError):
            again.commit("No")
    # Once for each right: whoever asks for the same gets the same, however often.
    assert operator.asked[before:].count("downscope") <= 4
    said = b""
    for path in (
        "/repos/acme/ocean/open",
        "/repos/acme/ocean/bucket-credentials",
        "/orgs/acme/buckets",
        "/orgs/acme/buckets/lake",
    ):
        for who in ("reader", "writer", "admin"):
            answer = peopled.service.ask("GET", path, tokens[who])
            assert answer.status == 200, (path, who, answer.body)
            said += answer.body
    private = json.loads(Path(str(config.get_str("delegation.google.key_file"))).read_text())["private_key"]
    assert private.splitlines()[3].encode() not in said
    whole = [name for name, grant in operator.store.tokens.items() if not grant.bucket]
    assert not [name for name in whole if name.encode() in said]
    assert b"ya29." in said


def test_p15_what_a_reader_gets_writes_nothing_on_google(peopled: Peopled, role_bucket: str, operator: GoogleTokens) -> None:
    service, tokens = peopled.service, peopled.tokens
    for name in ("ocean", "sea"):
        made = service.ask("POST", "/orgs/acme/repos", tokens["writer"], body={"name": name, "bucket_nickname": "lake"})
        assert made.status == 201, made.body
    prefixes = {name: service.ask("GET", f"/repos/acme/{name}", tokens["reader"]).json["prefix"] for name in ("ocean", "sea")}
    place = Location(platform="gs", bucket=role_bucket, prefix="deep", options=GCSOptions(endpoint_url=operator.store.endpoint))
    for who, writes in {"reader": False, "writer": True}.items():
        answer = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens[who])
        assert answer.json.keys() >= {"access_token", "principal", "expiration"}
        filesystem = GCSPlatform().filesystem(place, GCSCredentials(access_token=Secret(answer.json["access_token"])))
        path = f"{role_bucket}/{prefixes['ocean']}/key"
        if writes:
            filesystem.pipe_file(path, b"bytes")
        else:
            with pytest.raises(PermissionError):
                filesystem.pipe_file(path, b"bytes")
        for elsewhere in (f"{role_bucket}/{prefixes['sea']}/key", f"{role_bucket}/deep/key", f"{role_bucket}/key"):
            with pytest.raises(PermissionError):
                filesystem.cat_file(elsewhere)
            with pytest.raises(PermissionError):
                filesystem.pipe_file(elsewhere, b"bytes")


def test_p20_a_service_reads_no_file_that_a_user_names(peopled: Peopled, operator: GoogleTokens, tmp_path: Path) -> None:
    """Not even one that is there, and neither when a bucket config is made nor when it is changed."""
    path = str(operator.service_account(tmp_path, "users@deployment.iam.gserviceaccount.com"))
    ask, admin = peopled.service.ask, peopled.tokens["admin"]
    before = len(operator.asked)
    body = bucket_body(operator, "lake-of-files", method="gcp_service_account", key_file=path)
    refused = ask("POST", "/orgs/acme/buckets", admin, body=body)
    assert (refused.status, "reads a file of the machine" in refused.detail) == (422, True), refused.body
    good = bucket_body(operator, "lake-of-files", method="gcp_customer_managed_role", target_service_account=CUSTOMER)
    assert ask("POST", "/orgs/acme/buckets", admin, body=good).status == 201
    changed = ask("PATCH", "/orgs/acme/buckets/lake", admin, body={"auth_config": body["auth_config"]})
    assert changed.status == 422, changed.body
    assert operator.asked[before:] == []


@pytest.mark.parametrize("account", ["a@b", "x@project.iam.gserviceaccount.com/../y", "x'||true@project.iam.gserviceaccount.com"])
def test_p15_an_account_that_is_none_is_refused_by_the_service(account: str, peopled: Peopled, operator: GoogleTokens) -> None:
    body = bucket_body(operator, "lake-of-others", method="gcp_customer_managed_role", target_service_account=account)
    refused = peopled.service.ask("POST", "/orgs/acme/buckets", peopled.tokens["admin"], body=body)
    assert (refused.status, "target_service_account" in refused.detail) == (422, True), refused.body


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_p12_hmac_keys_on_google_stay_with_the_service_which_signs_for_who_has_one_repo(
    role: str, peopled: Peopled, seaweedfs: SeaweedFS, bucket: str
) -> None:
    """At a server that speaks the S3 API, as Google's interoperable one does."""
    ask, tokens, (key, secret) = peopled.service.ask, peopled.tokens, seaweedfs.admin
    body = {
        "nickname": "lake",
        "platform": "gs",
        "name": bucket,
        "prefix": "deep",
        "extra_config": {"endpoint_url": seaweedfs.endpoint},
        "auth_config": {"method": "hmac", "access_key_id": key, "secret_access_key": secret},
    }
    assert ask("POST", "/orgs/acme/buckets", tokens["admin"], body=body).status == 201
    with Client(peopled.service.uri, token=tokens["admin"]) as admin:
        repo = admin.create_repo("acme/ocean", kind="v1", bucket_config_nickname="lake")
        repo.root_group.create_array("sst", data=np.arange(4), chunks=(1,))
        repo.commit("Four numbers")
    ask("PUT", "/repos/acme/ocean/grants", tokens["admin"], body={"email": "member@example.org", "role": role})
    tokens["member"] = peopled.service.token("acme", "member@example.org", Role(role)).token.reveal()
    with Client(peopled.service.uri, token=tokens["member"]) as member:
        found = member.get_repo("acme/ocean")
        assert list(found.root_group["sst"][:]) == [0, 1, 2, 3]
        if role == "writer":
            found.root_group["sst"][0] = 7
            found.commit("By a guest")
            assert list(member.get_repo("acme/ocean").root_group["sst"][:]) == [7, 1, 2, 3]
        else:
            with pytest.raises(ReadOnlyError):
                found.commit("No")
        assert secret.encode() not in pickle.dumps(found)
    for path in ("/repos/acme/ocean/open", "/repos/acme/ocean"):
        assert secret.encode() not in ask("GET", path, tokens["member"], headers={"client-name": "arraylake-core"}).body
    request = {"requests": [{"verb": "PUT", "key": "x"}]}
    assert ask("POST", "/repos/acme/ocean/sign", tokens["member"], body=request).status == (200 if role == "writer" else 403)
