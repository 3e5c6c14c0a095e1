"""Real files of each format: every value read through references is what the format's own library reads."""

import asyncio
import json
from pathlib import Path

import h5py
import iris_sample_data
import netCDF4
import numpy as np
import pytest
import xarray as xr
import zarr
from arraylake_v1_repo.virtual.parse import read_grib, read_hdf, read_kerchunk, read_netcdf, read_netcdf3, read_tiff, read_zarr
from arraylake_v1_repo.virtual.references import MISSING, VirtualArray
from arraylake_v1_repo.virtual.sources import SourceReader

from arraylake_core.errors import InvalidOptionError, PermissionDeniedError, StorageError

SAMPLES = Path(iris_sample_data.path)
pytestmark = [
    pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning"),
    pytest.mark.filterwarnings("ignore:Imagecodecs codecs are not in the Zarr:UserWarning"),
    pytest.mark.filterwarnings("ignore:The 'fastparquet' engine"),
]
NETCDF4 = [
    "A1B_north_america.nc",
    "SOI_Darwin.nc",
    "atlantic_profiles.nc",
    "hybrid_height.nc",
    "orca2_votemper.nc",
    "ostia_monthly.nc",
    "rotated_pole.nc",
    "toa_brightness_stereographic.nc",
    "vlstr_type.nc",
    "NEMO/nemo_1m_20150101-20150201_grid-T.nc",
]
NETCDF3 = ["mesh_C4_synthetic_float.nc", "space_weather.nc"]


@pytest.mark.parametrize("name", NETCDF4 + NETCDF3)
async def test_netcdf_samples(name, samples, references):
    path = SAMPLES / name
    read = references(await read_netcdf(path.as_uri(), samples), samples)
    root = read.root
    with netCDF4.Dataset(path) as file:
        file.set_auto_maskandscale(False)
        file.set_auto_chartostring(False)
        expected = {key: np.asarray(variable[...]) for key, variable in file.variables.items()}
    assert set(read.nodes) == {"", *expected}
    for key, values in expected.items():
        found = np.asarray(root[key][...])
        if values.dtype == object:
            assert [str(text) for text in found.ravel()] == [str(text) for text in values.ravel()]
        else:
            np.testing.assert_array_equal(found, values, err_msg=key)


@pytest.mark.parametrize("name", ["A1B_north_america.nc", "space_weather.nc", "orca2_votemper.nc"])
async def test_as_xarray_reads_it(name, samples, references):
    read = references(await read_netcdf((SAMPLES / name).as_uri(), samples), samples)
    with xr.open_dataset(SAMPLES / name) as expected:
        xr.testing.assert_equal(read.dataset().drop_attrs().load(), expected.drop_attrs().load())


async def test_hdf_of_every_shape(tmp_path, here, references):
    path = tmp_path / "all.h5"
    expected = {
        "a/deep/chunked": np.arange(35.0).reshape(5, 7),
        "a/contiguous": np.arange(6, dtype="i2"),
        "a/big": np.arange(6, dtype=">i4"),
        "scalar": np.float32(7.5),
        "empty": np.zeros((0, 3)),
        "unwritten": np.full((4, 4), 9, dtype="i4"),
        "sparse": np.where(np.arange(9) < 3, 1, -1),
    }
    with h5py.File(path, "w") as file:
        for key in ("a/contiguous", "a/big", "scalar"):
            file.create_dataset(key, data=expected[key])
        file.create_dataset("a/deep/chunked", data=expected["a/deep/chunked"], chunks=(2, 3), compression="gzip", shuffle=True)
        file.create_dataset("empty", shape=(0, 3), maxshape=(None, 3), chunks=(1, 3), dtype="f8")
        file.create_dataset("unwritten", shape=(4, 4), chunks=(2, 2), fillvalue=9, dtype="i4")
        file.create_dataset("sparse", shape=(9,), chunks=(3,), fillvalue=-1, dtype="i8")[:3] = 1
        file.create_dataset("text", data=["one", "zwei", "drei"], dtype=h5py.string_dtype())
        file["a"].attrs["who"] = "me"
    read = references(await read_hdf(path.as_uri(), here), here)
    assert set(read.nodes) == {"", "a", "a/deep", "text", *expected}
    for key, values in expected.items():
        np.testing.assert_array_equal(read.root[key][...], values, err_msg=key)
    assert read.root["text"][...].tolist() == ["one", "zwei", "drei"]
    assert read.root["a"].attrs["who"] == "me"
    sparse = read.nodes["sparse"]
    assert (sparse.source == [0, MISSING, MISSING]).all()
    assert len(read.nodes["text"].inlined) == 1
    part = references(await read_hdf(path.as_uri(), here, group="a", drop_variables=["big"]), here)
    assert set(part.nodes) == {"", "deep", "deep/chunked", "contiguous"}


