"""xarray's own tests of its Zarr backend, on the store of a V1 repo, in Zarr formats 2 and 3.

Each format has one of the two ways to read; ``V1_EVERY_FORMAT=1`` gives both ways to both.
"""

import contextlib
import os
import pickle
from collections.abc import Iterator
from uuid import uuid4

import numpy as np
import pytest
import xarray as xr
import zarr
from arraylake_v1_repo.sync import Repo
from xarray.tests.conftest import time_unit, use_dask  # noqa: F401 - fixtures, which ZarrBase asks for by name
from xarray.tests.test_backends import ZarrBase
from zarr.abc.store import Store

from arraylake_core import Client

# What zarr and xarray say, on every store, of Zarr format 3: nothing of it is about the store.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part:UserWarning"),
    pytest.mark.filterwarnings("ignore:The data type .* does not have a Zarr V3 specification"),
]


def formats(usual: int) -> list[int]:
    return [2, 3] if os.environ.get("V1_EVERY_FORMAT") else [usual]


class V1Tests(ZarrBase):
    """Each target is the store of a new repo."""

    place: str

    @pytest.fixture(autouse=True)
    def _client(self, client_on) -> None:
        self.client: Client = client_on(self.place)

    def new_repo(self) -> Repo:
        return self.client.create_repo(f"me/x{uuid4().hex[:12]}", kind="v1")

    @contextlib.contextmanager
    def create_zarr_target(self) -> Iterator[Store]:
        yield self.new_repo().store


class TestUncommitted(V1Tests):
    """A session reads what it wrote itself; on local disk, by obstore."""

    place = "file"

    @pytest.fixture(params=formats(2))
    def default_zarr_format(self, request) -> Iterator[None]:
        with zarr.config.set(default_zarr_format=request.param):
            yield


class TestCommitted(V1Tests):
    """What a test wrote is committed before it is opened, and read by somebody who opens the repo anew; in memory, by fsspec."""

    place = "memory"

    @pytest.fixture(params=formats(3))
    def default_zarr_format(self, request) -> Iterator[None]:
        with zarr.config.set(default_zarr_format=request.param):
            yield

    @pytest.fixture(autouse=True)
    def _written(self) -> None:
        self.written: list[tuple[Store, Repo]] = []

    @contextlib.contextmanager
    def create_zarr_target(self) -> Iterator[Store]:
        repo = self.new_repo()
        store = repo.store
        self.written.append((store, repo))
        yield store

    @contextlib.contextmanager
    def open(self, path, **kwargs):
        for store, repo in self.written:
            # Some tests write to a plain directory, whatever the target is.
            if store is path:
                repo.commit("Written by a test")
                path = self.client.get_repo(repo.name, read_only=True).store
        with super().open(path, **kwargs) as dataset:
            yield dataset

    @pytest.mark.parametrize("dtype", ["int", "str"])
    def test_pickle(self, dtype) -> None:
        """In memory nothing is pickled; on local disk it is tested above."""
        written = xr.Dataset({"a": ("x", np.array([1, 2], dtype))})
        with self.roundtrip(written) as dataset, pytest.raises(Exception, match="memory of this process"):
            pickle.dumps(dataset)

    def test_pickle_dataarray(self) -> None:
        """The same."""
        with (
            self.roundtrip(xr.Dataset({"a": ("x", [1, 2])})) as dataset,
            pytest.raises(Exception, match="memory of this process"),
        ):
            pickle.dumps(dataset["a"])


@pytest.mark.parametrize("place", ["file", "memory", "s3", "sftp"])
@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("consolidated", [False, True])
def test_a_dataset_goes_in_and_comes_out_everywhere(client_on, place, zarr_format, consolidated):
    """Written, appended to and overwritten in part, each committed and read anew."""
    client = client_on(place)
    repo = client.create_repo(f"me/x{uuid4().hex[:12]}", kind="v1")
    values = np.arange(60.0).reshape(6, 10)
    whole = xr.Dataset(
        {"sst": (("time", "x"), values)}, {"time": np.arange(6), "x": list("abcdefghij")}, {"title": "Sea surface"}
    )
    options = {"zarr_format": zarr_format, "consolidated": consolidated}
    whole.isel(time=slice(0, 4)).to_zarr(repo.store, mode="w", encoding={"sst": {"chunks": (2, 5)}}, **options)
    repo.commit("Four")
    whole.isel(time=slice(4, 6)).to_zarr(repo.store, append_dim="time", **options)
    repo.commit("Two more")
    changed = (whole + 1).isel(time=slice(2, 4)).drop_vars("x")
    changed.to_zarr(repo.store, region={"time": slice(2, 4), "x": slice(0, 10)}, **options)
    repo.commit("Two corrected")
    expected = whole.copy(deep=True)
    expected["sst"][2:4] += 1
    again = client.get_repo(repo.name, read_only=True)
    xr.testing.assert_identical(again.to_xarray(consolidated=consolidated).load(), expected)
    again.checkout(again.commit_log[2].id)
    xr.testing.assert_identical(again.to_xarray(consolidated=consolidated).load(), whole.isel(time=slice(0, 4)))
