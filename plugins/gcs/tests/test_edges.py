"""What the platform does at the edges: wrong buckets and endpoints, settings that lie around, logs, stores that lie, many objects."""

import json
import logging
import pickle
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import cloudpickle
import icechunk
import numpy as np
import obstore
import pytest
from arraylake_gcs import GCSOptions, GCSPlatform

from arraylake_core import Client
from arraylake_core.backends import (
    AnonymousCredentials,
    CredentialProvider,
    Credentials,
    GCSCredentials,
    Location,
    S3Credentials,
)
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.backends.removal import remove_all
from arraylake_core.errors import CredentialsError, InvalidOptionError, StorageError
from arraylake_core.models import ProbeReport
from arraylake_core.secret import Secret
from tests.servers.gcs import ADMIN_TOKEN, PUBLIC_BUCKET, FakeGCS, TokenGrant
from tests.servers.google_tokens import GoogleTokens
from tests.servers.lying_proxy import Lie, lying_proxy
from tests.servers.seaweedfs import SeaweedFS

GS = GCSPlatform()


class Given:
    """Hands out what it was given."""

    def __init__(self, credentials: Credentials) -> None:
        self.credentials = credentials

    async def mint(self) -> Credentials:
        return self.credentials


def token(text: str = ADMIN_TOKEN) -> GCSCredentials:
    return GCSCredentials(access_token=Secret(text))


def hmac(key: str, secret: str) -> S3Credentials:
    return S3Credentials(aws_access_key_id=key, aws_secret_access_key=Secret(secret))


@pytest.fixture(scope="module")
def gcs_bucket(gcs: FakeGCS) -> str:
    return gcs.make_bucket(f"edges-{uuid4().hex[:8]}")


@pytest.fixture
def location(gcs: FakeGCS, gcs_bucket: str) -> Location:
    return Location(platform="gs", bucket=gcs_bucket, prefix=uuid4().hex, options=GCSOptions(endpoint_url=gcs.endpoint))


@contextmanager
def answering(status: int, body: str, content_type: str = "application/json") -> Iterator[tuple[str, list[str]]]:
    """Serve one answer to every request on a loopback port, and list who asked for what."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(status)
            self.send_header("content-type", content_type)
            # What says of itself that it is Google's metadata server.
            self.send_header("metadata-flavor", "Google")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body.encode())

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def google_error(status: int, message: str, reason: str) -> str:
    """Return an error as Google's JSON API writes it."""
    return json.dumps({"error": {"code": status, "message": message, "errors": [{"reason": reason, "message": message}]}})


async def probed(endpoint: str, bucket: str, credentials: Credentials, prefix: str = "") -> ProbeReport:
    place = Location(platform="gs", bucket=bucket, prefix=prefix or uuid4().hex, options=GCSOptions(endpoint_url=endpoint))
    return await GS.probe(place, CredentialProvider(Given(credentials)))


