"""Places on GCS, a bucket for all tests of a module."""

from uuid import uuid4

import pytest
from arraylake_gcs import GCSOptions

from arraylake_core.backends import Location
from tests.servers.gcs import FakeGCS


@pytest.fixture(scope="module")
def gcs_bucket(gcs: FakeGCS) -> str:
    """A bucket that takes known tokens only."""
    return gcs.make_bucket(f"lake-{uuid4().hex[:8]}")


@pytest.fixture
def location(gcs: FakeGCS, gcs_bucket: str) -> Location:
    """A new place in it."""
    return Location(platform="gs", bucket=gcs_bucket, prefix=f"lake/{uuid4().hex}", options=GCSOptions(endpoint_url=gcs.endpoint))
