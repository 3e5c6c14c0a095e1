"""Repos on GCS: buckets that are wrong, rights that go, tokens that end, many writers, and references to other buckets."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import icechunk
import numpy as np
import pytest
from arraylake_gcs import GCSOptions, GCSPlatform

from arraylake_core import Client
from arraylake_core.backends import (
    Credentials,
    Location,
)
from arraylake_core.errors import CredentialsError, InvalidOptionError, StorageError
from tests.servers.gcs import ADMIN_TOKEN, PUBLIC_BUCKET, TokenGrant
from tests.servers.given import keys, token
from tests.servers.google_tokens import GoogleTokens
from tests.servers.seaweedfs import SeaweedFS

GS = GCSPlatform()


def role(tokens: GoogleTokens, directory: Path) -> dict[str, str]:
    """Return the auth_config of a key file of its own."""
    key_file = tokens.service_account(directory, f"edge-{uuid4().hex[:8]}@deployment.iam.gserviceaccount.com")
    return {"method": "gcp_service_account", "key_file": str(key_file)}


@pytest.mark.parametrize("way", ["gcp_service_account", "hmac", "anonymous"])
def test_p17_virtual_chunks_are_read_with_the_credentials_of_their_own_bucket(
    way: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    data = np.arange(4, dtype="<i4").tobytes()
    if way == "hmac":
        server, name = request.getfixturevalue("seaweedfs"), request.getfixturevalue("bucket")
        key, secret = server.admin
        auth, endpoint = {"method": way, "access_key_id": key, "secret_access_key": secret}, server.endpoint
        whole: Credentials = keys(key, secret)
    else:
        tokens = request.getfixturevalue("google_config")
        endpoint, whole = tokens.store.endpoint, token(ADMIN_TOKEN)
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


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_p26_a_job_outlives_its_tokens(
    kind: str, google_config: GoogleTokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on until the first has ended, and each is asked for once, however many threads write."""
    monkeypatch.setattr(google_config, "seconds", 15)
    bucket = google_config.store.make_bucket(f"long-{uuid4().hex[:8]}")
    with Client("memory://") as client:
        place = {"uri": f"gs://{bucket}/lake", "extra_config": {"endpoint_url": google_config.store.endpoint}}
        client.create_bucket_config(org="me", nickname="lake", auth_config=role(google_config, tmp_path), **place)
        repo = client.create_repo("me/ocean", bucket_config_nickname="lake", kind=kind)
        repo.root_group.create_array("sst", shape=(40_000, 2048), chunks=(1, 2048), dtype="i4", compressors=None)
        repo.commit("An empty ocean")
        first = {name: grant for name, grant in google_config.store.tokens.items() if grant.bucket == bucket}
        written = 0
        with ThreadPoolExecutor(8) as pool:
            while any(grant.ends > time.time() for grant in first.values()):
                sst = repo.root_group["sst"]
                list(pool.map(lambda row, sst=sst: sst.__setitem__(row, row + 1), range(written, written + 16)))
                repo.commit("Sixteen rows")
                written += 16
        read = client.get_repo("me/ocean").root_group["sst"][:written]
        assert (read == np.arange(1, written + 1)[:, None]).all()
        later = [grant for name, grant in google_config.store.tokens.items() if grant.bucket == bucket and name not in first]
        assert len({round(grant.ends) for grant in later}) == len(later) > 0, "no two at the same time"
