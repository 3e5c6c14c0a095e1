"""Buckets by role, through a service: credentials are minted for who may have them, and what mints them never leaves it."""

from uuid import uuid4

import numpy as np
import pytest

from arraylake_core import Client, config
from arraylake_core.errors import ReadOnlyError
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.seaweedfs_sts import ACCOUNT
from tests.service.conftest import Peopled


@pytest.fixture
def role_bucket(peopled: Peopled, aws_operator: SeaweedFS) -> str:
    """A bucket config of ``acme`` whose credentials the service mints."""
    bucket = aws_operator.make_bucket(f"lake-{uuid4().hex[:8]}")
    body = {
        "nickname": "lake",
        "platform": "s3",
        "name": bucket,
        "prefix": "deep",
        "extra_config": {"endpoint_url": aws_operator.endpoint, "region_name": "us-east-1"},
        "auth_config": {
            "method": "customer_managed_role",
            "external_customer_id": ACCOUNT,
            "external_role_name": "Lake",
            "shared_secret": "CANARY-external-id",
        },
    }
    made = peopled.service.ask("POST", "/orgs/acme/buckets", peopled.tokens["admin"], body=body)
    assert made.status == 201, made.body
    return bucket


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_p12_p15_a_repo_is_written_and_read_with_vended_credentials(
    kind: str, peopled: Peopled, role_bucket: str, aws_operator: SeaweedFS
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
    assert b"CANARY" not in said
    assert aws_operator.admin[1].encode() not in said
    assert b"ASIA" in said


def test_p15_what_a_reader_gets_writes_nothing_at_the_store(peopled: Peopled, role_bucket: str) -> None:
    service, tokens = peopled.service, peopled.tokens
    for name in ("ocean", "sea"):
        made = service.ask("POST", "/orgs/acme/repos", tokens["writer"], body={"name": name, "bucket_nickname": "lake"})
        assert made.status == 201, made.body
    prefixes = {name: service.ask("GET", f"/repos/acme/{name}", tokens["reader"]).json["prefix"] for name in ("ocean", "sea")}
    for who, writes in {"reader": False, "writer": True}.items():
        answer = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens[who])
        filesystem = opened(answer.json, peopled, role_bucket)
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


def opened(answer: dict[str, str], peopled: Peopled, bucket: str):
    """Return a file system with vended credentials, as any S3 client would make one."""
    import s3fs

    found = peopled.service.ask("GET", "/orgs/acme/buckets/lake", peopled.tokens["admin"]).json
    return s3fs.S3FileSystem(
        key=answer["aws_access_key_id"],
        secret=answer["aws_secret_access_key"],
        token=answer["aws_session_token"],
        endpoint_url=found["extra_config"]["endpoint_url"],
        skip_instance_cache=True,
        use_listings_cache=False,
    )


def test_p20_a_right_on_one_repo_opens_that_one_only(peopled: Peopled, role_bucket: str) -> None:
    """Who has a grant gets credentials too, where the bucket's method can limit them."""
    service, tokens = peopled.service, peopled.tokens
    for name in ("ocean", "sea"):
        service.ask("POST", "/orgs/acme/repos", tokens["admin"], body={"name": name, "bucket_nickname": "lake"})
    service.ask("PUT", "/repos/acme/ocean/grants", tokens["admin"], body={"email": "member@example.org", "role": "reader"})
    answer = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["member"])
    assert answer.status == 200, answer.body
    assert service.ask("GET", "/repos/acme/sea/bucket-credentials", tokens["member"]).status == 404
    assert service.ask("GET", "/repos/acme/ocean/bucket-credentials?access=write", tokens["member"]).status == 403
    assert service.ask("GET", "/orgs/acme/buckets/lake/credentials", tokens["member"]).status in (403, 404)


def test_p26_the_service_mints_once_for_all_who_ask_for_the_same(peopled: Peopled, role_bucket: str) -> None:
    service, tokens = peopled.service, peopled.tokens
    service.ask("POST", "/orgs/acme/repos", tokens["admin"], body={"name": "ocean", "bucket_nickname": "lake"})
    answers = [service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["writer"]).body for _ in range(5)]
    assert len(set(answers)) == 1


def test_p10_a_refused_role_tells_no_secret(peopled: Peopled, role_bucket: str) -> None:
    service, tokens = peopled.service, peopled.tokens
    service.ask("POST", "/orgs/acme/repos", tokens["admin"], body={"name": "ocean", "bucket_nickname": "lake"})
    with config.set({"delegation.aws.secret_access_key": "CANARY-wrong"}):
        answer = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["writer"])
    assert answer.status == 424, answer.body
    assert "SignatureDoesNotMatch" in answer.detail
    assert b"CANARY" not in answer.body


def test_a_method_that_reads_files_of_the_machine_is_refused(peopled: Peopled) -> None:
    body = {
        "nickname": "lake",
        "platform": "gs",
        "name": "lake",
        "auth_config": {"method": "gcp_service_account", "key_file": "/etc/passwd"},
    }
    answer = peopled.service.ask("POST", "/orgs/acme/buckets", peopled.tokens["admin"], body=body)
    assert answer.status == 422
    assert "reads a file of the machine" in answer.detail
    assert peopled.service.ask("GET", "/orgs/acme/buckets", peopled.tokens["admin"]).json == []


def test_p20_what_cannot_be_limited_to_one_repo_goes_to_nobody_with_a_right_to_one(peopled: Peopled) -> None:
    """On Azure, a signature reaches the whole container where the account has no directories."""
    service, tokens = peopled.service, peopled.tokens
    body = {
        "nickname": "lake",
        "platform": "azure",
        "name": "lake",
        "extra_config": {},
        "auth_config": {"method": "azure_credential_delegation", "tenant_id": "example.org", "storage_account": "ourdata"},
    }
    made = service.ask("POST", "/orgs/acme/buckets", tokens["admin"], body=body)
    assert made.status == 201, made.body
    assert made.json["extra_config"]["storage_account"] == "ourdata"
    service.ask("POST", "/orgs/acme/repos", tokens["admin"], body={"name": "ocean", "bucket_nickname": "lake"})
    service.ask("PUT", "/repos/acme/ocean/grants", tokens["admin"], body={"email": "member@example.org", "role": "reader"})
    answer = service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["member"])
    assert answer.status == 403
    assert "open more than you have a right to" in answer.detail
    # Who may use the bucket is let through to where they would be made.
    assert service.ask("GET", "/repos/acme/ocean/bucket-credentials", tokens["reader"]).status == 424
