"""xarray's own suite for its Zarr backend, on the repos of a kind. It needs xarray with the packages that its tests need, and takes minutes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from xarray.tests.conftest import time_unit, use_dask
from xarray.tests.test_backends import ZarrBase

if TYPE_CHECKING:
    from zarr.abc.store import Store

    from arraylake_core.client.sync import Client

__all__ = ["RepoXarrayTests"]


class RepoXarrayTests(ZarrBase):
    """What xarray holds a Zarr store to, on one platform.

    Subclass it, set ``kind``, and give a fixture ``client`` as for RepoKindTests. xarray's marks (flaky, network, skip_if_param, skip_with_dask_array) must
    be known to pytest.

    Attributes
    ----------
    kind
        The name of the repo kind.
    """

    kind: str
    # Fixtures that ZarrBase asks for by name.
    time_unit = staticmethod(time_unit)
    use_dask = staticmethod(use_dask)

    @pytest.fixture(autouse=True)
    def _client(self, client: "Client") -> None:
        self._opened = client

    @pytest.fixture(params=[2, 3])
    def default_zarr_format(self, request: pytest.FixtureRequest) -> Iterator[None]:
        """Let xarray write both formats."""
        import zarr

        with zarr.config.set(default_zarr_format=request.param):
            yield

    @contextmanager
    def create_zarr_target(self) -> "Iterator[Store]":
        """Give the store of a new repo."""
        yield self._opened.create_repo(f"me/x{uuid4().hex[:12]}", kind=self.kind).store
