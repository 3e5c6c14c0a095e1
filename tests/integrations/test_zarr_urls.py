"""al:// URLs in zarr and xarray, which come to them through fsspec, and in the xarray engine."""

import asyncio
import pickle
import subprocess
import sys

import fsspec
import pytest
import xarray as xr
import zarr
from zarr.errors import GroupNotFoundError

from arraylake_core.errors import InvalidNameError, InvalidOptionError, NotFoundError, ReadOnlyError, RepoNotFoundError
from tests.integrations.conftest import daily


def options(lake):
    return {"storage_options": {"client": lake.client}}


def test_zarr_opens_urls(lake):
    assert zarr.open("al://me/ocean@v1/daily/sst", **options(lake))[3, 9] == 39
    assert sorted(zarr.open("al://me/ocean", **options(lake)).group_keys()) == ["daily", "empty"]
    group = zarr.open_group("al://me/ocean@feature%2Ftides", mode="r", **options(lake))
    assert sorted(dict(group.members(max_depth=None))) == ["daily", "daily/day", "daily/sst"]
    assert zarr.open_array("al://me/ocean/daily/day", mode="r", **options(lake))[:].tolist() == [0, 1, 2, 3]
    mapper = fsspec.get_mapper("al://me/ocean@v1", client=lake.client)
    assert zarr.open_group(mapper, mode="r")["daily/sst"][0, 1] == 1


def test_xarray_opens_urls(lake):
    url = "al://me/ocean@v1/daily"
    for opened in (
        xr.open_zarr(url, consolidated=False, **options(lake)),
        xr.open_dataset(url, engine="zarr", consolidated=False, **options(lake)),
        xr.open_dataset("al://me/ocean", group="daily", engine="zarr", consolidated=False, chunks={}, **options(lake)),
        xr.open_dataset(url, engine="arraylake", client=lake.client),
        xr.open_dataset("al://me/ocean", engine="arraylake", ref="v1", group="/daily", client=lake.client),
    ):
        xr.testing.assert_identical(opened.load(), daily())


def test_xarray_opens_trees(lake):
    for opened in (
        xr.open_datatree("al://me/ocean@v1", engine="arraylake", client=lake.client),
        xr.open_datatree("al://me/ocean@v1", engine="zarr", consolidated=False, **options(lake)),
    ):
        assert set(opened.groups) == {"/", "/daily"}
        xr.testing.assert_identical(opened["daily"].to_dataset().load(), daily())


def test_what_was_opened_stays_as_it_was(own, ocean):
    opened = xr.open_zarr("al://me/ocean/daily", consolidated=False, chunks={}, **options(own))
    array = zarr.open_array("al://me/ocean/daily/sst", mode="r", **options(own))
    daily(100).to_zarr(ocean.store, group="daily", mode="r+", consolidated=False)
    commit = ocean.commit("Warmer")
    xr.testing.assert_identical(opened.compute(), daily())
    assert array[3, 9] == 39
    # A pickle reads on in the same version, too, wherever it wakes up.
    assert pickle.loads(pickle.dumps(array))[3, 9] == 39
    assert pickle.loads(pickle.dumps(array.store)) == array.store
    assert zarr.open_array("al://me/ocean/daily/sst", mode="r", **options(own))[3, 9] == 139
    assert zarr.open_array(f"al://me/ocean@{commit}/daily/sst", mode="r", **options(own))[3, 9] == 139
    assert zarr.open_array("al://me/ocean@v1/daily/sst", mode="r", **options(own))[3, 9] == 39


def test_what_is_not_there_is_not_taken_for_something_to_begin(lake):
    for mode in ("r", "a", "w-"):
        with pytest.raises(RepoNotFoundError, match="me/nothing"):
            zarr.open_group("al://me/nothing", mode=mode, **options(lake))
        with pytest.raises(NotFoundError, match="nowhere"):
            zarr.open_group("al://me/ocean@nowhere/daily", mode=mode, **options(lake))
    with pytest.raises(GroupNotFoundError):
        zarr.open_group("al://me/ocean/nothing", mode="r", **options(lake))
    with pytest.raises(ReadOnlyError, match="open the repo"):
        zarr.open_group("al://me/ocean/nothing", mode="w", **options(lake))
    with pytest.raises(ReadOnlyError, match="open the repo"):
        daily().to_zarr("al://me/ocean/new", consolidated=False, **options(lake))


def test_zarr_reads_through_the_url_what_it_reads_through_the_repo(lake):
    store = zarr.storage.FsspecStore.from_url("al://me/ocean@v1", storage_options={"client": lake.client}, read_only=True)
    repo = lake.client.get_repo("me/ocean", read_only=True)
    repo.checkout("v1", writable=False)

    async def contents(of):
        prototype = zarr.core.buffer.default_buffer_prototype()
        return {key: (await of.get(key, prototype)).to_bytes() async for key in of.list()}

    assert asyncio.run(contents(store)) == asyncio.run(contents(repo.store)) != {}


def test_the_engine_says_what_is_wrong_with_a_url(lake):
    with pytest.raises(InvalidOptionError, match="'main' is not the ref of 'al://me/ocean@v1'"):
        xr.open_dataset("al://me/ocean@v1", engine="arraylake", ref="main", client=lake.client)
    with pytest.raises(InvalidNameError, match="names no repo"):
        xr.open_dataset("al://me", engine="arraylake", client=lake.client)


def test_the_engine_is_guessed_for_urls(tmp_path):
    # Where netCDF4 is installed, xarray takes every URL for one of OPeNDAP before it asks any other engine.
    script = f"""
import sys
sys.modules["netCDF4"] = None
import xarray as xr
from arraylake_core import Client, config
config.set({{"service.uri": "sqlite:///{tmp_path}/catalog.db"}})
repo = Client().create_repo("me/ocean")
xr.Dataset({{"day": [1, 2]}}).to_zarr(repo.store, group="daily", consolidated=False)
repo.commit("Days")
print(xr.open_dataset("al://me/ocean@main/daily").day.values)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-W", "ignore:Numcodecs", "-c", script], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[1 2]\n", "")
