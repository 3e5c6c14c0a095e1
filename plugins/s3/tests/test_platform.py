"""The three platforms pass the kit against a real server, and what is wrong with a bucket is told."""

import gc
import subprocess
import sys
import textwrap
import threading
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from uuid import uuid4

import msgspec
import pytest
from aiohttp import web
from arraylake_s3 import S3Options, S3Platform
from arraylake_s3.endpoint import parse_endpoint
from arraylake_s3.filesystem import open_filesystem

from arraylake_core import Client
from arraylake_core.backends import AnonymousCredentials, CredentialProvider, GCSCredentials, Location, S3Credentials
from arraylake_core.errors import CredentialsError, InvalidOptionError
from arraylake_core.secret import Secret
from arraylake_core.testing.storage import StoragePlatformTests
from tests.servers.seaweedfs import ADMIN, READER


class Keys(msgspec.Struct, frozen=True):
    """Credentials by the name of their owner, as sources are: no secret is in one."""

    owner: str

    async def mint(self) -> S3Credentials | AnonymousCredentials:
        if self.owner == "nobody":
            return AnonymousCredentials()
        key, secret = {"admin": ADMIN, "reader": READER}[self.owner]
        return S3Credentials(aws_access_key_id=key, aws_secret_access_key=Secret(secret))


@pytest.fixture(scope="module")
def shared_bucket(seaweedfs) -> str:
    return seaweedfs.make_bucket(f"shared-{uuid4().hex[:12]}")


class S3Tests(StoragePlatformTests):
    name: str
    foreign = (GCSCredentials(access_token=Secret("CANARY")),)

    @pytest.fixture
    def platform(self) -> S3Platform:
        return S3Platform(self.name, needs_endpoint=self.name != "s3")

    @pytest.fixture
    def location(self, seaweedfs, shared_bucket) -> Location:
        options = S3Options(endpoint_url=seaweedfs.endpoint)
        return Location(platform=self.name, bucket=shared_bucket, prefix=f"lake/{uuid4().hex}", options=options)

    @pytest.fixture
    def provider(self) -> CredentialProvider:
        return CredentialProvider(Keys("admin"))

    @pytest.fixture
    def intruder(self) -> CredentialProvider:
        return CredentialProvider(Keys("reader"))


WRONG_ENDPOINTS = (
    ({"endpoint_url": "ftp://host"}, "https:// or http://"),
    ({"endpoint_url": "host:9000"}, "https:// or http://"),
    ({"endpoint_url": "https://user:CANARY@host"}, "auth_config"),
    ({"endpoint_url": "https://CANARY@host"}, "auth_config"),
    ({"endpoint_url": "https://host/bucket"}, "end after the host"),
    ({"endpoint_url": "https://host?key=CANARY"}, "end after the host"),
    ({"endpoint_url": "https://ho st"}, "plain ASCII"),
    ({"endpoint_url": "https://hóst"}, "plain ASCII"),
    ({"endpoint_url": "https://host:port"}, "no URL"),
    ({"endpoint_url": "https://"}, "name a host"),
    ({"endpoint_url": "http://host", "use_ssl": True}, "use_ssl is True"),
    ({"endpoint_url": 7}, "'endpoint_url' must be text"),
    ({"endpoint_url": "http://host", "force_path_style": "yes"}, "'force_path_style' must be true or false"),
)


class TestS3(S3Tests):
    name = "s3"
    uris = ("s3://bucket", "s3://my.bucket-1/some/prefix_=.1")
    respelled = ({"endpoint_url": "https://S3.AMAZONAWS.COM."}, {"endpoint_url": "https://s3.eu-west-1.amazonaws.com/"})
    bad_uris = ("s3://ab", "s3://" + "x" * 64, "s3://two words", "s3://b?versionId=1", "s3://b#f")
    bad_options = WRONG_ENDPOINTS


class TestS3Compatible(S3Tests):
    name = "s3-compatible"
    uris = ("s3-compatible://bucket/prefix",)
    options = MappingProxyType({"endpoint_url": "http://localhost:9000", "region_name": "here"})
    respelled = ({"endpoint_url": "http://LOCALHOST:9000/"}, {"endpoint_url": "http://127.0.0.1:9000"})
    bad_options = (({}, "needs endpoint_url"), *WRONG_ENDPOINTS)


