"""xarray's own tests of its Zarr backend, as the kit has them, on the store of a V1 repo, in Zarr formats 2 and 3.

Each format has one of the two ways to read; ``V1_EVERY_FORMAT=1`` gives both ways to both.
"""

import os
from uuid import uuid4

import numpy as np
import pytest
import xarray as xr

from arraylake_core import Client
from arraylake_core.testing import RepoXarrayTests
from arraylake_core.testing.checks import SAID_OF_EVERY_STORE

EVERY = bool(os.environ.get("V1_EVERY_FORMAT"))


class V1Tests(RepoXarrayTests):
    kind = "v1"
    place: str

    @pytest.fixture
    def client(self, client_on) -> Client:
        return client_on(self.place)


class TestUncommitted(V1Tests):
    """On local disk, by obstore."""

    place = "file"
    zarr_formats = (2, 3) if EVERY else (2,)


class TestCommitted(V1Tests):
    """In memory, by fsspec."""

    place = "memory"
    zarr_formats = (2, 3) if EVERY else (3,)
    committed = True
    other_processes = False


@pytest.mark.filterwarnings(*SAID_OF_EVERY_STORE)
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
