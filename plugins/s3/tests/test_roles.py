"""Roles on a real token service: the store itself refuses all but the place and the right."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import parse_qs
from uuid import uuid4

import pytest
from arraylake_s3 import AwsRole, AwsRoleConfig, R2Role, R2RoleConfig, S3Options, S3Platform
from hypothesis import given
from hypothesis import strategies as st

from arraylake_core import config
from arraylake_core.backends import Access, Credentials, Location, S3Credentials
from arraylake_core.backends.exchange.aws import ask_sts
from arraylake_core.backends.scope import s3_session_policy
from arraylake_core.errors import ArraylakeError, CredentialsError, InvalidOptionError
from arraylake_core.models import Identity
from arraylake_core.plugins import default_registry
from arraylake_core.secret import Secret
from arraylake_core.testing.auth import CANARY, AuthMethodTests
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.seaweedfs_sts import ACCOUNT, LAKE_ROLE
from tests.service.misbehaving import answer, misbehaving_server

PLATFORM = S3Platform("s3", needs_endpoint=False)
LAKE = AwsRoleConfig(external_customer_id=ACCOUNT, external_role_name="Lake", shared_secret=Secret("CANARY-external-id"))
CLOUDFLARE = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def shared_bucket(seaweedfs_sts: SeaweedFS) -> str:
    return seaweedfs_sts.make_bucket(f"lake-{uuid4().hex[:8]}")


@pytest.fixture
def place(seaweedfs_sts: SeaweedFS, shared_bucket: str) -> Location:
    options = S3Options(endpoint_url=seaweedfs_sts.endpoint, region_name="us-east-1")
    return Location(platform="s3", bucket=shared_bucket, prefix=f"{uuid4().hex}/b", options=options)


class TestAwsRole(AuthMethodTests):
    method = AwsRole()
    config = {"external_customer_id": ACCOUNT, "external_role_name": "Lake", "shared_secret": CANARY}

    @pytest.fixture(autouse=True)
    def at_the_store(self, place: Location, aws_operator: SeaweedFS) -> None:
        self.location = place


class TestR2Role(AuthMethodTests):
    method = R2Role()
    config = {"external_account_id": CLOUDFLARE, "parent_access_key_id": "parent", "api_token": CANARY}

    @pytest.fixture(autouse=True)
    def at_the_api(self, place: Location) -> Iterator[None]:
        self.location = place
        with cloudflare() as _:
            yield


@contextmanager
def cloudflare() -> Iterator[list[dict[str, object]]]:
    """Cloudflare's API, of which there is no server to be had: it answers as its documentation says, and keeps what it was asked."""
    keys = {"accessKeyId": "AKIATEMPORARY", "secretAccessKey": CANARY, "sessionToken": CANARY}
    asked: list[dict[str, object]] = []
    with misbehaving_server(answer(200, {"success": True, "result": keys})) as server:
        with config.set({"delegation.r2.api_endpoint": f"{server.uri}/client/v4"}):
            yield asked
        asked += [{"target": one.target, "headers": one.headers, **json.loads(one.body)} for one in server.requests]


def refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except PermissionError:
        return True
    return False


@pytest.mark.parametrize("access", ["read", "write"])
async def test_p15_the_store_refuses_all_but_the_place_and_the_right(
    place: Location, aws_operator: SeaweedFS, access: Access
) -> None:
    key, secret = aws_operator.admin
    whole = PLATFORM.filesystem(place, S3Credentials(aws_access_key_id=key, aws_secret_access_key=Secret(secret)))
    limited = PLATFORM.filesystem(place, await AwsRole().credentials(LAKE, place, access, Identity("ada")))
    inside, parent = f"{place.bucket}/{place.prefix}", f"{place.bucket}/{place.prefix.partition('/')[0]}"
    other = aws_operator.make_bucket(f"other-{uuid4().hex[:8]}")
    outside = [f"{inside}c/x", f"{parent}/x", f"{place.bucket}/x", f"{other}/{place.prefix}/x"]
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
    for path in (place.bucket, parent, f"{inside}c", other):
        assert refused(lambda p=path: limited.ls(p)), path
    assert refused(lambda: limited.pipe_file(f"{inside}/x", b"new")) is (access == "read")
    assert refused(lambda: limited.rm_file(f"{inside}/x")) is (access == "read")
    assert whole.exists(f"{inside}/x") is (access == "read")


