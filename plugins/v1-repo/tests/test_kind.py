"""The V1 kind passes the kit on local disk, in memory, on S3, and where only fsspec leads."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from arraylake_core import Client
from arraylake_core.testing.repo_kind import RepoKindTests


class TestOnLocalDisk(RepoKindTests):
    kind = "v1"
    processes, commits = 4, 10

    @pytest.fixture
    def client(self, tmp_path) -> Iterator[Client]:
        with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
            yield client


class TestInMemory(RepoKindTests):
    kind = "v1"
    other_processes = False

    @pytest.fixture
    def client(self) -> Iterator[Client]:
        # Memory is of the process: what other tests have left in the default bucket is still there.
        with Client("memory://") as client:
            client.create_bucket_config(org="me", nickname="own", uri=f"memory://{uuid4().hex}")
            client.set_default_bucket_config(org="me", nickname="own")
            yield client


class TestOnS3(RepoKindTests):
    kind = "v1"
    processes, commits = 2, 5

    @pytest.fixture
    def client(self, tmp_path, s3_bucket_config) -> Iterator[Client]:
        with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
            client.create_bucket_config(org="me", **s3_bucket_config)
            client.set_default_bucket_config(org="me", nickname=s3_bucket_config["nickname"])
            yield client


class TestOverFsspecAlone(RepoKindTests):
    """On SFTP, through a stranger's platform."""

    kind = "v1"
    processes, commits = 2, 5

    @pytest.fixture
    def client(self, tmp_path, sftp_bucket_config) -> Iterator[Client]:
        with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
            client.create_bucket_config(org="me", **sftp_bucket_config)
            client.set_default_bucket_config(org="me", nickname="sftp")
            yield client
