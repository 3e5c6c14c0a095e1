"""What the platforms do at the edges: odd endpoints, settings that lie around, logs, stores that refuse in unusual ways."""

import json
import logging
import os
import socket

import obstore
import pytest
from arraylake_s3 import S3Options, S3Platform
from arraylake_s3.endpoint import parse_endpoint
from arraylake_s3.filesystem import open_filesystem

from arraylake_core.backends import (
    AnonymousCredentials,
    CredentialProvider,
    Location,
    NoOptions,
    ObjectStoreSpec,
)
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.probe import probe_location
from arraylake_core.backends.removal import remove_all
from arraylake_core.errors import CredentialsError, InvalidOptionError, StorageError
from tests.servers.answering import answering
from tests.servers.given import Given, keys
from tests.servers.lying_proxy import lying_proxy

S3 = S3Platform("s3", needs_endpoint=False)


@pytest.fixture
def location(seaweedfs, bucket) -> Location:
    return Location(platform="s3", bucket=bucket, prefix="lake", options=S3Options(endpoint_url=seaweedfs.endpoint))


@pytest.fixture
def provider(seaweedfs) -> CredentialProvider:
    return CredentialProvider(Given(keys(*seaweedfs.admin)))


def s3_error(code: str) -> str:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>"


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        (
            [
                "https://s3-us-west-2.amazonaws.com",
                "https://s3.dualstack.us-west-2.amazonaws.com",
                "https://s3-fips.us-gov-west-1.amazonaws.com",
                "https://bucket.s3.eu-central-1.amazonaws.com",
                "https://s3-accelerate.amazonaws.com:443",
                "https://s3.cn-north-1.amazonaws.com.cn",
                "https://s3.us-west-2.api.aws",
                "http://s3.amazonaws.com:80",
            ],
            "amazonaws.com",
        ),
        (
            [
                "http://127.1:9000",
                "http://2130706433:9000",
                "http://0x7f.0.0.1:9000",
                "http://0.0.0.0:9000",
                "http://[0:0:0:0:0:0:0:1]:9000",
                "http://[::ffff:127.0.0.1]:9000",
                "https://minio.localhost:9000",
                "http://localhost.:9000",
            ],
            "localhost:9000",
        ),
        (["http://10.0.0.7:9000", "http://10.7:9000", "http://[::ffff:10.0.0.7]:9000"], "10.0.0.7:9000"),
        (["https://[2001:DB8::1]:9000", "https://[2001:db8:0:0::1]:9000"], "[2001:db8::1]:9000"),
    ],
)
def test_p14_unusual_spellings_of_an_endpoint_are_one_store(spellings, expected):
    assert {parse_endpoint(url, None).identity for url in spellings} == {expected}


@pytest.mark.parametrize(
    "url",
    [
        "http://ec2-203-0-113-25.compute-1.amazonaws.com:9000",
        "http://ec2-203-0-113-25.us-west-2.compute.amazonaws.com",
        "http://s3-gateway-123.us-east-1.elb.amazonaws.com",
        "https://evil-s3.amazonaws.com.example.org",
        "https://s3.amazonaws.com:9000",
        "https://notamazonaws.com",
    ],
)
def test_p14_a_server_that_is_not_aws_s_own_is_a_place_apart(url):
    endpoint = parse_endpoint(url, None)
    assert endpoint.identity != "amazonaws.com"
    assert endpoint.path_style


@pytest.mark.parametrize(
    "url", ["http://", "https://:9000", "http://host:0", "http://host:99999", "http://a..b", "http://.", "http://[::1"]
)
def test_endpoints_without_a_sensible_host_are_refused(url):
    with pytest.raises(InvalidOptionError, match="'endpoint_url' is wrong"):
        parse_endpoint(url, None)


@pytest.mark.parametrize("region", ["", "evil.example.org/", "eu-central-1.evil", "a b", "x" * 64, "-a", "é", "a\n"])
def test_p13_a_region_does_not_lead_to_another_host(region):
    with pytest.raises(InvalidOptionError, match="'region_name' is wrong"):
        S3.decode_options({"region_name": region})


def test_an_endpoint_that_is_missing_is_never_taken_to_be_aws():
    platform = S3Platform("minio", needs_endpoint=True)
    for options in (NoOptions(), S3Options()):
        with pytest.raises(InvalidOptionError, match="needs endpoint_url"):
            platform.filesystem(Location(platform="minio", bucket="bucket", options=options), AnonymousCredentials())