async def test_p17_hdf_leads_into_no_other_file(tmp_path, granted):
    (tmp_path / "data").mkdir()
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        file["x"] = np.arange(5)
    (tmp_path / "raw").write_bytes(bytes(80))
    sources = SourceReader([granted(tmp_path / "data")])

    async def read(name: str, **options) -> set[str]:
        return {node.path for node in await read_hdf((tmp_path / "data" / name).as_uri(), sources, **options)}

    with h5py.File(tmp_path / "data" / "link.h5", "w") as file:
        file["own"] = [1]
        file["x"] = h5py.ExternalLink(str(tmp_path / "outside.h5"), "/x")
        file["soft"] = h5py.SoftLink("/x")
    with h5py.File(tmp_path / "data" / "raw.h5", "w") as file:
        file.create_dataset("x", shape=(10,), dtype="f8", external=[(str(tmp_path / "raw"), 0, 80)])
    with h5py.File(tmp_path / "data" / "virtual.h5", "w") as file:
        layout = h5py.VirtualLayout(shape=(5,), dtype="i8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "outside.h5"), "x", shape=(5,))
        file.create_virtual_dataset("x", layout)
    for name, word in (
        ("link.h5", "a link into another file"),
        ("raw.h5", "external storage"),
        ("virtual.h5", "virtual dataset"),
    ):
        with pytest.raises(InvalidOptionError, match=word):
            await read(name)
    with pytest.raises(InvalidOptionError, match="a link into another file"):
        await read("link.h5", drop_variables=["x"])
    assert await read("link.h5", drop_variables=["x", "soft"]) == {"", "own"}


async def test_hdf_groups_in_a_circle(tmp_path, here):
    with h5py.File(tmp_path / "circle.h5", "w") as file:
        file.create_group("a")["again"] = file["/"]
    with pytest.raises(InvalidOptionError, match="contains itself"):
        await read_hdf((tmp_path / "circle.h5").as_uri(), here)


@pytest.mark.parametrize("read", [read_hdf, read_netcdf, read_netcdf3, read_tiff, read_grib])
@pytest.mark.parametrize(
    "content",
    [b"", b"nonsense", b"CDF\x01broken", b"\x89HDF\r\n\x1a\n" + bytes(50), b"GRIB" + bytes(30), b"II*\0" + b"\xff" * 40],
)
async def test_what_is_no_such_file(read, content, tmp_path, here):
    path = tmp_path / "broken"
    path.write_bytes(content)
    with pytest.raises((StorageError, InvalidOptionError)) as caught:
        await read(path.as_uri(), here)
    assert path.as_uri() in str(caught.value)


@pytest.mark.parametrize("name", ["A1B_north_america.nc", "space_weather.nc"])
async def test_a_truncated_file_gives_no_references(name, tmp_path, here):
    body = (SAMPLES / name).read_bytes()
    path = tmp_path / "half.nc"
    path.write_bytes(body[: len(body) - len(body) // 4])
    with pytest.raises(StorageError) as caught:
        await read_netcdf(path.as_uri(), here)
    assert path.as_uri() in str(caught.value)


@pytest.mark.parametrize("zarr_format", [2, 3])
async def test_zarr(zarr_format, tmp_path, here, references):
    root = zarr.open_group(tmp_path / "store.zarr", mode="w", zarr_format=zarr_format, attributes={"title": "t"})
    values = np.arange(70.0).reshape(7, 10)
    root.create_array("g/h/values", shape=(7, 10), chunks=(3, 4), dtype="f8")[...] = values
    sparse = root.create_array("sparse", shape=(6,), chunks=(2,), dtype="i4", fill_value=5)
    sparse[2:4] = 1
    root.create_array("scalar", shape=(), dtype="i8")[...] = 3
    root.create_array("empty", shape=(0, 2), chunks=(1, 2), dtype="i8")
    if zarr_format == 3:
        root.create_array("sharded", shape=(8,), chunks=(2,), shards=(4,), dtype="i8")[...] = np.arange(8)
    read = references(await read_zarr((tmp_path / "store.zarr").as_uri(), here), here)
    np.testing.assert_array_equal(read.root["g/h/values"][...], values)
    np.testing.assert_array_equal(read.root["sparse"][...], [5, 5, 1, 1, 5, 5])
    assert read.root["scalar"][...] == 3
    assert read.root["empty"].shape == (0, 2)
    assert read.root.attrs["title"] == "t"
    if zarr_format == 3:
        np.testing.assert_array_equal(read.root["sharded"][...], np.arange(8))
    part = references(await read_zarr((tmp_path / "store.zarr/").as_uri(), here, group="g"), here)
    assert set(part.nodes) == {"", "h", "h/values"}


async def test_p17_zarr_links_out(tmp_path, granted):
    (tmp_path / "data").mkdir()
    zarr.open_group(tmp_path / "secret.zarr", mode="w").create_array("x", shape=(2,), dtype="i4")[...] = 1
    zarr.open_group(tmp_path / "data" / "s.zarr", mode="w")
    (tmp_path / "data" / "s.zarr" / "inner").symlink_to(tmp_path / "secret.zarr")
    sources = SourceReader([granted(tmp_path / "data")])
    with pytest.raises(PermissionDeniedError, match="symbolic link"):
        await read_zarr(f"file://{tmp_path}/data/s.zarr", sources)
    with pytest.raises(StorageError, match="no Zarr store"):
        await read_zarr(f"file://{tmp_path}/data/nothing.zarr", sources)
    assert not (tmp_path / "data" / "nothing.zarr").exists()


@pytest.fixture
def kerchunked(tmp_path):
    """References that kerchunk itself makes of a NetCDF4 file with groups."""
    from kerchunk.hdf import SingleHdf5ToZarr

    path = tmp_path / "source.nc"
    with netCDF4.Dataset(path, "w") as file:
        file.createDimension("x", 7)
        file.createVariable("small", "i4", ("x",))[:] = np.arange(7)
        group = file.createGroup("g")
        group.createDimension("y", 600)
        group.createVariable("values", "f8", ("y",), chunksizes=(250,), zlib=True)[:] = np.arange(600) / 3
    return path, SingleHdf5ToZarr(str(path), inline_threshold=100).translate()


async def test_kerchunk_json(kerchunked, tmp_path, here, references):
    found = kerchunked[1]
    (tmp_path / "refs.json").write_text(json.dumps(found))
    read = references(await read_kerchunk((tmp_path / "refs.json").as_uri(), here), here)
    np.testing.assert_array_equal(read.root["small"][...], np.arange(7))
    np.testing.assert_array_equal(read.root["g/values"][...], np.arange(600) / 3)
    assert read.nodes["small"].inlined
    part = references(await read_kerchunk((tmp_path / "refs.json").as_uri(), here, group="g"), here)
    assert "values" in part.nodes


async def test_kerchunk_parquet(kerchunked, tmp_path, here, references):
    from kerchunk.df import refs_to_dataframe

    found = kerchunked[1]
    flat = {key.removeprefix("g/"): value for key, value in found["refs"].items() if key.startswith("g/")}
    refs_to_dataframe({"version": 1, "refs": flat}, str(tmp_path / "refs.parq"), record_size=2)
    read = references(await read_kerchunk((tmp_path / "refs.parq").as_uri(), here), here)
    np.testing.assert_array_equal(read.root["values"][...], np.arange(600) / 3)


async def test_kerchunk_templates_whole_files_and_scalars(tmp_path, here, references):
    (tmp_path / "part0").write_bytes(np.arange(4, dtype="<i4").tobytes())
    array = {"zarr_format": 2, "dtype": "<i4", "fill_value": -1, "filters": None, "compressor": None, "order": "C"}
    refs = {
        ".zgroup": '{"zarr_format": 2}',
        "x/.zarray": json.dumps({**array, "shape": [12], "chunks": [4]}),
        "x/0": ["{{u}}/part0"],
        "x/2": ["part0", 0, 16],
        "nothing/.zarray": json.dumps({**array, "shape": [], "chunks": []}),
    }
    path = tmp_path / "refs.json"
    path.write_text(json.dumps({"version": 1, "templates": {"u": f"file://{tmp_path}"}, "refs": refs}))
    with pytest.raises(InvalidOptionError, match="fs_root"):
        await read_kerchunk(path.as_uri(), here)
    read = references(await read_kerchunk(path.as_uri(), here, fs_root=f"file://{tmp_path}"), here)
    np.testing.assert_array_equal(read.root["x"][...], [0, 1, 2, 3, -1, -1, -1, -1, 0, 1, 2, 3])
    assert read.root["nothing"][...] == -1


@pytest.mark.parametrize("target", ["/etc/passwd", "file:///etc/passwd", "s3://other/x", "../secret", "http://127.0.0.1:9/x"])
@pytest.mark.parametrize("whole", [True, False])
async def test_p17_kerchunk_refers_to_what_is_not_granted(target, whole, tmp_path, here):
    array = {
        "zarr_format": 2,
        "dtype": "|u1",
        "fill_value": 0,
        "filters": None,
        "compressor": None,
        "order": "C",
        "shape": [4],
        "chunks": [4],
    }
    refs = {".zgroup": '{"zarr_format": 2}', "x/.zarray": json.dumps(array), "x/0": [target] if whole else [target, 0, 4]}
    path = tmp_path / "refs.json"
    path.write_text(json.dumps({"version": 1, "refs": refs}))
    with pytest.raises(PermissionDeniedError):
        await read_kerchunk(path.as_uri(), here, fs_root=f"file://{tmp_path}")


@pytest.mark.parametrize(
    "options", [{}, {"tile": (16, 16), "compression": "zlib"}, {"tile": (16, 16), "compression": "zstd", "predictor": True}]
)
async def test_tiff(options, tmp_path, here, references):
    import tifffile

    values = np.random.default_rng(1).integers(0, 1000, (48, 64)).astype("u2")
    tifffile.imwrite(tmp_path / "image.tif", values, rowsperstrip=16 if not options else None, **options)
    read = references(await read_tiff((tmp_path / "image.tif").as_uri(), here), here)
    np.testing.assert_array_equal(read.root["0"][...], values)
    nested = references(await read_tiff((tmp_path / "image.tif").as_uri(), here, ifd=0, ifd_layout="nested"), here)
    np.testing.assert_array_equal(nested.root["0/0"][...], values)


async def test_grib(samples, references):
    import eccodes

    path = SAMPLES / "polar_stereo.grib2"
    read = references(await read_grib(path.as_uri(), samples), samples)
    expected = []
    with path.open("rb") as file:
        while (message := eccodes.codes_grib_new_from_file(file)) is not None:
            expected.append(eccodes.codes_get_values(message))
            eccodes.codes_release(message)
    fields = [
        read.root[path][...]
        for path, node in read.nodes.items()
        if isinstance(node, VirtualArray) and (node.source != MISSING).any() and node.length.max() > 1000
    ]
    found = [field for field in fields if field.size == expected[0].size]
    assert any(np.allclose(field.ravel(), expected[0], rtol=1e-5) for field in found)


async def test_netcdf_on_s3(s3_grant, whole_bucket, bucket, references):
    sources = SourceReader([s3_grant])
    for name in ("A1B_north_america.nc", "space_weather.nc"):
        await whole_bucket.put_async(f"data/{name}", (SAMPLES / name).read_bytes())
        read = references(await read_netcdf(f"s3://{bucket}/data/{name}", sources), sources)
        assert all(source.etag for node in read.nodes.values() if isinstance(node, VirtualArray) for source in node.sources)
        with xr.open_dataset(SAMPLES / name) as expected:
            found = await asyncio.to_thread(lambda read=read: read.dataset().drop_attrs().load())
            xr.testing.assert_equal(found, expected.drop_attrs().load())


async def test_zarr_kerchunk_tiff_and_grib_on_s3(s3_grant, whole_bucket, bucket, tmp_path, references, kerchunked):
    import tifffile

    sources = SourceReader([s3_grant])
    group = zarr.open_group(tmp_path / "s.zarr", mode="w")
    group.create_array("g/x", shape=(200,), chunks=(4,), dtype="i8")[...] = np.arange(200)
    values = np.arange(64 * 64, dtype="u2").reshape(64, 64)
    tifffile.imwrite(tmp_path / "image.tif", values, tile=(16, 16))
    source, refs = kerchunked
    (tmp_path / "refs.json").write_text(json.dumps(refs).replace(str(source), f"s3://{bucket}/data/source.nc"))
    (tmp_path / "polar_stereo.grib2").write_bytes((SAMPLES / "polar_stereo.grib2").read_bytes())
    for path in tmp_path.rglob("*"):
        if path.is_file():
            await whole_bucket.put_async(f"data/{path.relative_to(tmp_path)}", path.read_bytes())
    base = f"s3://{bucket}/data"
    read = references(await read_zarr(f"{base}/s.zarr", sources), sources)
    np.testing.assert_array_equal(read.root["g/x"][...], np.arange(200))
    read = references(await read_tiff(f"{base}/image.tif", sources), sources)
    np.testing.assert_array_equal(read.root["0"][...], values)
    read = references(await read_kerchunk(f"{base}/refs.json", sources), sources)
    np.testing.assert_array_equal(read.root["g/values"][...], np.arange(600) / 3)
    assert len(await read_grib(f"{base}/polar_stereo.grib2", sources)) > 1


async def test_a_million_chunks(tmp_path, here, references):
    from arraylake_v1_repo.virtual.references import read_manifest_store
    from virtualizarr.manifests import ChunkManifest, ManifestArray, ManifestGroup, ManifestStore
    from virtualizarr.manifests.utils import create_v3_array_metadata

    count = 1_000_000
    (tmp_path / "big").write_bytes(b"")
    with (tmp_path / "big").open("r+b") as file:
        file.truncate(4 * count)
        file.seek(4 * 77)
        file.write(np.int32(5).tobytes())
    paths = np.full((count,), (tmp_path / "big").as_uri(), dtype=np.dtypes.StringDType())
    paths[1] = ""
    manifest = ChunkManifest.from_arrays(
        paths=paths,
        offsets=np.arange(count, dtype="u8") * 4,
        lengths=np.where(paths == "", 0, 4).astype("u8"),
        validate_paths=False,
    )
    metadata = create_v3_array_metadata(shape=(count,), data_type=np.dtype("i4"), chunk_shape=(1,), fill_value=-1)
    store = ManifestStore(ManifestGroup(arrays={"x": ManifestArray(metadata, manifest)}))
    read = references(await read_manifest_store(store, here), here)
    assert read.nodes["x"].source[:3].tolist() == [0, MISSING, 0]
    assert read.root["x"][77] == 5
    assert read.root["x"][1] == -1