async def test_a_probe_tells_what_is_wrong(gcs: FakeGCS, gcs_bucket: str, seaweedfs: SeaweedFS, bucket: str) -> None:
    good = await probed(gcs.endpoint, gcs_bucket, token())
    assert (good.problems, good.safe_for_concurrent_writes) == ([], True)
    reader = gcs.token(TokenGrant(write=False))
    key, secret = seaweedfs.admin
    cases = [
        (gcs.endpoint, "no-such-bucket", token(), "the bucket is not there"),
        (gcs.endpoint, gcs_bucket, token("CANARY-unknown"), "token"),
        (gcs.endpoint, gcs_bucket, token(gcs.token(TokenGrant(ends=0))), "token"),
        (gcs.endpoint, gcs_bucket, token(gcs.token(TokenGrant(bucket="another"))), "grant the right to"),
        (gcs.endpoint, gcs_bucket, AnonymousCredentials(), "the right to"),
        (gcs.endpoint, gcs_bucket, token(reader), "grant the right to write"),
        ("http://127.0.0.1:1", gcs_bucket, token(), "nothing answers at the endpoint"),
        ("http://no-such-host.invalid", gcs_bucket, token(), "host name is unknown"),
        (seaweedfs.endpoint, bucket, token(), "endpoint"),
        (seaweedfs.endpoint, bucket, hmac("GOOGNOBODY", secret), "access key id is unknown"),
        (seaweedfs.endpoint, bucket, hmac(key, "CANARY"), "secret key is not the one"),
        (seaweedfs.endpoint, "no-such-bucket", hmac(key, secret), "bucket does not exist"),
        (gcs.endpoint, gcs_bucket, hmac(key, secret), "auth_config"),
        ("http://127.0.0.1:1", gcs_bucket, hmac(key, secret), "nothing answers at the endpoint"),
    ]
    for endpoint, name, credentials, says in cases:
        report = await probed(endpoint, name, credentials)
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
        report = await probed(url, gcs_bucket, token())
    assert report.ok, report
    assert (report.conditional_create, report.conditional_update) == (creates, updates)
    assert report.safe_for_concurrent_writes is (creates and updates)
    assert [("let one process write at a time" in problem) for problem in report.problems] == [True] * (lie != "honest")


async def test_what_fsspec_writes_obstore_reads_and_the_other_way_round(location: Location) -> None:
    provider = CredentialProvider(Given(token()))
    filesystem = GS.filesystem(location, await provider.get())
    store = await open_object_store(GS.object_store(location, provider))
    filesystem.pipe_file(f"{GS.path(location)}/a", b"from fsspec")
    assert bytes(await (await obstore.get_async(store, "a")).bytes_async()) == b"from fsspec"
    await obstore.put_async(store, "b", b"from obstore")
    assert filesystem.cat_file(f"{GS.path(location)}/b") == b"from obstore"


async def test_removal_takes_more_than_a_page_of_a_listing(location: Location) -> None:
    provider = CredentialProvider(Given(token()))
    filesystem, path = GS.filesystem(location, token()), GS.path(location)
    filesystem.pipe({f"{path}/gone/{number:04}": b"" for number in range(1100)})
    filesystem.pipe_file(f"{path}/gone-not", b"kept")
    assert len(filesystem.find(f"{path}/gone")) == 1100
    await remove_all(GS, location.below("gone"), provider)
    assert filesystem.find(path) == [f"{path}/gone-not"]


async def test_a_reader_removes_nothing(location: Location, gcs: FakeGCS) -> None:
    filesystem, path = GS.filesystem(location, token()), GS.path(location)
    filesystem.pipe_file(f"{path}/place/kept", b"kept")
    reader = CredentialProvider(Given(token(gcs.token(TokenGrant(write=False)))))
    with pytest.raises(StorageError, match=r"could not delete .* \(PermissionError\)"):
        await remove_all(GS, location.below("place"), reader)
    assert filesystem.cat_file(f"{path}/place/kept") == b"kept"


def test_hmac_keys_read_any_part_of_a_file(seaweedfs: SeaweedFS, bucket: str) -> None:
    place = Location(platform="gs", bucket=bucket, prefix="lake", options=GCSOptions(endpoint_url=seaweedfs.endpoint))
    filesystem, path = GS.filesystem(place, hmac(*seaweedfs.admin)), f"{GS.path(place)}/digits"
    digits = b"0123456789"
    filesystem.pipe_file(path, digits)
    for start, end in ((None, None), (0, 4), (3, None), (None, 3), (-4, None), (-4, -2), (2, -2), (5, 5), (7, 99), (None, -3)):
        assert filesystem.cat_file(path, start=start, end=end) == digits[start:end], (start, end)
    with filesystem.open(path, "rb") as file:
        file.seek(6)
        assert file.read(2) == b"67"
    with pytest.raises(FileNotFoundError):
        filesystem.cat_file(f"{path}-not")