@pytest.mark.parametrize(
    ("options", "endpoint"),
    [
        (S3Options(), "https://bucket.s3.us-east-1.amazonaws.com"),
        (S3Options(region_name="eu-west-1", force_path_style=True), "https://s3.eu-west-1.amazonaws.com"),
        (S3Options(region_name="cn-north-1"), "https://bucket.s3.cn-north-1.amazonaws.com.cn"),
        (S3Options(endpoint_url="https://t3.storage.dev"), "https://bucket.t3.storage.dev"),
        (S3Options(endpoint_url="http://minio.example.org:9000"), "http://minio.example.org:9000"),
    ],
)
async def test_the_fast_path_goes_to_the_endpoint_of_the_options(options, endpoint, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://elsewhere.example.org")
    monkeypatch.setenv("AWS_REGION", "elsewhere")
    place = Location(platform="s3", bucket="bucket", prefix="lake", options=options)
    store = await open_object_store(S3.object_store(place, CredentialProvider(Given(AnonymousCredentials()))))
    told = json.loads(json.dumps(store.config, default=str))
    assert told["endpoint"] == told["aws_endpoint_url_s3" if "aws_endpoint_url_s3" in told else "endpoint_url_s3"] == endpoint
    assert store.prefix == "lake"


async def test_a_bucket_with_dots_stays_out_of_the_host_name():
    place = Location(platform="s3", bucket="my.bucket")
    store = await open_object_store(S3.object_store(place, CredentialProvider(Given(AnonymousCredentials()))))
    assert store.config["endpoint"] == "https://s3.us-east-1.amazonaws.com"


async def test_what_fsspec_writes_obstore_reads_and_the_other_way_round(location, provider):
    filesystem = S3.filesystem(location, await provider.get())
    store = await open_object_store(S3.object_store(location, provider))
    filesystem.pipe_file(f"{S3.path(location)}/a", b"from fsspec")
    assert bytes(await (await obstore.get_async(store, "a")).bytes_async()) == b"from fsspec"
    await obstore.put_async(store, "b", b"from obstore")
    assert filesystem.cat_file(f"{S3.path(location)}/b") == b"from obstore"


async def test_listings_are_never_old(location, provider):
    reader, writer = [S3.filesystem(location, await provider.get()) for _ in range(2)]
    path = S3.path(location)
    writer.pipe_file(f"{path}/one", b"1")
    assert len(reader.ls(path)) == 1
    writer.pipe_file(f"{path}/two", b"2")
    assert len(reader.ls(path)) == 2


async def test_stores_without_a_fast_path_say_so():
    with pytest.raises(StorageError, match="memory"):
        await open_object_store(ObjectStoreSpec(protocol="memory", bucket="bucket"))
    for protocol in ("s3", "gcs"):
        with pytest.raises(CredentialsError, match="without credentials"):
            await open_object_store(ObjectStoreSpec(protocol=protocol, bucket="bucket"))


async def test_p26_nothing_of_the_environment_changes_where_requests_go_or_as_whom(location, provider, own_home, monkeypatch):
    (own_home / ".aws").mkdir()
    (own_home / ".aws" / "config").write_text(
        "[default]\nregion = elsewhere\nendpoint_url = http://127.0.0.1:1\ns3 =\n  addressing_style = virtual\n"
    )
    for name, value in {
        "AWS_PROFILE": "missing",
        "AWS_ACCESS_KEY_ID": "ambient",
        "AWS_SECRET_ACCESS_KEY": "ambient",
        "AWS_SESSION_TOKEN": "ambient",
        "AWS_ENDPOINT": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_REGION": "elsewhere",
        "AWS_SKIP_SIGNATURE": "true",
        "AWS_S3_EXPRESS": "true",
        "AWS_CONDITIONAL_PUT": "disabled",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_USE_FIPS_ENDPOINT": "true",
    }.items():
        monkeypatch.setenv(name, value)
    report = await S3.probe(location, provider)
    assert report.problems == []
    assert report.safe_for_concurrent_writes


@pytest.mark.parametrize("shape", ["fsspec", "obstore"])
async def test_p26_without_credentials_nobody_is_asked_for_them(location, seaweedfs, monkeypatch, shape):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", seaweedfs.admin[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", seaweedfs.admin[1])
    nobody = CredentialProvider(Given(AnonymousCredentials()))
    if shape == "fsspec":
        with pytest.raises(PermissionError):
            S3.filesystem(location, await nobody.get()).pipe_file(f"{S3.path(location)}/a", b"")
    else:
        store = await open_object_store(S3.object_store(location, nobody))
        with pytest.raises(obstore.exceptions.PermissionDeniedError):
            await obstore.put_async(store, "a", b"")


