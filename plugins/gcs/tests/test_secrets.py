"""Nothing of the machine gets in, and no token or key gets out."""

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import cloudpickle
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
)
from arraylake_core.backends.object_store import open_object_store
from arraylake_core.errors import CredentialsError
from arraylake_core.models import ProbeReport
from tests.servers.answering import answering
from tests.servers.gcs import ADMIN_TOKEN, PUBLIC_BUCKET, FakeGCS
from tests.servers.given import Given, keys, token
from tests.servers.google_tokens import GoogleTokens

GS = GCSPlatform()


async def probed(endpoint: str, bucket: str, credentials: Credentials, prefix: str = "") -> ProbeReport:
    place = Location(platform="gs", bucket=bucket, prefix=prefix or uuid4().hex, options=GCSOptions(endpoint_url=endpoint))
    return await GS.probe(place, CredentialProvider(Given(credentials)))


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
    report = await probed(gcs.endpoint, gcs_bucket, token(ADMIN_TOKEN))
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


@pytest.mark.parametrize("credentials", [token("ya29.CANARY-unknown"), token(ADMIN_TOKEN), keys("key", "CANARY-wrong")], ids=repr)
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


@pytest.mark.parametrize("credentials", [token(ADMIN_TOKEN), keys("key", "CANARY")], ids=["token", "hmac"])
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