def permits(policy: dict[str, object], action: str, resource: str, prefix: str = "") -> bool:
    """Evaluate a session policy as IAM does, its wildcards and escapes included; written for this test alone."""

    def matches(pattern: str, text: str) -> bool:
        if not pattern:
            return not text
        if pattern[:2] == "${" and pattern[3:4] == "}":
            return text[:1] == pattern[2] and matches(pattern[4:], text[1:])
        if pattern[0] == "*":
            return matches(pattern[1:], text) or (bool(text) and matches(pattern, text[1:]))
        return bool(text) and pattern[0] in ("?", text[0]) and matches(pattern[1:], text[1:])

    def applies(statement: dict[str, object]) -> bool:
        listed = statement.get("Condition", {}).get("StringLike", {}).get("s3:prefix")
        return (
            action in statement["Action"]
            and matches(statement["Resource"], resource)
            and (listed is None or matches(listed, prefix))
        )

    return any(applies(statement) for statement in policy["Statement"])


_PART = st.text("abAB01_-.=", min_size=1, max_size=4).filter(lambda part: part.strip(".") and ".." not in part)
_PREFIXES = st.lists(_PART, min_size=1, max_size=3).map("/".join)


@given(_PREFIXES, _PREFIXES, st.sampled_from(["read", "write"]))
def test_p15_a_policy_permits_exactly_what_is_below_the_prefix(prefix: str, other: str, access: Access) -> None:
    policy = json.loads(s3_session_policy(Location(platform="s3", bucket="lake", prefix=prefix), access))
    inside = other.startswith(f"{prefix}/")
    for action, right in {"s3:GetObject": True, "s3:PutObject": access == "write", "s3:DeleteObject": access == "write"}.items():
        assert permits(policy, action, f"arn:aws:s3:::lake/{other}") is (inside and right)
        assert permits(policy, action, f"arn:aws:s3:::lake/{prefix}/{other}") is right
        assert not permits(policy, action, f"arn:aws:s3:::lake2/{prefix}/{other}")
    assert permits(policy, "s3:ListBucket", "arn:aws:s3:::lake", other) is inside
    assert not permits(policy, "s3:ListBucket", "arn:aws:s3:::lake", "")
    assert permits(policy, "s3:ListBucket", "arn:aws:s3:::lake", f"{prefix}/")


@given(st.text("ab*?${}", min_size=1, max_size=8))
def test_p15_wildcards_in_names_stand_for_themselves(name: str) -> None:
    """No bucket or prefix with such a letter is ever taken; should one be, it says no more than itself."""
    policy = json.loads(s3_session_policy(SimpleNamespace(bucket=name, prefix=name), "read"))
    assert permits(policy, "s3:GetObject", f"arn:aws:s3:::{name}/{name}/key")
    for other in ("ab", "a", "anything", f"{name}x"):
        if other != name:
            assert not permits(policy, "s3:GetObject", f"arn:aws:s3:::{other}/{other}/key")


async def test_p12_the_external_id_goes_to_the_token_service_and_nowhere_else(place: Location) -> None:
    keys = {"delegation.aws.access_key_id": "AKIAOPERATOR", "delegation.aws.secret_access_key": "CANARY-operator-secret"}
    refusal = answer(
        403, b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>CANARY-external-id</Message></Error></ErrorResponse>"
    )
    with (
        misbehaving_server(refusal) as server,
        config.set({**keys, "delegation.aws.sts_endpoint": server.uri}),
        pytest.raises(CredentialsError, match="AccessDenied.*shared_secret must be that") as caught,
    ):
        await AwsRole().credentials(LAKE, place, "read", Identity("ada lovelace"))
    assert "CANARY" not in str(caught.value)
    (request,) = server.requests
    form = {name: values[0] for name, values in parse_qs(request.body.decode()).items()}
    assert (form["RoleArn"], form["ExternalId"], form["RoleSessionName"]) == (
        LAKE_ROLE,
        "CANARY-external-id",
        "arraylake-ada-lovelace",
    )
    assert "CANARY-operator-secret" not in f"{request.headers}{form}"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"delegation.aws.access_key_id": None}, "set delegation.aws.access_key_id"),
        ({"delegation.aws.secret_access_key": "CANARY-wrong"}, "SignatureDoesNotMatch.*clock"),
        ({"delegation.aws.sts_endpoint": "http://127.0.0.1:1"}, "can't be reached"),
        ({"delegation.aws.sts_endpoint": None}, "the operator sets delegation.aws.sts_endpoint"),
        ({"delegation.aws.secret_access_key": None, "delegation.aws.secret_access_key_file": "/nowhere/CANARY"}, "can't be read"),
    ],
)
async def test_what_the_operator_must_mend_is_said(
    place: Location, aws_operator: SeaweedFS, settings: dict[str, object], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What lies about is never taken.
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", aws_operator.admin[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", aws_operator.admin[1])
    with config.set(settings), pytest.raises(ArraylakeError, match=says) as caught:
        await AwsRole().credentials(LAKE, place, "read", Identity())
    assert "CANARY-wrong" not in str(caught.value)


