"""What a probe says of buckets and endpoints that are wrong, and of stores that lie."""

import asyncio
import json
from uuid import uuid4

import pytest
from arraylake_gcs import GCSOptions, GCSPlatform

from arraylake_core.backends import (
    AnonymousCredentials,
    CredentialProvider,
    Credentials,
    Location,
)
from arraylake_core.models import ProbeReport
from tests.servers.answering import answering
from tests.servers.gcs import ADMIN_TOKEN, FakeGCS, TokenGrant
from tests.servers.given import Given, keys, token
from tests.servers.lying_proxy import Lie, lying_proxy
from tests.servers.seaweedfs import SeaweedFS

GS = GCSPlatform()


def google_error(status: int, message: str, reason: str) -> str:
    """Return an error as Google's JSON API writes it."""
    return json.dumps({"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}})


async def probed(endpoint: str, bucket: str, credentials: Credentials, prefix: str = "") -> ProbeReport:
    place = Location(platform="gs", bucket=bucket, prefix=prefix or uuid4().hex, options=GCSOptions(endpoint_url=endpoint))
    return await GS.probe(place, CredentialProvider(Given(credentials)))


async def test_a_probe_tells_what_is_wrong(gcs: FakeGCS, gcs_bucket: str, seaweedfs: SeaweedFS, bucket: str) -> None:
    good = await probed(gcs.endpoint, gcs_bucket, token(ADMIN_TOKEN))
    assert (good.problems, good.safe_for_concurrent_writes) == ([], True)
    reader = gcs.token(TokenGrant(write=False))
    key, secret = seaweedfs.admin
    cases = [
        (gcs.endpoint, "no-such-bucket", token(ADMIN_TOKEN), "the bucket is not there"),
        (gcs.endpoint, gcs_bucket, token("CANARY-unknown"), "token"),
        (gcs.endpoint, gcs_bucket, token(gcs.token(TokenGrant(ends=0))), "token"),
        (gcs.endpoint, gcs_bucket, token(gcs.token(TokenGrant(bucket="another"))), "grant the right to"),
        (gcs.endpoint, gcs_bucket, AnonymousCredentials(), "the right to"),
        (gcs.endpoint, gcs_bucket, token(reader), "grant the right to write"),
        ("http://127.0.0.1:1", gcs_bucket, token(ADMIN_TOKEN), "nothing answers at the endpoint"),
        ("http://no-such-host.invalid", gcs_bucket, token(ADMIN_TOKEN), "host name is unknown"),
        (seaweedfs.endpoint, bucket, token(ADMIN_TOKEN), "endpoint"),
        (seaweedfs.endpoint, bucket, keys("GOOGNOBODY", secret), "access key id is unknown"),
        (seaweedfs.endpoint, bucket, keys(key, "CANARY"), "secret key is not the one"),
        (seaweedfs.endpoint, "no-such-bucket", keys(key, secret), "bucket does not exist"),
        (gcs.endpoint, gcs_bucket, keys(key, secret), "auth_config"),
        ("http://127.0.0.1:1", gcs_bucket, keys(key, secret), "nothing answers at the endpoint"),
    ]
    reports = await asyncio.gather(*(probed(endpoint, name, credentials) for endpoint, name, credentials, _ in cases))
    for (endpoint, name, _, says), report in zip(cases, reports, strict=True):
        assert not report.ok, (endpoint, name, says)
        assert any(says in problem for problem in report.problems), (endpoint, name, says, report.problems)
        assert "CANARY" not in repr(report)


HTML = "<!doctype html><html><p>Welcome!</html>"


@pytest.mark.parametrize(
    ("status", "body", "content_type", "says"),
    [
        (200, HTML, "text/html", "no object store"),
        (404, HTML, "text/html", "endpoint_url"),
        (403, HTML, "text/html", "the store denies it"),
        (400, google_error(400, "User project specified in the request is invalid.", "userProjectInvalid"), "", "project"),
        (400, google_error(400, "Bucket is a requester pays bucket but no user project provided.", "required"), "", "project"),
        (
            403,
            google_error(403, "CANARY@x does not have serviceusage.services.use access.", "forbidden"),
            "",
            "the store denies it",
        ),
        (404, google_error(404, "The specified bucket does not exist.", "notFound"), "", "bucket"),
        (401, google_error(401, "Invalid Credentials", "authError"), "", "token"),
    ],
)
async def test_what_answers_wrongly_is_told(status: int, body: str, content_type: str, says: str) -> None:
    with answering(status, body, content_type or "application/json") as (url, _):
        report = await probed(url, "bucket", token("CANARY"))
    assert not report.ok
    assert not report.safe_for_concurrent_writes
    assert any(says in problem for problem in report.problems), report.problems
    assert "CANARY" not in repr(report)


@pytest.mark.parametrize(
    ("lie", "creates", "updates"),
    [
        ("honest", True, True),
        ("ignore", False, False),
        ("half", True, False),
        ("late-fail", False, False),
        ("late-update", True, False),
        ("unknown", False, False),
    ],
)
async def test_p18_a_store_that_lies_about_generations_is_found_out(
    lie: Lie, creates: bool, updates: bool, gcs: FakeGCS, gcs_bucket: str
) -> None:
    with lying_proxy(gcs.endpoint, lie) as url:
        report = await probed(url, gcs_bucket, token(ADMIN_TOKEN))
    assert report.ok, report
    assert (report.conditional_create, report.conditional_update) == (creates, updates)
    assert report.safe_for_concurrent_writes is (creates and updates)
    assert [("let one process write at a time" in problem) for problem in report.problems] == [True] * (lie != "honest")