class TestMinio(S3Tests):
    name = "minio"
    uris = ("minio://bucket/prefix",)
    options = MappingProxyType({"endpoint_url": "http://localhost:9000", "region_name": "here"})
    respelled = ({"endpoint_url": "http://LOCALHOST:9000/"}, {"endpoint_url": "http://127.0.0.1:9000"})
    bad_options = (({}, "needs endpoint_url"), *WRONG_ENDPOINTS)


@pytest.mark.parametrize(
    ("spellings", "expected"),
    [
        ([None, "https://s3.amazonaws.com", "https://s3.eu-west-1.amazonaws.com/", "https://S3.AMAZONAWS.COM."], "amazonaws.com"),
        (["http://localhost:9000", "http://127.0.0.1:9000/", "http://127.9.9.9:9000", "http://[::1]:9000"], "localhost:9000"),
        (["https://Store.Example.org", "https://store.example.org:443", "http://store.example.org:80"], "store.example.org"),
    ],
)
def test_p14_every_spelling_of_an_endpoint_is_one_store(spellings, expected):
    assert {parse_endpoint(url, None).identity for url in spellings} == {expected}


@pytest.mark.parametrize(
    ("url", "variant", "path_style"),
    [
        (None, None, False),
        ("https://abc.r2.cloudflarestorage.com", "r2", False),
        ("https://fly.storage.tigris.dev", "tigris", False),
        ("https://t3.storage.dev", "tigris", False),
        ("https://minio.example.org:9000", None, True),
    ],
)
def test_products_that_need_care_are_recognised(url, variant, path_style):
    endpoint = parse_endpoint(url, None)
    assert (endpoint.variant, endpoint.path_style, endpoint.region) == (variant, path_style, "auto" if variant else None)
    forced = S3Options(endpoint_url=url, force_path_style=not path_style, region_name="here")
    place = Location(platform="s3", bucket="bucket", options=forced)
    spec = S3Platform("s3", needs_endpoint=False).object_store(place, CredentialProvider(Keys("nobody")))
    assert (spec.path_style, spec.region, spec.variant) == (not path_style, "here", variant)


def test_p26_ambient_credentials_and_settings_are_never_taken(seaweedfs, bucket, own_home, monkeypatch):
    key, secret = seaweedfs.admin
    (own_home / ".aws").mkdir()
    (own_home / ".aws" / "credentials").write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key={secret}\n")
    for name, value in {
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:1",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
    }.items():
        monkeypatch.setenv(name, value)
    with Client("memory://") as client:
        place = {"org": "me", "uri": f"s3://{bucket}", "endpoint_url": seaweedfs.endpoint}
        client.create_bucket_config(nickname="nobody", **place)
        report = client.probe_bucket_config(org="me", nickname="nobody")
        assert not report.ok
        assert "the store denies it" in report.problems[0]
        with pytest.raises(CredentialsError):
            client.create_repo("me/ocean", bucket_config_nickname="nobody")
        assert client.list_repos("me") == []
        hmac = {"method": "hmac", "access_key_id": key, "secret_access_key": secret}
        client.modify_bucket_config(org="me", nickname="nobody", auth_config=hmac)
        assert client.probe_bucket_config(org="me", nickname="nobody").ok


def test_credentials_of_another_cloud_are_refused():
    with pytest.raises(CredentialsError, match="GCSCredentials"):
        open_filesystem(parse_endpoint(None, None), GCSCredentials(access_token=Secret("x")))