async def test_the_machine_s_own_identity_is_taken_where_the_operator_says_so(
    place: Location, seaweedfs_sts: SeaweedFS, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs_sts.admin[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs_sts.admin[1])
    with config.set({"delegation.aws.ambient": True, "delegation.aws.sts_endpoint": seaweedfs_sts.endpoint}):
        credentials = await AwsRole().credentials(LAKE, place, "read", Identity())
    assert isinstance(credentials, S3Credentials)


async def test_a_role_that_does_not_exist_says_what_to_check(place: Location, aws_operator: SeaweedFS) -> None:
    nobody = AwsRoleConfig(external_customer_id=ACCOUNT, external_role_name="Nobody")
    with pytest.raises(CredentialsError, match="the role must exist"):
        await AwsRole().credentials(nobody, place, "read", Identity())


@pytest.mark.parametrize(
    "body", [b"<html>CANARY</html>", b"CANARY", b"<!DOCTYPE x [<!ENTITY a 'CANARY'>]><x>&a;</x>", b"\xff\xfe"]
)
async def test_p25_an_answer_that_is_none_is_refused(body: bytes) -> None:
    with misbehaving_server(answer(200, body)) as server, pytest.raises(CredentialsError) as caught:
        await ask_sts(server.uri, {"Action": "AssumeRole"}, hints={})
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    ("method", "values", "says"),
    [
        (AwsRole(), {"external_customer_id": "12", "external_role_name": "Lake"}, "12 digits"),
        (AwsRole(), {"external_customer_id": ACCOUNT, "external_role_name": "a b"}, "the role's name"),
        (AwsRole(), {"external_customer_id": ACCOUNT, "external_role_name": "x:role/y"}, "the role's name"),
        (R2Role(), {"external_account_id": "../x", "parent_access_key_id": "k", "api_token": "t"}, "Cloudflare account"),
        (R2Role(), {"external_account_id": CLOUDFLARE, "parent_access_key_id": "k/", "api_token": "t"}, "R2 access key"),
        (
            R2Role(),
            {"external_account_id": CLOUDFLARE, "parent_access_key_id": "k", "api_token": "t", "duration_seconds": 1},
            "900 to",
        ),
    ],
)
def test_p15_a_config_that_cannot_be_right_is_refused_when_it_is_set(method, values: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidOptionError, match=says):
        method.check(method.decode_config(values), "s3")


def test_the_older_name_is_taken_and_the_newer_one_kept() -> None:
    method = default_registry().auth_method("customer_managed_role")
    assert method.name == "aws_customer_managed_role"
    assert "customer_managed_role" not in default_registry().names("auth method")
    kept = method.encode_config(method.decode_config({"external_customer_id": ACCOUNT, "external_role_name": "Lake"}))
    assert kept["method"] == "aws_customer_managed_role"


@pytest.mark.parametrize(("access", "permission"), [("read", "object-read-only"), ("write", "object-read-write")])
async def test_p15_r2_is_asked_for_the_place_and_the_right(place: Location, access: Access, permission: str) -> None:
    settings = R2RoleConfig(external_account_id=CLOUDFLARE, parent_access_key_id="parent", api_token=Secret("CANARY-token"))
    with cloudflare() as asked:
        credentials: Credentials = await R2Role().credentials(settings, place, access, Identity())
    assert credentials.expiration is not None
    (request,) = asked
    assert request["target"] == f"/client/v4/accounts/{CLOUDFLARE}/r2/temp-access-credentials"
    assert request["headers"]["authorization"] == "Bearer CANARY-token"
    assert (request["bucket"], request["prefixes"], request["permission"]) == (place.bucket, [f"{place.prefix}/"], permission)
    assert (request["parentAccessKeyId"], request["ttlSeconds"]) == ("parent", 3600)