@pytest.fixture
def machine(gcs: FakeGCS, google_config: GoogleTokens, own_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A machine that has an identity of its own, which would open everything; gives who asked for it."""
    key_file = google_config.service_account(tmp_path, "machine@deployment.iam.gserviceaccount.com")
    own = own_home / ".config" / "gcloud" / "application_default_credentials.json"
    own.parent.mkdir(parents=True)
    own.write_text(key_file.read_text())
    answer = json.dumps({"access_token": ADMIN_TOKEN, "expires_in": 3600, "token_type": "Bearer"})
    with answering(200, answer) as (url, asked):
        host = url.removeprefix("http://")
        for name, value in {
            "GOOGLE_APPLICATION_CREDENTIALS": str(key_file),
            "GOOGLE_SERVICE_ACCOUNT": str(key_file),
            "GOOGLE_SERVICE_ACCOUNT_PATH": str(key_file),
            "GOOGLE_BUCKET": "elsewhere",
            "GOOGLE_BASE_URL": "http://127.0.0.1:1",
            "GOOGLE_SKIP_SIGNATURE": "true",
            "STORAGE_EMULATOR_HOST": "http://127.0.0.1:1",
            "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "true",
            "FSSPEC_GCS_TOKEN": ADMIN_TOKEN,
            "GCE_METADATA_HOST": host,
            "GCE_METADATA_ROOT": host,
            "GCE_METADATA_IP": host,
        }.items():
            monkeypatch.setenv(name, value)
        yield asked


async def test_p26_nothing_of_the_environment_changes_where_requests_go_or_as_whom(
    machine: list[str], gcs: FakeGCS, gcs_bucket: str
) -> None:
    report = await probed(gcs.endpoint, gcs_bucket, token())
    assert (report.problems, report.safe_for_concurrent_writes) == ([], True)
    denied = await probed(gcs.endpoint, gcs_bucket, AnonymousCredentials())
    assert not denied.ok
    assert machine == []


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_p26_without_credentials_the_machine_is_never_asked_for_its_own(
    kind: str, machine: list[str], gcs: FakeGCS, google_config: GoogleTokens
) -> None:
    """A public bucket is read by everybody, and what is written to it is written by nobody."""
    asked = len(google_config.asked)
    with Client("memory://") as client:
        place = {"uri": f"gs://{PUBLIC_BUCKET}/{uuid4().hex}", "extra_config": {"endpoint_url": gcs.endpoint}}
        client.create_bucket_config(org="me", nickname="public", auth_config={"method": "anonymous"}, **place)
        if kind == "v1":
            repo = client.create_repo("me/ocean", bucket_config_nickname="public", kind=kind)
            repo.root_group.create_array("sst", data=np.arange(4), chunks=(1,))
            repo.commit("Four numbers")
            assert client.get_repo("me/ocean").root_group["sst"][:].tolist() == [0, 1, 2, 3]
        else:
            with pytest.raises(CredentialsError, match="name another auth method"):
                client.create_repo("me/ocean", bucket_config_nickname="public", kind=kind)
            assert client.list_repos("me") == []
    assert (machine, google_config.asked[asked:]) == ([], [])


@pytest.mark.parametrize("credentials", [token("ya29.CANARY-unknown"), token(), hmac("key", "CANARY-wrong")], ids=repr)
async def test_p10_debug_logs_and_errors_show_no_token(
    credentials: Credentials, location: Location, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = CredentialProvider(Given(credentials))
    said = repr(await GS.probe(location, provider))
    filesystem, path = GS.filesystem(location, credentials), GS.path(location)
    attempts: tuple[Callable[[], object], ...] = (
        lambda: filesystem.pipe_file(f"{path}/a", b"1"),
        lambda: filesystem.cat_file(f"{path}/b"),
        lambda: filesystem.ls(f"{path}/c"),
    )
    for attempt in attempts:
        try:
            attempt()
        except OSError as error:
            said += f"{error!r} {error.__cause__!r}"
    store = await open_object_store(GS.object_store(location, provider))
    said += repr(store)
    try:
        await obstore.get_async(store, "b")
    except Exception as error:
        said += repr(error)
    if isinstance(credentials, GCSCredentials):
        assert location.bucket in caplog.text, "requests were logged"
    assert "CANARY" not in caplog.text + said


@pytest.mark.parametrize("credentials", [token(), hmac("key", "CANARY")], ids=["token", "hmac"])
def test_p11_a_file_system_with_credentials_refuses_to_travel(credentials: Credentials, location: Location) -> None:
    filesystem = GS.filesystem(location, credentials)
    for dump in (pickle.dumps, cloudpickle.dumps):
        with pytest.raises(TypeError, match="pickle the repo"):
            dump(filesystem)
    for describe in (filesystem.to_dict, filesystem.to_json):
        with pytest.raises(TypeError, match="pickle the repo"):
            describe()
    assert "CANARY" not in repr(filesystem) + repr(filesystem.storage_options) + str(vars(filesystem))
    assert GS.filesystem(location, credentials) is not filesystem


def role(tokens: GoogleTokens, directory: Path) -> dict[str, str]:
    """Return the auth_config of a key file of its own."""
    key_file = tokens.service_account(directory, f"edge-{uuid4().hex[:8]}@deployment.iam.gserviceaccount.com")
    return {"method": "gcp_service_account", "key_file": str(key_file)}


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_p11_what_a_repo_hands_on_has_neither_token_nor_key(
    kind: str, gcs_bucket: str, google_config: GoogleTokens, tmp_path: Path
) -> None:
    auth = role(google_config, tmp_path)
    private = json.loads(Path(auth["key_file"]).read_text())["private_key"]
    with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
        place = {"uri": f"gs://{gcs_bucket}/{uuid4().hex}", "extra_config": {"endpoint_url": google_config.store.endpoint}}
        client.create_bucket_config(org="me", nickname="lake", auth_config=auth, **place)
        repo = client.create_repo("me/ocean", bucket_config_nickname="lake", kind=kind)
        repo.root_group.create_array("sst", data=np.arange(4), chunks=(1,))
        repo.commit("Four numbers")
        opened = client.get_repo("me/ocean", read_only=True)
        array = opened.root_group["sst"]
        assert array[:].tolist() == [0, 1, 2, 3]
        for thing in (client, opened, opened.store, array):
            for dumps in (pickle.dumps, cloudpickle.dumps):
                pickled = dumps(thing)
                assert b"ya29" not in pickled
                assert b"CANARY" not in pickled
                assert private.encode() not in pickled
        assert pickle.loads(pickle.dumps(array))[:].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("way", ["gcp_service_account", "hmac", "anonymous"])
def test_p17_virtual_chunks_are_read_with_the_credentials_of_their_own_bucket(
    way: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data = np.arange(4, dtype="<i4").tobytes()
    if way == "hmac":
        server, name = request.getfixturevalue("seaweedfs"), request.getfixturevalue("bucket")
        key, secret = server.admin
        auth, endpoint = {"method": way, "access_key_id": key, "secret_access_key": secret}, server.endpoint
        whole: Credentials = hmac(key, secret)
    else:
        tokens = request.getfixturevalue("google_config")
        endpoint, whole = tokens.store.endpoint, token()
        name = PUBLIC_BUCKET if way == "anonymous" else tokens.store.make_bucket(f"raw-{uuid4().hex[:8]}")
        auth = {"method": way} if way == "anonymous" else role(tokens, tmp_path)
    prefix = f"archive-{uuid4().hex[:8]}"
    place = Location(platform="gs", bucket=name, prefix=prefix, options=GCSOptions(endpoint_url=endpoint))
    filesystem = GS.filesystem(place, whole)
    filesystem.pipe_file(f"{name}/{prefix}/raw.bin", data)
    filesystem.pipe_file(f"{name}/{prefix}-other/raw.bin", data)
    url = f"gs://{name}/{prefix}/"
    with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
        archive = {"uri": f"gs://{name}/{prefix}", "extra_config": {"endpoint_url": endpoint}, "auth_config": auth}
        client.create_bucket_config(org="me", nickname="archive", **archive)
        repo = client.create_repo("me/virtual", authorize_virtual_chunk_access={url: "archive"})
        group = repo.root_group
        for array in ("inside", "outside"):
            group.create_array(array, shape=(4,), chunks=(4,), dtype="<i4", compressors=None, filters=None)
        repo.store.set_virtual_ref("inside/c/0", f"{url}raw.bin", offset=0, length=16)
        outside = f"gs://{name}/{prefix}-other/raw.bin"
        repo.store.set_virtual_ref("outside/c/0", outside, offset=0, length=16, validate_container=False)
        repo.commit("By reference")
        again = client.get_repo("me/virtual").root_group
        if way == "hmac":
            with pytest.raises(icechunk.IcechunkError, match="not with HMAC keys: give the bucket config"):
                again["inside"][:]
            return
        assert again["inside"][:].tolist() == [0, 1, 2, 3]
        with pytest.raises(icechunk.IcechunkError, match="container"):
            again["outside"][:]


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
@pytest.mark.parametrize("way", ["token", "hmac"])
def test_a_bucket_that_does_not_exist_gets_no_repo(
    kind: str, way: str, google_config: GoogleTokens, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    keys = dict(zip(("access_key_id", "secret_access_key"), seaweedfs.admin, strict=True))
    auth = {"method": "hmac", **keys} if way == "hmac" else role(google_config, tmp_path)
    endpoint = seaweedfs.endpoint if way == "hmac" else google_config.store.endpoint
    with Client("memory://") as client:
        place = {"uri": "gs://no-such-bucket", "extra_config": {"endpoint_url": endpoint}}
        client.create_bucket_config(org="me", nickname="lake", auth_config=auth, **place)
        with pytest.raises(StorageError, match="no-such-bucket"):
            client.create_repo("me/ocean", bucket_config_nickname="lake", kind=kind)
        assert client.list_repos("me") == []


def test_requesters_pay_where_the_project_is_named(google_config: GoogleTokens, tmp_path: Path) -> None:
    store = google_config.store
    bucket = store.make_bucket(f"paid-{uuid4().hex[:8]}")
    store.payers[bucket] = "ocean-models"
    with Client("memory://") as client:
        for nickname, project in (("paid", {"project": "ocean-models"}), ("wrong", {"project": "no-such-project"}), ("none", {})):
            place = {"uri": f"gs://{bucket}/{nickname}", "extra_config": {"endpoint_url": store.endpoint, **project}}
            client.create_bucket_config(org="me", nickname=nickname, auth_config=role(google_config, tmp_path), **place)
        report = client.probe_bucket_config(org="me", nickname="paid")
        assert (report.problems, report.safe_for_concurrent_writes) == ([], True)
        repo = client.create_repo("me/ocean", bucket_config_nickname="paid", kind="v1")
        repo.root_group.create_array("sst", data=np.arange(4), chunks=(1,))
        repo.commit("Four numbers")
        assert client.get_repo("me/ocean").root_group["sst"][:].tolist() == [0, 1, 2, 3]
        client.delete_repo("me/ocean", imsure=True, imreallysure=True, immediate=True)
        for nickname in ("wrong", "none"):
            report = client.probe_bucket_config(org="me", nickname=nickname)
            assert "correct project" in report.problems[0]
            with pytest.raises(StorageError):
                client.create_repo("me/ocean", bucket_config_nickname=nickname, kind="v1")
        with pytest.raises(StorageError, match="take a V1 repo"):
            client.create_repo("me/ocean", bucket_config_nickname="paid", kind="icechunk")
        assert client.list_repos("me") == []


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_a_right_that_is_taken_away_is_told_and_nothing_is_lost(kind: str, google_config: GoogleTokens, tmp_path: Path) -> None:
    store = google_config.store
    bucket = store.make_bucket(f"taken-{uuid4().hex[:8]}")
    with Client("memory://") as client:
        place = {"uri": f"gs://{bucket}/lake", "extra_config": {"endpoint_url": store.endpoint}}
        client.create_bucket_config(org="me", nickname="lake", auth_config=role(google_config, tmp_path), **place)
        repo = client.create_repo("me/ocean", bucket_config_nickname="lake", kind=kind)
        repo.root_group.create_array("sst", data=np.arange(4), chunks=(1,))
        first = repo.commit("Four numbers")
        repo.root_group["sst"][0] = 7
        given = {name: grant for name, grant in store.tokens.items() if grant.bucket == bucket}
        store.tokens |= {name: TokenGrant(bucket, grant.prefix, False, grant.ends) for name, grant in given.items()}
        with pytest.raises((CredentialsError, StorageError), match=f"gs://{bucket}"):
            repo.commit("Another")
        assert next(iter(client.get_repo("me/ocean", read_only=True).commit_log)).id == first
        store.tokens |= given
        assert repo.commit("Another") is not None
        assert client.get_repo("me/ocean").root_group["sst"][:].tolist() == [7, 1, 2, 3]


def test_bad_configs_are_refused_when_they_are_made(tmp_path: Path) -> None:
    keys = {"method": "hmac", "access_key_id": "GOOG1", "secret_access_key": "CANARY"}
    cases = [
        ({"uri": f"file://{tmp_path}", "auth_config": keys}, "hmac"),
        ({"uri": "memory://lake", "auth_config": keys}, "hmac"),
        ({"uri": "s3://lake", "auth_config": {"method": "gcp_service_account", "key_file": "x"}}, "gs"),
        ({"uri": "gs://lake", "auth_config": {"method": "gcp_service_account"}}, "key_file"),
        (
            {"uri": "gs://lake", "auth_config": {"method": "gcp_customer_managed_role", "target_service_account": "x@y.z"}},
            "address",
        ),
        ({"uri": "gs://lake", "extra_config": {"project": "Not A Project"}}, "the project's id"),
        ({"uri": "gs://lake", "extra_config": {"token": "CANARY"}}, "'token': known are"),
    ]
    with Client("memory://") as client:
        for arguments, says in cases:
            with pytest.raises(InvalidOptionError, match=says) as caught:
                client.create_bucket_config(org="me", nickname="odd", **arguments)
            assert "CANARY" not in str(caught.value)
        assert [found.nickname for found in client.list_bucket_configs("me")] == ["local"]


def test_commits_of_many_threads_are_all_kept(gcs_bucket: str, google_config: GoogleTokens, tmp_path: Path) -> None:
    """Icechunk alone holds them apart on GCS: by the generations of its refs."""
    with Client("memory://") as client:
        place = {"uri": f"gs://{gcs_bucket}/{uuid4().hex}", "extra_config": {"endpoint_url": google_config.store.endpoint}}
        client.create_bucket_config(org="me", nickname="lake", auth_config=role(google_config, tmp_path), **place)
        made = client.create_repo("me/ocean", bucket_config_nickname="lake")
        made.root_group.create_array("sst", shape=(24,), chunks=(1,), dtype="i4")
        made.commit("An empty ocean")

        def commit(worker: int) -> None:
            repo = client.get_repo("me/ocean")
            for number in range(worker * 3, worker * 3 + 3):
                repo.checkout("main")
                repo.root_group["sst"][number] = number + 1
                repo.commit(f"number {number}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(commit, range(8)))
        after = client.get_repo("me/ocean")
        assert after.root_group["sst"][:].tolist() == list(range(1, 25))
        assert len([entry for entry in after.commit_log if entry.message.startswith("number ")]) == 24