async def test_p10_debug_logs_show_neither_keys_nor_session_tokens(location, seaweedfs, caplog):
    caplog.set_level(logging.DEBUG)
    key, secret = seaweedfs.admin
    for credentials in (keys(key, secret), keys(key, "CANARY-wrong", "CANARY-token")):
        filesystem = S3.filesystem(location, credentials)
        for action in (
            lambda filesystem=filesystem: filesystem.pipe_file(f"{S3.path(location)}/a", b"1"),
            lambda filesystem=filesystem: filesystem.ls(S3.path(location)),
        ):
            try:
                action()
            except PermissionError as error:
                assert "CANARY" not in str(error)
    assert "x-amz-security-token" in caplog.text, "the request that carries the token was logged"
    assert "CANARY" not in caplog.text


async def test_p10_reports_repeat_no_secret(location, seaweedfs):
    key, _ = seaweedfs.admin
    report = await S3.probe(location, CredentialProvider(Given(keys(key, "CANARY-wrong", "CANARY-token"))))
    assert not report.ok
    assert "CANARY" not in repr(report)


def test_objects_that_are_not_deleted_are_an_error():
    body = "<DeleteResult><Error><Key>lake/a</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    with answering(200, body) as (url, _):
        filesystem = open_filesystem(parse_endpoint(url, None), AnonymousCredentials())
        with pytest.raises(PermissionError, match="1 objects were not deleted: AccessDenied"):
            filesystem.rm(["bucket/lake/a", "bucket/lake/b"])


@pytest.mark.parametrize(
    ("status", "body", "content_type", "says"),
    [
        (403, s3_error("RequestTimeTooSkewed"), "application/xml", "clock of this machine"),
        (400, s3_error("ExpiredToken"), "application/xml", "session token has expired"),
        (400, s3_error("AuthorizationHeaderMalformed"), "application/xml", "another region"),
        (404, s3_error("NoSuchBucket"), "application/xml", "bucket does not exist"),
        (403, "<html><p>Forbidden</html>", "text/html", "no object store"),
        (404, "<!doctype html><p>Not Found", "text/html; charset=utf-8", "no object store"),
        (405, "", "text/plain", "does not know this request"),
    ],
)
async def test_what_answers_wrongly_is_told(status, body, content_type, says):
    with answering(status, body, content_type) as (url, _):
        place = Location(platform="s3", bucket="bucket", prefix="lake", options=S3Options(endpoint_url=url))
        report = await S3.probe(place, CredentialProvider(Given(keys("key", "CANARY"))))
    assert not report.ok
    assert not report.safe_for_concurrent_writes
    assert len(report.problems) == 1, report.problems
    assert says in report.problems[0]


async def test_an_endpoint_that_never_answers_is_given_up():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        place = Location(platform="s3", bucket="bucket", prefix="lake", options=S3Options(endpoint_url=url))
        nobody = CredentialProvider(Given(AnonymousCredentials()))
        report = await probe_location(S3, place, nobody, step_seconds=0.5)
    assert report.problems == [
        "the store did not answer within 0.5 s when asked to list: correct endpoint_url, or try again later"
    ]
    assert not report.reachable


async def test_a_probe_leaves_nothing_where_conditional_writes_fail(seaweedfs):
    nobody = CredentialProvider(Given(AnonymousCredentials()))
    with lying_proxy(seaweedfs.endpoint, "ignore") as url:
        place = Location(
            platform="s3",
            bucket=seaweedfs.public_bucket,
            prefix=f"left-{os.urandom(4).hex()}",
            options=S3Options(endpoint_url=url),
        )
        report = await S3.probe(place, nobody)
        assert not report.conditional_create
        store = await open_object_store(S3.object_store(place, nobody))
        # SeaweedFS keeps the empty directory for a while, so that only objects count.
        assert obstore.list(store).collect() == []


async def test_removal_takes_more_than_a_page_of_a_listing(location, provider):
    filesystem, path = S3.filesystem(location, await provider.get()), S3.path(location)
    filesystem.pipe({f"{path}/gone/{number:04}": b"" for number in range(1100)})
    filesystem.pipe_file(f"{path}/gone-not", b"kept")
    assert len(filesystem.find(f"{path}/gone")) == 1100
    await remove_all(S3, location.below("gone"), provider)
    assert [found for found, info in filesystem.find(path, detail=True).items() if info["type"] == "file"] == [f"{path}/gone-not"]


async def test_a_reader_removes_nothing(location, provider, seaweedfs):
    filesystem, path = S3.filesystem(location, await provider.get()), S3.path(location)
    filesystem.pipe_file(f"{path}/place/kept", b"kept")
    reader = CredentialProvider(Given(keys(*seaweedfs.reader)))
    with pytest.raises(StorageError, match=r"could not delete .* \(PermissionError\)"):
        await remove_all(S3, location.below("place"), reader)
    assert filesystem.cat_file(f"{path}/place/kept") == b"kept"
