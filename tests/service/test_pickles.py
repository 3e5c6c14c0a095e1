"""What a client of a service hands to other processes: no token, no key of a bucket, and all of it works there."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import numpy
import pytest

from arraylake_core import Client
from arraylake_core.service.settings import ServiceSettings
from tests.service.conftest import Template
from tests.service.running import LOCAL, running

WORKER = """
import pickle, sys
import numpy, zarr
array, client = pickle.load(sys.stdin.buffer)
print(int(numpy.asarray(array[:]).sum()), *[repo.name for repo in client.list_repos("acme")])
"""


def pieces(secret: str) -> list[bytes]:
    return [secret[start : start + 12].encode() for start in range(len(secret) - 11)]


@pytest.mark.parametrize("kind", ["icechunk", "v1"])
def test_p11_no_pickle_of_a_service_s_client_has_a_secret_and_workers_bring_their_own(
    kind: str, populated: Template, tmp_path: Path, s3_bucket_config: dict[str, dict[str, str]]
) -> None:
    token, reader = populated.tokens["admin"], populated.tokens["reader"]
    assert token is not None
    assert reader is not None
    secrets = pieces(token) + pieces(s3_bucket_config["auth_config"]["secret_access_key"])
    settings = ServiceSettings(allow_networks=LOCAL, failures_per_minute=0)
    with running(populated.copied_to(tmp_path), settings) as service, Client(service.uri, token=token) as client:
        client.create_bucket_config(org="acme", **s3_bucket_config)
        repo = client.create_repo("acme/ocean", kind=kind, bucket_config_nickname="seaweed")
        repo.root_group.create_array("t", data=numpy.arange(5), dimension_names=("x",))
        repo.commit("Five numbers")
        opened = client.get_repo("acme/ocean", read_only=True)
        array = opened.root_group["t"]
        for thing in (client, client._aio, opened, opened.store, array, opened.to_xarray()):
            for dumps in (pickle.dumps, cloudpickle.dumps):
                pickled = dumps(thing)
                assert not [piece for piece in secrets if piece in pickled], type(thing)
        handed = pickle.dumps((array, client))

        def work(**environment: str) -> subprocess.CompletedProcess[bytes]:
            given = {**os.environ, **environment}
            return subprocess.run([sys.executable, "-c", WORKER], input=handed, capture_output=True, timeout=120, env=given)

        assert work(ARRAYLAKE_TOKEN=reader).stdout == b"10 ocean\n"
        assert work(ARRAYLAKE_SERVICE__TOKEN=reader).stdout == b"10 ocean\n"
        without = work()
        assert without.returncode != 0
        assert b"ARRAYLAKE_TOKEN" in without.stderr
