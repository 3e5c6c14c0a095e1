"""The kind passes the kit on storage that is in trouble: on S3, through a proxy, since more than fsspec is needed."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from arraylake_core import Client
from arraylake_core.testing import Injected, RepoFaultTests, Trouble
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.troubled_proxy import troubled_proxy


class TestOnS3(RepoFaultTests):
    kind = "icechunk"
    torn = 1

    @pytest.fixture
    def trouble(self, seaweedfs: SeaweedFS) -> Iterator[Trouble]:
        injected = Injected()
        with troubled_proxy(seaweedfs.endpoint, injected) as url, Client("memory://") as client:
            options = {"endpoint_url": url, "region_name": "us-east-1"}
            uri = f"s3://{seaweedfs.public_bucket}/faulty-{uuid4().hex[:12]}"
            client.create_bucket_config(org="me", nickname="faulty", uri=uri, extra_config=options)
            client.set_default_bucket_config(org="me", nickname="faulty")
            yield Trouble(client, injected)
