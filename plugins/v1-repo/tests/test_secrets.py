"""What travels in pickles, and what keys may say, on a bucket that takes keys."""

import pickle
import subprocess
import sys
from collections.abc import Iterator

import cloudpickle
import numpy as np
import pytest
import zarr
from arraylake_v1_repo.sync import Repo

from arraylake_core import Client
from arraylake_core.errors import InvalidNameError

WORKER = """
import pickle, sys, zarr
store = pickle.loads(sys.stdin.buffer.read())
zarr.open_array(store, path="temperature", mode="r+")[1] = 7
print(store)
"""


@pytest.fixture
def repo(tmp_path, s3_bucket_config) -> Iterator[Repo]:
    with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
        client.create_bucket_config(org="me", **s3_bucket_config)
        repo = client.create_repo("me/ocean", kind="v1", bucket_config_nickname=s3_bucket_config["nickname"])
        repo.root_group.create_array("temperature", shape=(4,), chunks=(1,), dtype="i4")[:] = [1, 2, 3, 4]
        repo.commit("Four temperatures")
        yield repo


def test_p11_no_pickle_has_a_secret_and_a_worker_writes_with_its_own(repo, s3_bucket_config, tmp_path):
    secret = s3_bucket_config["auth_config"]["secret_access_key"]
    array = zarr.open_array(repo.store, path="temperature", mode="r+")
    for thing in (repo, repo.session, repo.store, array, repo.to_xarray):
        for dumps in (pickle.dumps, cloudpickle.dumps):
            assert secret.encode() not in dumps(thing)
    done = subprocess.run(
        [sys.executable, "-c", WORKER], input=pickle.dumps(repo.store), capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert secret not in done.stdout.decode()
    repo.commit("The second was seven")
    assert np.asarray(repo.root_group["temperature"][:]).tolist() == [1, 7, 3, 4]


def test_p10_no_repr_or_error_has_a_secret(repo, s3_bucket_config):
    secret = s3_bucket_config["auth_config"]["secret_access_key"]
    for thing in (repo, repo.session, repo.store, repo.status(), repo.commit_log, repo.tree(), repo.verify()):
        assert secret not in f"{thing!r} {thing}"


@pytest.mark.parametrize("path", ["../other", "a/../../b", "a//b", ".", "a\\b", "a\0b", "a/./b"])
def test_p13_no_path_of_a_node_leads_out_of_the_repo(repo, path):
    head = repo.branches["main"]
    for step in (
        lambda: repo.move("temperature", path),
        lambda: repo.copy("temperature", path),
        lambda: repo.delete(path),
        lambda: repo.create_group(path),
    ):
        with pytest.raises(InvalidNameError, match="Zarr key"):
            step()
    assert repo.status().modified == {}
    assert repo.branches["main"] == head
