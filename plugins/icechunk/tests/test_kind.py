"""The Icechunk kind passes the kit on local disk, in memory and on S3."""

from collections.abc import Iterator

import pytest

from arraylake_core import Client
from arraylake_core.testing.repo_kind import RepoKindTests


class TestOnLocalDisk(RepoKindTests):
    kind = "icechunk"
    processes, commits = 8, 25

    @pytest.fixture
    def client(self, tmp_path) -> Iterator[Client]:
        with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
            yield client


class TestInMemory(RepoKindTests):
    kind = "icechunk"
    other_processes = False

    @pytest.fixture
    def client(self) -> Iterator[Client]:
        with Client("memory://") as client:
            yield client


class TestOnS3(RepoKindTests):
    kind = "icechunk"
    processes, commits = 8, 8

    @pytest.fixture
    def client(self, tmp_path, s3_bucket_config) -> Iterator[Client]:
        with Client(f"sqlite:///{tmp_path}/catalog.db") as client:
            client.create_bucket_config(org="me", **s3_bucket_config)
            client.set_default_bucket_config(org="me", nickname=s3_bucket_config["nickname"])
            yield client
