"""The engine ``arraylake`` of xarray, on a real ocean model's output."""

import subprocess
import sys
from pathlib import Path

import iris_sample_data
import pytest
import xarray as xr

from arraylake_core import Client
from arraylake_core.errors import InvalidNameError, RefNotFoundError, RepoNotFoundError

SAMPLE = Path(iris_sample_data.path) / "atlantic_profiles.nc"


@pytest.fixture(scope="module", params=["icechunk", "v1"])
def lake(request, tmp_path_factory):
    with Client("memory://") as client:
        repo = client.create_repo("me/ocean", kind=request.param)
        repo.checkout("main")
        with xr.open_dataset(SAMPLE, decode_times=False) as profiles:
            data = profiles.load()
        data.to_zarr(repo.store, consolidated=False)
        first = repo.commit("Profiles")
        (data + 1).to_zarr(repo.store, group="warmer/by-one", consolidated=False)
        repo.commit("Warmer")
        yield client, first, data


def test_it_opens_what_the_branch_has_and_groups_in_it(lake):
    client, _, data = lake
    with xr.open_dataset("me/ocean", engine="arraylake", client=client, decode_times=False) as opened:
        xr.testing.assert_identical(opened.load(), data)
    with xr.open_dataset("me/ocean", engine="arraylake", client=client, group="warmer/by-one", decode_times=False) as opened:
        xr.testing.assert_allclose(opened.load(), data + 1)


def test_a_commit_is_opened_as_it_was(lake):
    client, first, data = lake
    with xr.open_dataset("me/ocean", engine="arraylake", client=client, ref=first, decode_times=False) as opened:
        xr.testing.assert_identical(opened.load(), data)
    with pytest.raises(FileNotFoundError):
        xr.open_dataset("me/ocean", engine="arraylake", client=client, ref=first, group="warmer/by-one")


def test_chunks_are_read_by_dask(lake):
    client, _, data = lake
    opened = xr.open_dataset("me/ocean", engine="arraylake", client=client, chunks={}, decode_times=False)
    name = next(iter(data.data_vars))
    assert opened[name].chunks is not None
    xr.testing.assert_identical(opened[name].compute(), data[name])


def test_what_is_not_there_is_said_in_our_words(lake):
    client, _, _ = lake
    with pytest.raises(RepoNotFoundError, match="me/nothing"):
        xr.open_dataset("me/nothing", engine="arraylake", client=client)
    with pytest.raises(RefNotFoundError, match="nowhere"):
        xr.open_dataset("me/ocean", engine="arraylake", client=client, ref="nowhere")
    with pytest.raises(InvalidNameError):
        xr.open_dataset("ocean", engine="arraylake", client=client)


def test_listing_the_engines_loads_neither_zarr_nor_icechunk_through_us():
    script = """
import sys
from importlib.metadata import entry_points
import xarray
before = set(sys.modules)
[ours] = [point for point in entry_points(group="xarray.backends") if point.name == "arraylake"]
assert ours.load()().guess_can_open("me/ocean") is False
print(*{name.partition(".")[0] for name in set(sys.modules) - before})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) & {"zarr", "icechunk", "sqlalchemy", "aiohttp"} == set()