@pytest.fixture
def html_server():
    """Something that answers on HTTP, and is no object store."""
    import asyncio

    loop, ready, url = asyncio.new_event_loop(), threading.Event(), []
    stop = asyncio.Event()

    async def page(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text="<!doctype html><html><p>Welcome!</html>", content_type="text/html")

    async def serve() -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", page)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url.append(f"http://127.0.0.1:{runner.addresses[0][1]}")
        ready.set()
        await stop.wait()
        await runner.cleanup()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    ready.wait()
    yield url[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def probe(**arguments):
    with Client("memory://") as client:
        client.create_bucket_config(org="me", nickname="probed", **arguments)
        return client.probe_bucket_config(org="me", nickname="probed")


def hmac(key: str, secret: str) -> dict[str, str]:
    return {"method": "hmac", "access_key_id": key, "secret_access_key": secret}


def test_a_probe_tells_what_is_wrong(seaweedfs, bucket, html_server):
    key, secret = seaweedfs.admin
    good = {"uri": f"s3://{bucket}/lake", "endpoint_url": seaweedfs.endpoint, "auth_config": hmac(key, secret)}
    assert probe(**good).safe_for_concurrent_writes
    cases = [
        ({"auth_config": hmac("AKIANOBODY", secret)}, "access key id is unknown"),
        ({"auth_config": hmac(key, "CANARY")}, "secret key is not the one"),
        ({"auth_config": None}, "grant the right to write"),
        ({"uri": "s3://no-such-bucket/lake"}, "bucket does not exist"),
        ({"endpoint_url": "http://127.0.0.1:1"}, "nothing answers at the endpoint"),
        ({"endpoint_url": "http://no-such-host.invalid"}, "host name is unknown"),
        ({"endpoint_url": html_server}, "no object store"),
    ]
    with Client("memory://") as client, ThreadPoolExecutor(len(cases)) as pool:
        names = [f"case-{number}" for number in range(len(cases))]
        for name, (change, _) in zip(names, cases, strict=True):
            client.create_bucket_config(org="me", nickname=name, **{**good, "uri": f"s3://{bucket}/{name}", **change})
        reports = list(pool.map(lambda name: client.probe_bucket_config(org="me", nickname=name), names))
    for (change, says), report in zip(cases, reports, strict=True):
        assert not report.ok, change
        assert any(says in problem for problem in report.problems), (change, report.problems)
        assert "CANARY" not in repr(report)


def test_a_reader_s_bucket_is_readable_and_not_writable(seaweedfs, bucket):
    report = probe(uri=f"s3://{bucket}/lake", endpoint_url=seaweedfs.endpoint, auth_config=hmac(*seaweedfs.reader))
    assert (report.reachable, report.readable, report.writable) == (True, True, False)
    assert report.problems == ["could not write: the store denies it: grant the right to write"]


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
def test_p18_a_store_that_lies_about_conditional_writes_is_found_out(seaweedfs, lying_store, lie, creates, updates):
    report = probe(uri=f"s3://{seaweedfs.public_bucket}/{lie}", endpoint_url=lying_store(lie))
    assert report.ok, report
    assert (report.conditional_create, report.conditional_update) == (creates, updates)
    assert report.safe_for_concurrent_writes is (creates and updates)
    assert [("let one process write at a time" in problem) for problem in report.problems] == [True] * (lie != "honest")


def test_p11_a_file_system_with_keys_refuses_to_travel(seaweedfs):
    import pickle

    import cloudpickle

    credentials = S3Credentials(aws_access_key_id="a", aws_secret_access_key=Secret("CANARY"))
    filesystem = open_filesystem(parse_endpoint(seaweedfs.endpoint, None), credentials)
    for dump in (pickle.dumps, cloudpickle.dumps):
        with pytest.raises(TypeError, match="pickle the repo"):
            dump(filesystem)
    for describe in (filesystem.to_dict, filesystem.to_json):
        with pytest.raises(TypeError, match="pickle the repo"):
            describe()
    assert "CANARY" not in repr(filesystem.storage_options) + str(vars(filesystem)) + filesystem._fs_token


def test_p27_file_systems_are_dropped_in_silence_on_any_loop_and_thread(seaweedfs, bucket):
    script = f"""
        import asyncio, gc, threading
        from arraylake_core.backends import S3Credentials
        from arraylake_core.secret import Secret
        from arraylake_s3.endpoint import parse_endpoint
        from arraylake_s3.filesystem import open_filesystem

        keys = S3Credentials(aws_access_key_id="{seaweedfs.admin[0]}", aws_secret_access_key=Secret("{seaweedfs.admin[1]}"))
        def use():
            open_filesystem(parse_endpoint("{seaweedfs.endpoint}", None), keys).ls("{bucket}")
            gc.collect()
        async def on_a_loop():
            use()
        use()
        asyncio.run(on_a_loop())
        threads = [threading.Thread(target=use) for _ in range(4)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        print("done")
    """
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script)], capture_output=True, text=True, check=False
    )
    assert (run.stdout, run.stderr) == ("done\n", "")
    gc.collect()


def test_options_survive_the_catalog(seaweedfs):
    given = {"endpoint_url": seaweedfs.endpoint, "region_name": "here", "use_ssl": False, "force_path_style": True}
    with Client("memory://") as client:
        made = client.create_bucket_config(org="me", nickname="ours", uri="minio://bucket/lake", extra_config=given)
        assert made.extra_config == given
        assert client.get_bucket_config(org="me", nickname="ours").extra_config == given
        with pytest.raises(InvalidOptionError):
            client.modify_bucket_config(org="me", nickname="ours", extra_config={**given, "use_ssl": True})
